"""Claims about normality: it equals lightly's SIGReg and LeJEPA, a naive loop and integrals, and collapse costs."""

from typing import Any

import numpy as np
import pytest
import torch
from lightly.loss.lejepa_loss import LeJEPALoss, SIGReg
from torch import Tensor

from mmssl.losses.normality import PredictionAndNormality, SketchedNormality, epps_pulley
from mmssl.losses.views import Views

VALUES = torch.randn(3, 12, 5, generator=torch.Generator().manual_seed(0)) + 0.3
PRESENT = torch.ones(3, 12, dtype=torch.bool)
PRESENT[0, [2, 3]] = PRESENT[1, [3, 7, 8]] = PRESENT[2, 3] = False  # sample 3 has none
T = np.linspace(0, 3, 300001)


def views_of(value: Tensor, present: Tensor | None = None) -> Views:
    """Views that all samples have unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    return Views(value, here, tuple(range(len(value))))


def normality(value: Tensor, present: Tensor | None = None, **options: Any) -> Tensor:
    """The statistic of views."""
    views = views_of(value, present)
    return SketchedNormality(**options)(views, views, torch.arange(value.shape[1]))["normality"]


def terms(value: Tensor, weight: float = 0.02, num_keys: int = 3, present: Tensor | None = None) -> dict[str, Tensor]:
    """LeJEPA's terms where the first views are the global ones."""
    views = views_of(value, present)
    criterion = PredictionAndNormality(weight, 64)
    return criterion(views, views.chosen(tuple(range(num_keys))), torch.arange(value.shape[1]))


def total(value: Tensor, weight: float = 0.02, num_keys: int = 3, present: Tensor | None = None) -> Tensor:
    """Their sum."""
    return torch.stack([*terms(value, weight, num_keys, present).values()]).sum()


def integral(characteristic: np.ndarray) -> float:
    """Twice the integral over [0, 3] of |characteristic - exp(-t^2 / 2)|^2 exp(-t^2 / 2), at high resolution."""
    normal = np.exp(-(T**2) / 2)
    return 2 * float(np.trapezoid(np.abs(characteristic - normal) ** 2 * normal, T))


def in_one_dimension(sample: Tensor) -> float:
    """The statistic of numbers: every direction is 1 or -1, which say the same."""
    return normality(sample[None, :, None], num_directions=2).item()


@pytest.fixture
def same_directions(monkeypatch):
    """Lightly draws our directions."""

    def use(criterion: SketchedNormality) -> None:
        monkeypatch.setattr(SIGReg, "_generate_unit_vectors", lambda *_: criterion.directions(VALUES))

    return use


def test_sketched_normality_equals_lightlys_and_has_its_gradient(same_directions):
    same_directions(SketchedNormality())
    ours, theirs = VALUES.clone().requires_grad_(), VALUES.clone().requires_grad_()
    found, expected = normality(ours), SIGReg(num_vectors=256)(theirs)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found.backward()
    expected.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    assert ours.grad.abs().max() > 1e-3


@pytest.mark.parametrize("num_keys", [1, 2])
def test_prediction_and_normality_equals_lightlys_lejepa_and_has_its_gradient(same_directions, num_keys):
    same_directions(SketchedNormality(num_directions=64))
    ours, theirs = VALUES.clone().requires_grad_(), VALUES.clone().requires_grad_()
    found = total(ours, 0.1, num_keys)
    lejepa = LeJEPALoss(0.1, sigreg_num_vectors=64)
    expected = lejepa(local_proj=theirs[num_keys:], global_proj=theirs[:num_keys])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found.backward()
    expected.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_the_statistic_equals_a_naive_loop():
    along = VALUES[..., :2].double().numpy()
    knots = np.linspace(0, 3, 17)
    for view in range(3):
        for direction in range(2):
            squared = []
            for t in knots:
                phi = np.mean([np.exp(1j * t * x) for x in along[view, :, direction]])
                squared.append(abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2))
            inner = sum((squared[k] + squared[k + 1]) / 2 * (3 / 16) for k in range(16))
            found = epps_pulley(VALUES[..., :2], torch.ones(3, 12, dtype=torch.bool))[view, direction]
            assert found.item() == pytest.approx(12 * 2 * inner, abs=1e-5)


@pytest.mark.parametrize("place", [0.0, 0.5, 2.0, 5.0])
def test_samples_at_one_point_cost_what_the_integral_says(place):
    assert in_one_dimension(torch.full((40,), place)) == pytest.approx(40 * integral(np.exp(1j * T * place)), rel=2e-3)


def test_the_cost_of_the_origin_worked_by_hand():
    # over all t: the integral of exp(-t^2/2) - 2 exp(-t^2) + exp(-3 t^2/2)
    expected = np.sqrt(2 * np.pi) - 2 * np.sqrt(np.pi) + np.sqrt(2 * np.pi / 3)
    wide = normality(torch.zeros(2, 100, 3), num_knots=200, highest_frequency=10.0)
    assert wide.item() == pytest.approx(100 * expected, rel=1e-3)
    assert normality(torch.zeros(2, 100, 3)).item() == pytest.approx(100 * expected, rel=0.02)


@pytest.mark.parametrize("count", [50, 2000])
def test_normal_samples_cost_about_one_however_many_they_are(count):
    value = torch.randn(64, count, 4, generator=torch.Generator().manual_seed(0))
    # its mean over samples: the integral of (1 - exp(-t^2)) exp(-t^2/2), twice over [0, 3]
    expected = 2 * np.trapezoid((1 - np.exp(-(T**2))) * np.exp(-(T**2) / 2), T)
    assert expected == pytest.approx(1.05, abs=0.01)
    assert normality(value, num_directions=8).item() == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("name", ["wide", "narrow", "uniform"])
def test_other_distributions_cost_what_their_characteristic_function_says(name):
    quantile = (torch.arange(20000) + 0.5) / 20000
    normal, uniform = torch.special.ndtri(quantile), 12**0.5 * (quantile - 0.5)
    sample, characteristic = {
        "wide": (2 * normal, np.exp(-2 * T**2)),  # N(0, 4)
        "narrow": (0.5 * normal, np.exp(-(T**2) / 8)),
        "uniform": (uniform, np.sinc(3**0.5 * T / np.pi)),  # of variance 1
    }[name]
    assert in_one_dimension(sample) == pytest.approx(20000 * integral(characteristic), rel=0.01)
    assert in_one_dimension(sample) > 100 * in_one_dimension(normal)


def test_normality_ignores_the_order_of_samples_and_on_the_whole_that_of_features():
    expected = normality(VALUES)
    torch.testing.assert_close(normality(VALUES.flip(1)), expected)
    many = normality(VALUES, num_directions=8192)
    torch.testing.assert_close(normality(VALUES.flip(2), num_directions=8192), many, rtol=0.03, atol=0)
    assert abs(float(normality(2 * VALUES) - expected)) > 0.1  # the control: it does not ignore the scale


def test_what_has_collapsed_is_pushed_apart():
    noise = 1e-2 * torch.randn(1, 64, 5, generator=torch.Generator().manual_seed(1))
    for centre in (0.0, 1.0):
        near = (centre + noise).requires_grad_()
        normality(near).backward()
        assert near.grad is not None
        assert -(near.grad * (noise - noise.mean(1, keepdim=True))).sum() > 0.01 * noise.norm()
    away = torch.ones(1, 64, 5, requires_grad=True)  # at one point, but not the origin
    normality(away).backward()
    assert away.grad is not None
    assert (away.grad.sum(-1) > 0).all()


def test_a_constant_embedding_costs_more_than_a_spread_one_unless_normality_has_no_weight():
    point = torch.ones(2, 256, 5)
    spread = torch.randn(1, 256, 5, generator=torch.Generator().manual_seed(0)).expand(2, 256, 5)
    assert total(point, num_keys=2) > 20 * total(spread, num_keys=2)
    for constant in (point, 7 * point):
        value = constant.clone().requires_grad_()
        found = total(value, 0.0, 2)
        found.backward()
        assert found.item() == 0
        assert value.grad is not None
        assert not value.grad.any()


def test_prediction_worked_by_hand():
    # the mean of the keys (0, 0) and (2, 4) is (1, 2): squares 1 and 4, mean 2.5; the third view is 3 and 0 away
    value = torch.tensor([[[0.0, 0.0]], [[2.0, 4.0]], [[4.0, 2.0]]])
    assert terms(value, 0.2, 2)["prediction"].item() == pytest.approx(0.8 * (2.5 + 2.5 + 4.5) / 3)


def test_what_is_absent_costs_nothing_and_gets_no_gradient_whatever_it_holds():
    predicted = 0.0
    for sample in range(12):
        here = VALUES[:, sample][PRESENT[:, sample]].numpy()
        keys = VALUES[:2, sample][PRESENT[:2, sample]].numpy()
        predicted += np.square(here - keys.mean(0)).mean() if len(keys) else 0.0
    kept = [normality(view[None, here], num_directions=64).item() for view, here in zip(VALUES, PRESENT, strict=True)]
    for filling in (0.0, 7.0):
        value = torch.where(PRESENT[..., None], VALUES, filling).requires_grad_()
        found = terms(value, 0.1, 2, PRESENT)
        assert found["prediction"].item() == pytest.approx(0.9 * predicted / 12, abs=1e-5)
        assert found["normality"].item() == pytest.approx(0.1 * np.mean(kept), abs=1e-5)
        torch.stack([*found.values()]).sum().backward()
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()
        assert not value.grad[~PRESENT].any()
        assert value.grad[PRESENT].abs().min() > 0
    assert normality(VALUES, torch.zeros(3, 12, dtype=torch.bool)).item() == 0


def test_directions_are_unit_vectors_and_a_function_of_the_step():
    criterion = PredictionAndNormality()
    drawn = criterion.normality.directions(VALUES)
    torch.testing.assert_close(drawn.norm(dim=0), torch.ones(256))
    assert drawn.mean().abs() < 0.05
    torch.manual_seed(5)
    assert torch.equal(criterion.normality.directions(VALUES), drawn)
    criterion.settle(0.1)
    later = criterion.normality.directions(VALUES)
    assert (later - drawn).abs().max() > 0.1
    resumed = PredictionAndNormality()
    resumed.load_state_dict(criterion.state_dict())
    assert resumed.normality.turn.dtype == torch.int64
    assert torch.equal(resumed.normality.directions(VALUES), later)
    assert torch.equal(resumed.eval().normality.directions(VALUES), drawn)  # held-out losses can be compared


def test_normality_is_as_exact_under_autocast():
    expected = terms(VALUES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = terms(VALUES)
    torch.testing.assert_close(found, expected)
