"""Claims about the benchmark of video: both sides do the same work on the same frames, and the figures are right."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from mmssl.batch import Batch
from mmssl.inputs import Inputs
from mmssl.media_task import MediaTask
from mmssl.models.video_autoencoder import stock_video_autoencoder, video_autoencoder
from mmssl.random import Draw

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    found = importlib.import_module("benchmark_video")
    monkeypatch.setitem(found.MODELS, "tiny", found.Sizes(4, 16, (2, 4), 1, 24, 2, (1, 16, 2), 2))
    yield found
    sys.modules.pop("benchmark_video")


def objective_of(benchmark, workspace: Path):
    """Ours, as it is measured."""
    config = benchmark.config_of(benchmark.MODELS["tiny"], "fp32", "savanna", workspace)
    return MediaTask(("video",)).build(config, Inputs(config, ("video",)), 1)


@torch.no_grad()
def test_both_sides_have_the_same_weights_and_hide_as_many(benchmark, tmp_path):
    objective, sizes = objective_of(benchmark, tmp_path), benchmark.MODELS["tiny"]
    parts = video_autoencoder(objective)
    assert parts is not None
    ours, theirs = stock_video_autoencoder(parts), benchmark.peer(sizes, "eager")
    assert {key: part.shape for key, part in ours.named_parameters()} == {
        key: part.shape for key, part in theirs.named_parameters()
    }
    clips, index = benchmark.clips_of(sizes)[:2].cpu(), torch.arange(2)
    _, _, hidden = objective.corrupted(Batch({"video": [clips]}, Draw(0, torch.zeros(2).long(), index)))
    assert hidden["video"].position.shape[1] == 2 * round(benchmark.HIDDEN_RATIO * 16)


@pytest.mark.parametrize("variant", ["sdpa-fp32", "mmssl-fp32", "eager-fp32-files0", "mmssl-fp32-files"])
def test_steps_clips_and_waiting_are_counted(benchmark, variant, monkeypatch, tmp_path):
    monkeypatch.setattr("mmssl.train.keep_pages", lambda: None)
    if "files" in variant:
        monkeypatch.setattr(benchmark, "RATE", 8)
        monkeypatch.setattr(benchmark, "FILE_SECONDS", 2)
        benchmark.write_videos(tmp_path, 2)
    measured = benchmark.measure(variant, "tiny", tmp_path, 0.01)
    assert measured.clips >= 2
    assert measured.clips % 2 == 0
    assert 0 < measured.wait_seconds < measured.seconds
    assert (measured.prepare_seconds > 1e-3) == (variant == "mmssl-fp32-files")


def test_a_clip_of_a_file_is_its_frames(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "RATE", 8)
    monkeypatch.setattr(benchmark, "FILE_SECONDS", 2)
    benchmark.write_videos(tmp_path, 1)
    clip = benchmark.Videos(tmp_path, benchmark.MODELS["tiny"])[0]
    assert clip.shape == (4, 3, 16, 16)
    assert not torch.allclose(clip[0], clip[-1], atol=0.1)  # the waves move
    assert clip.std() > 0.5


def test_the_summary_takes_medians_and_the_best_of_each_side(benchmark):
    def parts(*clips: float) -> list[dict]:
        return [
            {"clips": one, "seconds": 2.0, "wait_seconds": 0.5, "prepare_seconds": 1.0, "peak_bytes": 7}
            for one in clips
        ]

    found = benchmark.summary({
        "sdpa-fp32": parts(2, 6, 100), "eager-bf16": parts(12), "mmssl-fp32": parts(24), "mmssl-bf16": parts(18),
        "sdpa-fp32-files2": parts(4), "mmssl-fp32-files": parts(20),
    })  # fmt: skip
    assert found["variants"]["sdpa-fp32"]["clips_per_second"] == 3.0
    assert found["variants"]["sdpa-fp32"]["waits"] == 0.25
    assert found["mmssl/peer"] == {
        "default, fp32": 4.0, "eager, bf16": 1.5, "best": 2.0, "best, from files": 5.0,
    }  # fmt: skip
