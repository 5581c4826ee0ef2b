"""Claims about captions and pictures: captions rank pictures, and each is painted as often as asked."""

import json
from pathlib import Path

import pytest
from making_media import picture
from media_runs import parts_of
from PIL import Image
from tiny import tiny_autoencoder

from mmssl.checkpoint import Restored
from mmssl.config import load_config
from mmssl.errors import DataError
from mmssl.evaluate.completion import completed
from mmssl.evaluate.media import evaluate_media
from mmssl.media_task import MediaTask
from mmssl.runs import task_of

CONFIG = """
task: text_to_image
run: run
data: {source: savanna, samples: 24, heldout: 0.5}
image: {size: 16}
method:
  {name: latent_diffusion, pretrained: another run, sampling_steps: 2, energy_draws: 1, guidance: 2.0,
   predictor_layers: 1, predictor_width: 32, predictor_heads: 2}
encoder: {name: vit, layers: 1, width: 32, heads: 2, intermediate: 64, patch: 4}
evaluate: {documents: 16}
"""
CAPTIONS = ["The proud lion chases the zebra in the savanna.", "The wolf follows the rabbit in the forest."]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The config, and the task's parts of an untrained objective."""
    folder: Path = tmp_path_factory.mktemp("text_to_image")
    (folder / "config.yaml").write_text(CONFIG)
    config = load_config(folder / "config.yaml", [f"run={folder / 'run'}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "mmssl.methods.generative.objective_of_run", lambda folder, modalities: tiny_autoencoder(modalities)
        )
        yield config, parts_of(config)


def test_captions_rank_pictures(made):
    config, (task, data, inputs, objective) = made
    build = lambda: objective  # noqa: E731
    found = evaluate_media(objective, build, inputs, config, data, None, task.negatives(config))
    assert found.keys() >= {
        "energy.auroc", "energy.ladder.patches_shuffled", "energy.ladder.noise", "retrieval.text_to_image.r1",
    }  # fmt: skip
    assert not [key for key in found if key.startswith(("text.cross_entropy", "retrieval.image_to_text"))]


def test_each_caption_is_painted(made, monkeypatch, capsys):
    config, (_, data, inputs, objective) = made
    monkeypatch.setattr(MediaTask, "restored", lambda *arguments: (objective, inputs, data))
    task, found = task_of(config), Restored(*[None] * len(Restored._fields))  # type: ignore[arg-type]
    task.predict(config, found, CAPTIONS, samples=3, out=None)
    path = Path(capsys.readouterr().out.strip())
    with Image.open(path) as sheet:
        assert sheet.width > 3 * 96
        assert sheet.height > 2 * 96
    with pytest.raises(DataError, match="has words that the run never read"):
        task.predict(config, found, ["A spaceship lands."], samples=1, out=None)
    with pytest.raises(DataError, match="a text of 50 tokens; expected at most 14"):
        task.predict(config, found, ["the " * 50], samples=1, out=None)


def test_a_caption_ranks_a_users_pictures(made, tmp_path, monkeypatch, capsys):
    config, (_, data, inputs, objective) = made
    monkeypatch.setattr(MediaTask, "restored", lambda *arguments: (objective, inputs, data))
    files = [str(picture(tmp_path / f"{name}.png", number)) for number, name in enumerate("ab")]
    found = Restored(*[None] * len(Restored._fields))  # type: ignore[arg-type]
    task_of(config).score(config, found, CAPTIONS[0], files, as_json=True)
    ranked = json.loads(capsys.readouterr().out)
    assert {one["y"] for one in ranked} == {*files}
    assert ranked[0]["energy"] < ranked[1]["energy"]


def test_captions_and_noise_choose_what_is_painted(made):
    config, (_, data, inputs, objective) = made
    task = task_of(config)
    one = completed(objective, inputs(task.asked(CAPTIONS, data.vocabulary, inputs)), samples=2)
    assert one.keys() == {"image"}
    assert bool(one["image"].is_hidden.all())
    first, second = one["image"].samples
    assert not first.equal(second)
