"""Claims about the benchmark of picture and sound: both sides do the same work, and the figures are right."""

import importlib
import sys
from pathlib import Path

import pytest
import torch

from mmssl.batch import Batch
from mmssl.random import Draw

SCRIPTS = Path(__file__).parents[2] / "scripts"
TINY = (0.16, 2000, 8, 0.01, 16, 4, 1, 2, 24, 2, (1, 16, 2), 2)


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    found = importlib.import_module("benchmark_audio_visual")
    monkeypatch.setitem(found.MODELS, "tiny", found.Sizes(*TINY))
    yield found
    for name in ("benchmark_audio_visual", "benchmark_cav_mae"):
        sys.modules.pop(name)


@torch.no_grad()
def test_both_sides_have_the_same_layers_see_as_much_and_hide_as_much(benchmark, tmp_path):
    sizes = benchmark.MODELS["tiny"]
    objective, inputs = benchmark.objective_of(benchmark.config_of(sizes, "fp32", tmp_path))
    peer, clips = benchmark.Peer(sizes), benchmark.Clips(sizes)
    encoder = objective.encoder
    for name in ("video", "audio"):
        assert [part.shape for part in encoder.own[name].parameters()] == [
            part.shape for part in peer.own[name].parameters()
        ]
        assert encoder.cuts[name].grid[-1] * encoder.cuts[name].grid[-2] == peer.counts[name]
    assert len(encoder.layers.layers) == len(peer.shared) == 1
    picture, bank = clips[0]
    index = torch.zeros(1, dtype=torch.long)
    views = {"video": [clips.frames[:1][:, None]], "audio": [clips.sound[:1].float() / 2**15]}
    batch = inputs(Batch(views, Draw(0, index, index)))
    assert batch.views["video"][0].shape == (1, 1, *picture.shape)
    assert batch.views["audio"][0].shape == (1, *bank.shape)
    _, _, hidden = objective.typed[1].corrupted(batch)
    for name, place in hidden.items():
        assert place.position.shape[1] == round(benchmark.HIDDEN_RATIO * peer.counts[name])
    assert torch.isfinite(peer(picture[None], bank[None]))


@pytest.mark.parametrize("variant", ["mmssl-fp32", "peer-fp32"])
def test_steps_clips_and_waiting_are_counted(benchmark, variant, monkeypatch):
    monkeypatch.setattr("mmssl.train.keep_pages", lambda: None)
    measured = benchmark.measure(variant, "tiny", 0.01)
    assert measured.clips >= 2
    assert measured.clips % 2 == 0
    assert 0 < measured.wait_seconds < measured.seconds


def test_ratios_compare_like_with_like(benchmark):
    def runs(rate: float) -> list[dict]:
        return [{"clips": rate, "seconds": 1.0, "wait_seconds": 0.5, "peak_bytes": 7}]

    found = benchmark.summary(
        {"mmssl-fp32": runs(6), "peer-fp32": runs(2), "peer2-fp32": runs(3), "peer-bf16": runs(1)}
    )
    assert found["ratios"] == {"mmssl-fp32/peer-fp32": 3.0, "mmssl-fp32/peer2-fp32": 2.0}
    assert found["variants"]["peer-fp32"]["waits"] == 0.5
