"""Claims about the benchmark of sound: both sides do the same work, and the figures are right."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from mmssl.inputs import Inputs
from mmssl.media_task import MediaTask
from mmssl.models.stock_speech import stock_pretraining

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    found = importlib.import_module("benchmark_audio")
    monkeypatch.setitem(found.MODELS, "tiny", found.Sizes(1, 32, 2, 8, 4, 8, 2, 0.5))
    monkeypatch.setattr(found, "CLIP_SECONDS", 1)
    yield found
    sys.modules.pop("benchmark_audio")


def test_both_sides_have_the_same_weights(benchmark, tmp_path):
    sizes = benchmark.MODELS["tiny"]
    config = benchmark.config_of(sizes, "fp32", tmp_path)
    ours, theirs = stock_pretraining(
        MediaTask(("audio",)).build(config, Inputs(config, ("audio",)), 1)
    ), benchmark.peer(sizes)  # fmt: skip
    assert {key: part.shape for key, part in ours.named_parameters()} == {
        key: part.shape for key, part in theirs.named_parameters()
    }
    assert ours.config.num_negatives == theirs.config.num_negatives == 100


@pytest.mark.parametrize("variant", ["stock-fp32", "mmssl-fp32", "fbank", "log_mel"])
def test_seconds_of_sound_are_counted(benchmark, variant, monkeypatch):
    monkeypatch.setattr("mmssl.train.keep_pages", lambda: None)
    measured = benchmark.measure(variant, "tiny", 1e-6)
    assert measured.sound == (2.0 if variant in benchmark.FEATURES else 1.0)  # one step of two clips
    assert measured.seconds > 0


def test_the_summary_takes_medians_and_like_for_like(benchmark):
    def parts(*rates: float) -> list[dict]:
        return [{"sound": 2 * rate, "seconds": 2.0, "peak_bytes": 8 * rate} for rate in rates]

    found = benchmark.summary({
        "stock-fp32": parts(1, 3, 100), "mmssl-fp32": parts(6), "fbank": parts(2), "log_mel": parts(20),
        "stock-bf16": parts(5),
    })  # fmt: skip
    assert found["variants"]["stock-fp32"]["seconds_of_sound_per_second"] == 3.0
    assert found["mmssl/peer"] == {"fp32": 2.0, "log_mel": 10.0}
    assert found["mmssl/peer, peak_bytes"] == {"fp32": 2.0, "log_mel": 10.0}


def test_the_peer_hides_spans_and_draws_distractors_among_them(benchmark):
    drawn = benchmark.masks(benchmark.peer(benchmark.MODELS["tiny"]), (2, 24))
    mask, negative = drawn["mask_time_indices"], drawn["sampled_negative_indices"]
    assert negative.shape == (2, 24, 100)
    assert mask.any(1).all()
    assert torch.isin(negative[0][mask[0]], mask[0].nonzero()[:, 0]).all()
