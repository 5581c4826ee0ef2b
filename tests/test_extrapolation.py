"""Claims about linear prediction: a tone goes on as it was, a hiss stays as loud, and nothing grows."""

import math

import pytest
import torch

from mmssl.extrapolation import coefficients, extrapolated, runs


def tone(samples: torch.Tensor, turn: float = 0.3) -> torch.Tensor:
    return torch.sin(turn * samples)


def hiss(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_a_tone_goes_on_as_it_was():
    at = torch.arange(600.0)
    found = extrapolated(tone(at[:400]), hiss(200))
    torch.testing.assert_close(found, tone(at[400:]), atol=0.02, rtol=0)


def test_a_hiss_goes_on_as_loud_and_as_another():
    past = 0.2 * hiss(1000, 1)
    found = extrapolated(past, hiss(500))
    assert float(found.std()) == pytest.approx(0.2, rel=0.2)
    assert abs(float(torch.corrcoef(torch.stack([found, past[:500]]))[0, 1])) < 0.2


def test_the_coefficients_of_an_autoregressive_process_are_found():
    found, noise = torch.zeros(20000, dtype=torch.float64), hiss(20000).double()
    for number in range(2, len(found)):
        found[number] = 1.2 * found[number - 1] - 0.5 * found[number - 2] + 0.1 * noise[number]
    weight, deviation = coefficients(found, 2)
    torch.testing.assert_close(weight, torch.tensor([-1.2, 0.5], dtype=torch.float64), atol=0.03, rtol=0)
    assert float(deviation) == pytest.approx(0.1, rel=0.03)


def test_silence_and_too_short_a_past_go_on_as_silence():
    assert extrapolated(torch.zeros(300), hiss(50)).abs().max() < 1e-4
    assert torch.equal(extrapolated(torch.ones(2), hiss(50)), torch.zeros(50))
    assert extrapolated(torch.ones(0), hiss(0)).shape == (0,)


def test_what_swells_does_not_grow_on():
    past = torch.exp(torch.arange(400.0) / 100) * tone(torch.arange(400.0))
    found = extrapolated(past, hiss(4000))
    assert torch.isfinite(found).all()
    assert found.abs().max() < 2 * past.abs().max() * math.sqrt(2)


def test_runs_are_the_parts_that_hang_together():
    chosen = torch.tensor([1, 1, 0, 0, 1, 0, 1], dtype=torch.bool)
    assert runs(chosen) == [(0, 2), (4, 5), (6, 7)]
    assert runs(~chosen) == [(2, 4), (5, 6)]
    assert runs(torch.zeros(3, dtype=torch.bool)) == []
