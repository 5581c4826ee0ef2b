"""Claims about the benchmark of masked autoencoders: both sides do the same work, and the figures are what they say."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmssl.attention import twice_differentiable
from mmssl.batch import Batch
from mmssl.random import Draw

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    found = importlib.import_module("benchmark_masked_image")
    monkeypatch.setitem(found.MODELS, "tiny", found.Sizes(16, 4, 2, 32, 2, (1, 16, 2), 4))
    yield found
    sys.modules.pop("benchmark_masked_image")


def test_both_sides_have_the_same_weights(benchmark):
    for sizes in benchmark.MODELS.values():
        with torch.device("meta"):
            stock = benchmark.peer(sizes, "eager")
        learned = sum(weight.numel() for weight in stock.parameters() if weight.requires_grad)
        ours = sum(weight.numel() for weight in benchmark.objective_of("mae", sizes).parameters())
        assert ours - learned == sizes.width + sizes.decoder[1]  # the vectors of the modality


@pytest.mark.parametrize("variant", ["sdpa-fp32", "eager-fp32", "mmssl-fp32", "jepa-fp32"])
def test_steps_and_pictures_are_counted(benchmark, variant, monkeypatch):
    monkeypatch.setattr("mmssl.train.keep_pages", lambda: None)
    measured = benchmark.measure(variant, "tiny", 0.01)
    assert measured.steps >= 1
    assert measured.pictures == 4 * measured.steps
    assert measured.seconds >= 0.01


def test_operations_are_those_that_torch_counts(benchmark):
    for sizes in (benchmark.MODELS["tiny"], benchmark.MODELS["tiny"]._replace(size=24, layers=1, decoder=(2, 32, 4))):
        objective, index = benchmark.objective_of("mae", sizes), torch.arange(3)
        batch = Batch({"image": [torch.randn(3, 3, sizes.size, sizes.size)]}, Draw(0, torch.zeros_like(index), index))
        with FlopCounterMode(display=False) as counter, twice_differentiable():  # whose attention torch can count
            objective(batch).terms["image"].backward()
        assert counter.get_total_flops() == 3 * benchmark.flops_per_picture(sizes)


def test_ratios_are_those_of_the_medians(benchmark):
    runs = {
        name: [{"pictures": rate, "seconds": 1.0, "peak_bytes": 5} for rate in rates]
        for name, rates in {"sdpa-fp32": [1, 9, 10], "eager-bf16": [12], "mmssl-fp32": [18], "jepa-fp32": [6]}.items()
    }
    found = benchmark.summary(runs, 2e9, {"fp32": 72.0, "bf16": 96.0})
    assert found["mmssl/peer"] == {"default, fp32": 2.0, "best": 1.5}
    assert found["jepa_step/mae_step"] == {"fp32": 3.0}
    assert found["variants"]["mmssl-fp32"]["share_of_ceiling"] == 0.5
    assert found["variants"]["eager-bf16"]["share_of_ceiling"] == 0.25
    assert "share_of_ceiling" not in found["variants"]["jepa-fp32"]
