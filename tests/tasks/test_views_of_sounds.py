"""Methods on views on a folder of sounds, by configs alone."""

import json

import numpy as np
import pytest
import soundfile
import torch
from making_media import sound
from media_runs import media_config, parts_of, write_media_config
from running import call, metrics

from mmssl.config import load_config
from mmssl.evaluate.completion import completed
from mmssl.evaluate.heldout import batch_of
from mmssl.methods import METHODS
from mmssl.report.completions import draw_completions

FOLDERS = ("simclr", "byol", "vicreg", "barlow_twins", "swav", "deepcluster_v2")
DEEPCLUSTER = (
    "method={name: deepcluster_v2, num_clusters: 4, num_groupings: 1, projector_width: 32, embedding_width: 16, "
    "num_small: 1, small_size: 4, regroup_epochs: 0.5}"
)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Fewer pictures and fits."""
    monkeypatch.setattr("mmssl.media_task.EXAMPLES", 2)
    monkeypatch.setattr("mmssl.evaluate.probe.STRENGTHS", (1.0,))


def tones(folder):
    """Twelve stereo sounds of 2 s with two labels."""
    for number in range(12):
        sound(folder / ("low", "high")[number % 2] / f"{number}.wav", 2.0, 200.0 + 60 * number, 8000, channels=2)
    return folder


def test_stereo_sounds_are_grouped_trained_on_looked_at_and_exported(tmp_path, capsys):
    source, run = tones(tmp_path / "source"), tmp_path / "run"
    overrides = (
        f"data.source={source}", "data.heldout=0.5", DEEPCLUSTER, f"run={run}", "audio.channels=2", "sounds.crop=cut",
        "sounds.smallest_length=0.75", "sounds.noise_ratio=0.5",
    )  # fmt: skip
    config = write_media_config(tmp_path, "audio_pretraining")
    assert call("pretrain", config, *overrides, "train.steps=2") == 0
    assert [line["step"] for line in metrics(run)] == [1, 2]
    results = json.loads((run / "evaluation.json").read_text())
    assert {"energy.auroc", "collapse.lidar", "knn.accuracy", "retrieval.audio_to_audio.r1"} <= results.keys()
    assert (run / "pictures" / "views-audio.png").is_file()
    assert call("data", config, *overrides, "--out", tmp_path / "preview") == 0
    assert (tmp_path / "preview" / "audio.png").is_file()
    assert call("export", run, tmp_path / "stock") == 0
    capsys.readouterr()


@pytest.mark.parametrize("name", FOLDERS)
def test_the_configs_of_folders_of_sounds_build_what_they_name(name):
    config = load_config(f"configs/audio_pretraining_{name}_folder.yaml")
    assert (config.task, config.method.name) == ("audio_pretraining", name)
    assert name in METHODS
    columns = round(config.data.seconds / config.audio.hop_seconds)
    assert columns % config.encoder.arguments()["audio_patch"][0] == 0
    assert config.method.arguments().get("small_size", 8) % 8 == 0


def test_windows_that_cannot_be_cut_into_patches_are_said(tmp_path, capsys):
    overrides = ("method={name: simclr, projector_width: 32, embedding_width: 16}", "sounds.crop=cut")
    config = write_media_config(tmp_path, "audio_pretraining")
    assert call("pretrain", config, *overrides, f"run={tmp_path / 'run'}") == 2
    assert "audio of 10 x 16 cannot be cut into patches of 4 x 8; expected divisors" in capsys.readouterr().err


def test_the_built_in_world_is_heard_with_two_ears(tmp_path, monkeypatch):
    config = media_config(tmp_path, "audio_pretraining", "audio.channels=2")
    _, data, inputs, objective = parts_of(config)
    batch = batch_of(data.heldout, 0, np.arange(3), torch.device("cpu"))
    heard = batch.views["audio"][0]
    assert heard.shape == (3, 2, 4000)
    assert (heard[:, 0] != heard[:, 1]).any(1).all()
    mono = parts_of(media_config(tmp_path, "audio_pretraining", f"run={tmp_path / 'mono'}"))[1]
    alone = batch_of(mono.heldout, 0, np.arange(3), torch.device("cpu")).views["audio"][0]
    torch.testing.assert_close(heard.mean(1), alone, rtol=0, atol=1e-4)
    # audio_mae hides and fills in patches of both channels
    monkeypatch.setattr("mmssl.spectrogram.ITERATIONS", 2)
    drawn = draw_completions(completed(objective, inputs(batch), samples=1), batch, inputs, tmp_path / "drawn", ["a"])
    assert [path.name for path in drawn] == ["audio-a.png", "audio-a-predicted.wav", "audio-a-truth.wav"]
    assert soundfile.info(drawn[1]).channels == 2
    assert soundfile.info(drawn[1]).frames == 4000
