"""Claims about runs on pairs of a user's own files: captions, manifests, and what is absent of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from making_media import picture, sound, tone, video
from media_runs import media_config, parts_of
from raw_folders import bad_samples, evaluation, one_line
from running import metrics

from mmssl.evaluate.heldout import batch_of

CPU = torch.device("cpu")


def manifest(folder: Path, count: int = 8) -> Path:
    """Films with pictures, sounds and captions, of which every fourth lacks the sound and every other the picture."""
    rows = []
    for number in range(count):
        video(folder / f"{number}.mp4", range(10 * number, 200, 8), fps=12)
        row = {"video": f"{number}.mp4", "text": f"film {number} of {count}", "audio": None, "image": None}
        if number % 4:
            row["audio"] = sound(folder / f"{number}.wav", 2.0, 300.0 + 60 * number).name
        if number % 2:
            row["image"] = picture(folder / f"{number}.png", number).name
        rows.append(row)
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_all_modalities_are_trained_on_together_from_a_manifest(pretrain, tmp_path):
    source = manifest(tmp_path / "source")
    assert pretrain("multimodal", f"data.source={source}", "data.heldout=0.0", evaluated=True) == (0, [])
    found = evaluation(tmp_path)
    assert found["data.missing.audio"] == 2 * 2  # windows of a second
    assert found["data.missing.image"] == 4 * 2
    assert "data.missing.text" not in found
    assert np.isfinite(metrics(tmp_path / "run")[-1]["loss"])
    assert bad_samples(tmp_path) == {}


def test_words_of_held_out_captions_are_measured_without_a_floor(pretrain, tmp_path):
    source = manifest(tmp_path / "source", 12)
    assert pretrain("multimodal", f"data.source={source}", "data.heldout=0.5", evaluated=True) == (0, [])
    found = evaluation(tmp_path)
    assert found["text.cross_entropy"] > 0
    assert "text.floor" not in found


def test_a_manifest_that_leaves_its_folder_ends_the_run_with_one_line(pretrain, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "pairs.csv").write_text("video,audio\n../secret.mp4,\n")
    source = f"data.source={tmp_path / 'source' / 'pairs.csv'}"
    one_line(pretrain("audio_visual", source), 3, "row 1 names '../secret.mp4'", "expected a path below")


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A run's parts on films of which some have a sound track, and the samples with and without."""
    folder = tmp_path_factory.mktemp("half")
    for number in range(4):
        track = tone(2.0, 400.0 + 60 * number) if number % 2 else None
        video(folder / "source" / f"{number}.mp4", range(10 * number, 200, 8), fps=12, sound=track)
    config = media_config(folder, "audio_visual", f"data.source={folder / 'source'}", "data.heldout=0.0")
    _, data, inputs, objective = parts_of(config)
    batch = inputs(batch_of(data.train, 0, np.arange(4), CPU))
    return objective.train(), batch, data


def own_gradients(objective: torch.nn.Module, name: str) -> list[torch.Tensor]:
    """The gradients of the parameters that serve one modality alone."""
    found = [weight.grad for key, weight in objective.named_parameters() if name in key.split(".")]
    assert found
    return [torch.zeros(()) if grad is None else grad for grad in found]


def backward(objective, batch) -> float:
    """The loss, whose gradient is left in the parameters."""
    objective.zero_grad()
    loss = torch.stack([*objective(batch).terms.values()]).sum()
    loss.backward()
    return float(loss.detach())


def test_what_no_sample_has_costs_nothing_and_its_own_weights_do_not_move(half):
    objective, batch, data = half
    assert data.missing == {"video": 0, "audio": 2}
    assert "2 without audio" in data.summary()
    silent = batch.chosen(~batch.present("audio"))
    assert backward(objective, silent) == 0.0
    for name in ("audio", "video"):  # without a sound nothing is asked of a picture
        assert all(not grad.any() for grad in own_gradients(objective, name))
    heard = batch.chosen(batch.present("audio"))
    assert backward(objective, heard) > 0.0
    assert any(grad.any() for grad in own_gradients(objective, "audio"))


def test_what_lies_in_place_of_an_absent_sound_does_not_matter(half):
    objective, batch, _ = half
    sound = batch.views["audio"][0].clone()
    sound[~batch.present("audio")] = 7.0
    other = batch._replace(views={**batch.views, "audio": [sound]})
    losses, grads = [], []
    for each in (batch, other):
        losses.append(backward(objective, each))
        grads.append([grad.clone() for grad in own_gradients(objective, "audio")])
    assert losses[0] == losses[1] > 0
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    everywhere = other._replace(views={**other.views, "audio.present": [torch.ones(4, dtype=torch.bool)]})
    assert backward(objective, everywhere) != losses[0]  # unless the mask is left out
