"""What thresholds of the verdict mean, and how two views of a sample are compared, by hand and by loops."""

import math

import pytest
import torch

from mmssl.evaluate.collapse import (
    COMPLETE_STANDARD_DEVIATION,
    PARTIAL_RANK_RATIO,
    alignment,
    effective_rank,
    mean_ratio,
    panel,
    spectrum,
    standard_deviation,
    uniformity,
    with_compared,
)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape, ratio", [((257, 256), 0.805), ((65, 64), 0.805), ((64, 2048), 1.0), ((4000, 32), 1.0)])
def test_the_rank_of_isotropic_samples_follows_from_marchenko_and_pastur(shape: tuple[int, int], ratio: float):
    # at B - 1 = D singular values are s in [0, 2] of density sqrt(4 - s^2) / pi, with E s = 8 / (3 pi) and
    # E[s log s] / E s = 2 log 2 - 4/3, so the rank is D exp(4/3 - 2 log 2 + log E s)
    assert math.exp(4 / 3 - 2 * math.log(2)) * 8 / (3 * math.pi) == pytest.approx(0.805, abs=5e-4)
    reachable = min(shape[0] - 1, shape[1])
    assert effective_rank(spectrum(gaussian(*shape))) / reachable == pytest.approx(ratio, abs=0.02)


def of_power_law(alpha: float, features: int) -> float:
    """The effective rank of eigenvalues n^-alpha, in their number."""
    return effective_rank(torch.arange(1, features + 1, dtype=torch.float64) ** (-alpha / 2)) / features


@pytest.mark.parametrize("features, alpha", [(128, 3.0), (1024, 2.2)])
def test_a_tenth_of_the_rank_is_a_steep_power_law_and_a_healthy_one_is_far_above(features: int, alpha: float):
    assert of_power_law(alpha - 0.15, features) > PARTIAL_RANK_RATIO > of_power_law(alpha + 0.15, features)
    # sum of n^-1/2 is 2 sqrt(D), the mean of log n under it log D - 2: entropy log D + log 2 - 1
    assert of_power_law(1.0, 1_000_000) == pytest.approx(2 / math.e, rel=0.01)
    assert of_power_law(1.0, 64) == pytest.approx(0.86, abs=0.005)


def test_the_threshold_of_the_standard_deviation_is_a_mean_cosine():
    embeddings = 1 + COMPLETE_STANDARD_DEVIATION * gaussian(2000, 64)
    directions = torch.nn.functional.normalize(embeddings, dim=1)
    cosine = float((directions @ directions.T).mean())
    assert standard_deviation(embeddings) == pytest.approx(COMPLETE_STANDARD_DEVIATION, rel=0.02)
    assert cosine == pytest.approx(1 - standard_deviation(embeddings) ** 2, abs=1e-4) == pytest.approx(0.9975, abs=2e-4)
    # where one feature varies more than others the cosine is lower
    uneven = 1 + COMPLETE_STANDARD_DEVIATION * gaussian(2000, 64) * torch.linspace(0, 4, 64)
    directions = torch.nn.functional.normalize(uneven, dim=1)
    assert float((directions @ directions.T).mean()) < 1 - standard_deviation(uneven) ** 2 - 1e-3


def test_alignment_and_uniformity_equal_a_loop_over_pairs():
    x, y = gaussian(12, 5), gaussian(12, 5, seed=1)
    unit_x, unit_y = (view / view.norm(dim=1, keepdim=True) for view in (x, y))
    squares = [sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) for pair in zip(unit_x, unit_y, strict=True)]
    assert alignment(x, y) == pytest.approx(float(sum(squares)) / 12)
    exponents = [math.exp(-2 * float((a - b).square().sum())) for i, a in enumerate(unit_x) for b in unit_x[:i]]
    assert uniformity(x) == pytest.approx(math.log(sum(exponents) / len(exponents)))


def test_alignment_and_uniformity_tell_collapse_from_spread():
    spread, point = gaussian(200, 512), torch.ones(200, 512)
    assert alignment(spread, 3 * spread) == pytest.approx(0.0, abs=1e-12)
    assert alignment(spread, gaussian(200, 512, seed=1)) == pytest.approx(2.0, abs=0.02)
    assert uniformity(spread) == pytest.approx(-4.0, abs=0.02)
    assert alignment(point, point) == uniformity(point) == 0.0


def test_mean_ratio_is_one_where_the_mean_is_as_good():
    x, y = gaussian(5000, 8), gaussian(5000, 8, seed=1)
    assert mean_ratio(y, y) == 0.0
    assert mean_ratio(y.mean(0).expand_as(y), y) == pytest.approx(1.0)
    assert mean_ratio(x, y) == pytest.approx(2.0, rel=0.03)  # unrelated: both variances
    # by hand: errors 1 and 1, around the mean 2 of (0, 4) 4 and 4
    assert mean_ratio(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [4.0]])) == pytest.approx(0.25)
    assert math.isnan(mean_ratio(x, torch.full_like(y, 0.1)))


@pytest.mark.parametrize("offset, verdict", [(0.0, "healthy"), (3.0, "healthy"), (7.0, "partial"), (40.0, "complete")])
def test_compared_vectors_that_lie_near_one_point_are_a_partial_collapse(offset, verdict):
    vectors = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) + offset
    healthy = panel(torch.randn(200, 16, generator=torch.Generator().manual_seed(1)))
    found = with_compared(healthy, vectors)
    assert found["collapse.compared.verdict"] == found["collapse.verdict"] == verdict
    assert found["collapse.compared.effective_rank"] > 14  # the rank alone does not see it
