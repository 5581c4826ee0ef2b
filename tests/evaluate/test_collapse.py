"""The collapse panel sees points, lines and few dimensions, whatever the offset, the scale and the rotation."""

import json
import math

import numpy as np
import pytest
import torch

from mmssl.errors import DataError, NumericError
from mmssl.evaluate.collapse import (
    alignment,
    alpha_req,
    deviation,
    effective_rank,
    lidar,
    mean_ratio,
    panel,
    spectrum,
    standard_deviation,
    uniformity,
    verdict,
    with_compared,
    worse,
)


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int) -> torch.Tensor:
    return torch.linalg.qr(gaussian(size, size, seed=9)).Q


def of_rank(rank: int, samples: int = 1000, features: int = 64) -> torch.Tensor:
    return gaussian(samples, rank) @ rotation(features)[:rank]


def uncentred_rank(embeddings: torch.Tensor) -> float:
    """The paper's own formula, in numpy."""
    share = np.linalg.svd(embeddings.numpy(), compute_uv=False)
    share = share / share.sum()
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))


def test_spectrum_is_that_of_the_centred_embeddings():
    # Centred, the columns are (-1, 1) * 3 and (-1, 1) * 4 on the same two samples: one singular value, sqrt(2) * 5.
    values = spectrum(torch.tensor([[7.0, 96.0], [13.0, 104.0]]))
    assert values.tolist() == pytest.approx([math.sqrt(2) * 5, 0.0])


def test_effective_rank_of_worked_spectra():
    assert effective_rank(torch.tensor([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3.0)
    # Shares 1/2, 1/4, 1/4: entropy 1.5 ln 2.
    assert effective_rank(torch.tensor([2.0, 1.0, 1.0])) == pytest.approx(2**1.5)


def test_effective_rank_equals_the_paper_where_the_mean_is_zero():
    embeddings = gaussian(300, 20) * torch.arange(1, 21)
    embeddings = embeddings - embeddings.mean(dim=0)
    assert effective_rank(spectrum(embeddings)) == pytest.approx(uncentred_rank(embeddings), rel=1e-9)


def test_isotropic_embeddings_have_full_rank_and_are_healthy():
    # Marchenko-Pastur, ratio 0.064: singular values spread by about +-12 %, which costs less than 2 % of the rank.
    embeddings = gaussian(1000, 64)
    assert 0.98 * 64 < effective_rank(spectrum(embeddings)) <= 64
    assert standard_deviation(embeddings) == pytest.approx(1.0, abs=0.01)
    assert verdict(embeddings) == "healthy"


def test_random_embeddings_of_fewer_samples_than_features_are_healthy():
    assert verdict(gaussian(32, 256)) == "healthy"
    assert verdict(gaussian(2, 8)) == "healthy"
    assert verdict(gaussian(100, 2)) == "healthy"


@pytest.mark.parametrize("value", [0.0, 0.1, -1e4])
def test_equal_embeddings_are_complete_collapse_without_nan(value: float):
    values = panel(torch.full((33, 8), value))
    assert values == {
        "collapse.verdict": "complete", "collapse.effective_rank": 0.0, "collapse.reachable_rank": 8.0,
        "collapse.std": 0.0,
    }  # fmt: skip
    json.dumps(values, allow_nan=False)


def test_equal_embeddings_but_for_float32_rounding_are_complete_collapse():
    embeddings = (1 + 1e-7 * gaussian(200, 16)).float()
    assert verdict(embeddings) == "complete"


def test_embeddings_on_one_line_are_complete_collapse():
    embeddings = of_rank(1)
    assert effective_rank(spectrum(embeddings)) == pytest.approx(1.0, abs=1e-6)
    assert standard_deviation(embeddings) > 0.5  # which the standard deviation alone would pass
    assert verdict(embeddings) == "complete"


@pytest.mark.parametrize("rank", [3, 4, 6])
def test_embeddings_of_few_dimensions_are_partial_collapse_of_that_rank(rank: int):
    embeddings = of_rank(rank)
    assert effective_rank(spectrum(embeddings)) == pytest.approx(rank, rel=0.01)
    assert verdict(embeddings) == "partial"


def test_rank_ignores_rotation_scale_and_the_order_of_samples():
    embeddings = gaussian(200, 16) * torch.arange(1, 17)
    reference = effective_rank(spectrum(embeddings))
    for changed in (embeddings @ rotation(16), 1e-3 * embeddings, embeddings.flip(0)):
        assert effective_rank(spectrum(changed)) == pytest.approx(reference, rel=1e-9)
        assert alpha_req(spectrum(changed)) == pytest.approx(alpha_req(spectrum(embeddings)), rel=1e-9)
    assert standard_deviation(1e-3 * embeddings) == pytest.approx(standard_deviation(embeddings), rel=1e-9)


@pytest.mark.parametrize("rank, expected", [(1, "complete"), (4, "partial")])
def test_a_constant_offset_does_not_hide_a_collapse(rank: int, expected: str):
    embeddings = of_rank(rank)
    moved = embeddings + embeddings.std() * rotation(64)[-1] * 8
    assert effective_rank(spectrum(moved)) == pytest.approx(effective_rank(spectrum(embeddings)), rel=1e-6)
    assert verdict(moved) == expected
    # Without centring the offset counts as a further dimension: what the centring is for.
    assert uncentred_rank(moved) > uncentred_rank(embeddings) + 0.7


def test_variation_that_is_small_beside_an_offset_is_complete_collapse_whatever_its_rank():
    embeddings = 1 + 1e-3 * gaussian(500, 32)
    assert effective_rank(spectrum(embeddings)) > 30
    assert verdict(embeddings) == "complete"


def test_standard_deviation_of_a_worked_example():
    # Normalised: (1, 0), (0, 1), (-1, 0), (0, -1); each feature has variance 1/2, times sqrt(2).
    embeddings = torch.tensor([[3.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [0.0, -2.0]])
    assert standard_deviation(embeddings) == pytest.approx(1.0)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_alpha_req_recovers_the_exponent_of_a_power_law(alpha: float):
    eigenvalues = torch.arange(1, 101, dtype=torch.float64) ** -alpha
    assert alpha_req(7 * eigenvalues.sqrt()) == pytest.approx(alpha, rel=1e-9)


def test_alpha_req_equals_a_weighted_fit_by_numpy():
    singular_values = spectrum(gaussian(300, 40) * torch.linspace(1, 0.1, 40))
    order = np.arange(1, 41)
    # polyfit weights residuals, so the square root.
    slope = np.polyfit(np.log(order), np.log(singular_values.numpy() ** 2), 1, w=np.sqrt(1 / order))[0]
    assert alpha_req(singular_values) == pytest.approx(-slope, rel=1e-9)


def test_alpha_req_of_a_single_direction_is_infinite_and_left_out_of_the_panel():
    assert alpha_req(spectrum(of_rank(1))) == math.inf
    assert "collapse.alpha_req" not in panel(of_rank(1))
    assert "collapse.alpha_req" in panel(of_rank(2))


def naive_lidar(views: np.ndarray, shrinkage: float) -> float:
    """The paper's formula by loops and a symmetric matrix square root."""
    samples, count, features = views.shape
    means = views.mean(axis=1)
    between, within = np.zeros((features, features)), shrinkage * np.eye(features)
    for sample in range(samples):
        deviation = means[sample] - means.mean(axis=0)
        between += np.outer(deviation, deviation) / samples
        for view in range(count):
            deviation = views[sample, view] - means[sample]
            within += np.outer(deviation, deviation) / (samples * count)
    value, vector = np.linalg.eigh(within)
    whitening = vector @ np.diag(value**-0.5) @ vector.T
    share = np.clip(np.linalg.eigvalsh(whitening @ between @ whitening), 0, None)
    share = share[share > 1e-12 * share.sum()] / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def test_lidar_equals_the_formula_of_the_paper():
    views = gaussian(40, 1, 6) * torch.arange(1, 7) + 0.3 * gaussian(40, 5, 6, seed=1)
    assert lidar(views) == pytest.approx(naive_lidar(views.numpy(), 1e-4), rel=1e-9)


def test_lidar_counts_only_the_dimensions_that_views_share():
    # 64 dimensions vary, but only 3 of them with the sample; the plain rank cannot tell. The means of 8 views vary by
    # 25 + 1/8 in 3 dimensions and by 1/8 in 61: shares 0.303 and 0.0015, so the rank is exp(1.085 + 0.596) = 5.4.
    shared = torch.zeros(500, 1, 64, dtype=torch.float64)
    shared[:, 0, :3] = 5 * gaussian(500, 3)
    views = shared + gaussian(500, 8, 64, seed=1)
    assert lidar(views) == pytest.approx(5.4, abs=0.3)
    assert effective_rank(spectrum(views[:, 0])) > 30
    assert lidar(5 * gaussian(500, 1, 64) + gaussian(500, 8, 64, seed=1)) > 55


def test_lidar_of_equal_embeddings_is_zero_and_of_equal_views_finite():
    assert lidar(torch.full((5, 3, 4), 0.1)) == 0.0
    assert 1 < lidar(gaussian(50, 1, 8).expand(50, 3, 8)) <= 8


def test_deviation_is_the_standard_deviation_without_leaving_the_device():
    embeddings = gaussian(64, 16) + 1
    assert float(deviation(embeddings.float())) == pytest.approx(standard_deviation(embeddings), rel=1e-5)
    assert deviation(embeddings.float()).shape == ()


def test_panel_has_the_keys_of_evaluation_json():
    keys = {f"collapse.{key}" for key in ("verdict", "effective_rank", "reachable_rank", "std", "alpha_req")}
    of_views = {f"collapse.{key}" for key in ("lidar", "alignment", "uniformity", "mean_ratio")}
    assert panel(gaussian(50, 8)).keys() == keys
    assert panel(gaussian(50, 8), gaussian(20, 3, 8)).keys() == keys | of_views
    assert panel(gaussian(50, 8), torch.ones(20, 3, 8)).keys() == keys | of_views - {"collapse.mean_ratio"}
    json.dumps(panel(gaussian(50, 8).bfloat16()), allow_nan=False)


def test_panel_compares_the_first_two_views():
    views = gaussian(20, 3, 8)
    values = panel(gaussian(50, 8), views)
    assert values["collapse.alignment"] == alignment(views[:, 0], views[:, 1])
    assert values["collapse.mean_ratio"] == mean_ratio(views[:, 0], views[:, 1])
    assert values["collapse.uniformity"] == pytest.approx((uniformity(views[:, 0]) + uniformity(views[:, 1])) / 2)


def test_the_verdict_is_the_worse_of_features_and_what_is_compared():
    healthy, few, point = gaussian(100, 64), of_rank(4, 100), torch.ones(100, 64)
    for features, compared, expected in (
        (healthy, healthy, "healthy"), (healthy, few, "partial"), (healthy, point, "complete"),
        (few, healthy, "partial"), (point, few, "complete"),
    ):  # fmt: skip
        values = with_compared(panel(features), compared)
        assert values["collapse.verdict"] == expected == worse(verdict(features), verdict(compared))
        assert values["collapse.compared.verdict"] == verdict(compared)
        assert values["collapse.compared.effective_rank"] == effective_rank(spectrum(compared))
        assert values["collapse.compared.std"] == standard_deviation(compared)
        assert values["collapse.effective_rank"] == effective_rank(spectrum(features))
    named = with_compared(panel(healthy), point, "contrast")
    assert named["contrast.collapse.compared.verdict"] == named["collapse.verdict"] == "complete"


def test_too_few_samples_or_values_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="got 1 sample, expected at least 2"):
        panel(torch.ones(1, 8))
    with pytest.raises(DataError, match="expected at least 2 samples of 2 views"):
        lidar(torch.ones(5, 1, 8))
    with pytest.raises(NumericError, match="embeddings: 8 of 24 values are not finite"):
        panel(torch.tensor([[1.0] * 8, [float("inf")] * 8, [0.0] * 8]))
