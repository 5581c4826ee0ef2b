"""Runs that learn from another one, through the command line: HuBERT's second iteration, from sounds to targets."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from media_runs import write_media_config
from running import call, metrics, training_only, write_config
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from mmssl.batch import Batch
from mmssl.evaluate.heldout import batch_of
from mmssl.media_task import MediaTask
from mmssl.runs import open_task

HUBERT = """
task: audio_pretraining
run: run
data: {source: savanna, samples: 24, heldout: 0.5, seconds: 0.5}
audio: {form: waveform, rate_hz: 2000}
method: {name: hubert, layer: 2, num_clusters: 6, span_frames: 3, start_ratio: 0.15, embedding_width: 16}
encoder:
  name: wav2vec2
  layers: 2
  width: 32
  heads: 2
  intermediate: 64
  conv_widths: [16, 32, 32]
  conv_sizes: [10, 3, 2]
  conv_steps: [5, 2, 2]
  position_size: 8
  position_groups: 2
  dropout: 0.0
train: {steps: 6, batch_size: 8, precision: fp32, learning_rate: 1.0e-2, log_every_steps: 1, evaluate_every_steps: 100}
"""


def pretrain(folder: Path, name: str, *overrides: str) -> int:
    """The exit code of `mmssl pretrain` of a small HuBERT, without what is measured when it ends."""
    (folder / "hubert.yaml").write_text(HUBERT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MediaTask, "finish", lambda *arguments: None)
        return call("pretrain", folder / "hubert.yaml", f"run={folder / name}", *overrides)


class Finished(NamedTuple):
    """What a run left: its objective, the same with its first weights, and all its training samples."""

    objective: Any
    untrained: Any
    batch: Batch


def restored(folder: Path) -> Finished:
    """A finished run."""
    task, config, found = open_task(folder)
    objective, inputs, data = task.TASK.restored(config, found)
    every = batch_of(data.train, config.seed, np.arange(data.train.size), torch.device("cpu"))
    return Finished(objective, task.TASK.build(config, inputs, data.train.size).eval(), inputs(every))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The folder of a first run and of a second one, whose clusters are of what the first one has learnt."""
    folder = tmp_path_factory.mktemp("hubert")
    assert pretrain(folder, "first") == 0
    assert pretrain(folder, "second", f"method.pretrained={folder / 'first'}") == 0
    return folder


def features(encoder: Any, batch: Batch) -> Float[Tensor, "L D"]:
    """What an encoder answers at each frame, each number with zero mean and unit variance over all frames."""
    value = encoder({"audio": encoder.cuts["audio"].tokenize(batch.views["audio"])})["audio"].value.flatten(0, 1)
    return (value - value.mean(0)) / value.std(0, correction=0)


def nearest(value: Float[Tensor, "L D"], centres: Float[Tensor, "K D"]) -> Int[Tensor, " L"]:
    """The number of the centre that is nearest to each frame."""
    return torch.cdist(value, centres).argmin(1)


@torch.no_grad()
def test_the_targets_of_the_second_run_are_clusters_of_what_the_first_has_learnt(runs):
    first, second = restored(runs / "first"), restored(runs / "second")
    codes = second.objective.codes_of(second.batch).flatten()
    centres = second.objective.target.centres
    value = features(first.objective.encoder, second.batch)
    assert torch.equal(codes, nearest(value, centres))
    assert codes.unique().tolist() == list(range(6))
    # the centres are those of k-means: going on from them, scikit-learn finds no better ones
    fitted = KMeans(len(centres), init=centres.numpy(), n_init=1).fit(value.numpy())
    np.testing.assert_allclose(fitted.cluster_centers_, centres.numpy(), atol=1e-4)
    # neither an encoder without what the first run has learnt, nor cepstra, as in the first run, would give them
    assert not torch.equal(codes, nearest(features(first.untrained.encoder, second.batch), centres))
    cepstral = first.objective.codes_of(first.batch).flatten()
    assert adjusted_rand_score(cepstral, codes) < 0.5


def test_the_second_run_trains_an_encoder_of_its_own_and_leaves_the_first_one_as_it_was(runs):
    first, second = restored(runs / "first"), restored(runs / "second")
    learnt, target = first.objective.encoder.state_dict(), second.objective.target.describe.encoder.state_dict()
    assert all(torch.equal(learnt[name], target[name]) for name in learnt)
    begun, own = second.untrained.encoder.state_dict(), second.objective.encoder.state_dict()
    assert any(not torch.equal(begun[name], own[name]) for name in begun)
    assert any(not torch.equal(learnt[name], own[name]) for name in learnt)
    assert [line["step"] for line in metrics(runs / "second") if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(line["loss"]) for line in metrics(runs / "second") if "loss" in line)


def test_a_first_run_on_sounds_of_another_rate_is_refused(runs, tmp_path, capsys):
    assert pretrain(tmp_path, "second", f"method.pretrained={runs / 'first'}", "audio.rate_hz=4000") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert line.endswith("first is a run on sounds of 2000 Hz, this one's have 4000; expected the same audio.rate_hz")


def other_run(folder: Path, task: str) -> Path:
    """A run of a step of another task; none is there of "none"."""
    short = ("train.steps=1", "train.evaluate_every_steps=100")
    if task == "masked_language":
        with training_only():
            assert call("pretrain", write_config(folder), f"run={folder / task}", *short) == 0
    elif task != "none":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MediaTask, "finish", lambda *arguments: None)
            assert call("pretrain", write_media_config(folder, task), f"run={folder / task}", *short) == 0
    return folder / task


@pytest.mark.parametrize(
    "task, said",
    [
        ("none", "no config.yaml; expected a run folder of `mmssl pretrain`"),
        ("image_pretraining", "a run of image_pretraining with encoder vit"),
        ("masked_language", "a run of masked_language with encoder bert"),
    ],
)
def test_a_run_that_is_not_there_or_of_another_task_is_one_line_that_names_it(tmp_path, capsys, task, said):
    folder = other_run(tmp_path, task)
    capsys.readouterr()
    assert pretrain(tmp_path, "second", f"method.pretrained={folder}") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert line.startswith("mmssl: method.pretrained: ")
    assert str(folder) in line
    assert said in line
