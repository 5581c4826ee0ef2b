"""Claims about redundancy reduction: it equals lightly's VICReg and Barlow Twins, and collapse of either kind scores
badly.
"""

import pytest
import torch
from lightly.loss import BarlowTwinsLoss, VICRegLoss
from torch import Tensor

from mmssl.losses.redundancy import BarlowTwins, VarianceInvarianceCovariance
from mmssl.losses.views import Views

VALUES = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
PRESENT = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1, 1]]).bool()


def terms(value: Tensor, present: Tensor | None = None, weights: tuple[float, ...] = (25.0, 25.0, 1.0)) -> dict:
    """The terms of views that all samples have unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    both = Views(value, here, tuple(range(len(value))))
    return VarianceInvarianceCovariance(*weights)(both, both, torch.arange(value.shape[1]))


def loss(value: Tensor, present: Tensor | None = None, weights: tuple[float, ...] = (25.0, 25.0, 1.0)) -> Tensor:
    """Their sum."""
    return torch.stack([*terms(value, present, weights).values()]).sum()


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_vicreg_equals_lightlys(weights):
    value = 0.7 * VALUES[:2]
    torch.testing.assert_close(loss(value, weights=weights), VICRegLoss(*weights)(value[0], value[1]))
    assert float(loss(value, weights=weights)) > 0.01


def test_vicreg_has_the_gradient_of_lightlys():
    ours, theirs = (0.7 * VALUES[:2]).requires_grad_(), (0.7 * VALUES[:2]).requires_grad_()
    loss(ours).backward()
    VICRegLoss()(theirs[0], theirs[1]).backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_vicreg_worked_by_hand():
    # one view of two samples (1, 1) and (-1, -1), the other twice as far out
    value = torch.tensor([[[0.1, 0.1], [-0.1, -0.1]], [[0.2, 0.2], [-0.2, -0.2]]])
    found = {name: float(term) for name, term in terms(value, weights=(1.0, 1.0, 1.0)).items()}
    assert found["invariance"] == pytest.approx(0.01)
    deviations = (0.02 + 1e-4) ** 0.5, (0.08 + 1e-4) ** 0.5
    assert found["variance"] == pytest.approx(1 - sum(deviations) / 2)
    # both entries off the diagonal are 0.02 (0.08), their squares summed over D = 2, both views added
    assert found["covariance"] == pytest.approx(0.02**2 + 0.08**2)


def test_vicreg_ignores_the_order_of_samples_and_of_features():
    expected = loss(VALUES)
    torch.testing.assert_close(loss(VALUES[:, torch.tensor([3, 1, 5, 0, 2, 4, 6])]), expected)
    torch.testing.assert_close(loss(VALUES[:, :, torch.tensor([4, 1, 0, 2, 3])]), expected)
    torch.testing.assert_close(loss(VALUES + torch.randn(5, generator=torch.Generator().manual_seed(3))), expected)
    assert abs(float(loss(2 * VALUES) - expected)) > 1  # the control: it does not ignore the scale


def test_embeddings_at_one_point_have_the_worst_variance_and_gradient_out_of_it():
    point = torch.ones(2, 7, 5)
    found = terms(point)
    assert found["variance"].item() == pytest.approx(25 * (1 - 1e-2))
    assert found["invariance"].item() == found["covariance"].item() == 0
    spread = terms(3 * VALUES[:2])
    assert spread["variance"].item() < 1
    near = (point + 1e-3 * VALUES[:2]).requires_grad_()
    terms(near)["variance"].backward()
    assert near.grad is not None
    assert near.grad.abs().min() > 0


def test_features_that_say_the_same_have_the_worst_covariance():
    generator = torch.Generator().manual_seed(1)
    one = torch.randn(2, 500, 1, generator=generator).expand(2, 500, 5)
    different = torch.randn(2, 500, 5, generator=generator)
    assert float(terms(one)["covariance"]) > 100 * float(terms(different)["covariance"])
    assert terms(one)["covariance"].item() == pytest.approx(2 * 4, rel=0.2)  # four others of covariance 1, two views


def test_a_sample_that_lacks_a_view_costs_nothing():
    value = 0.7 * VALUES[:2]
    found = terms(value, PRESENT)
    both = PRESENT.all(0)
    expected = 25 * (value[0] - value[1])[both].square().mean(1).sum() / 7
    torch.testing.assert_close(found["invariance"], expected)
    kept = [value[0], value[1, PRESENT[1]]]
    hinge = [(1 - (view.var(0) + 1e-4).sqrt()).clamp(min=0).mean() for view in kept]
    torch.testing.assert_close(found["variance"], 25 * torch.stack(hinge).mean())
    products = [view.T.cov() for view in kept]
    apart = [(matrix - matrix.diagonal().diag()).square().sum() / 5 for matrix in products]
    torch.testing.assert_close(found["covariance"], torch.stack(apart).sum())


def test_what_is_absent_gets_no_gradient_whatever_it_holds():
    losses = []
    for filling in (0.0, 7.0):
        value = torch.where(PRESENT[..., None], 0.7 * VALUES[:2], filling).requires_grad_()
        found = loss(value, PRESENT)
        found.backward()
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()
        assert not value.grad[~PRESENT].any()
        assert value.grad[PRESENT].abs().min() > 0
        losses.append(found.detach())
    assert torch.equal(losses[0], losses[1])


def twins(value: Tensor, present: Tensor | None = None, weight: float = 0.0051, scale: float = 1.0) -> dict:
    """The terms of Barlow Twins."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    views = Views(value, here, tuple(range(len(value))))
    return BarlowTwins(weight, scale)(views, views, torch.arange(value.shape[1]))


def twins_loss(value: Tensor, present: Tensor | None = None, weight: float = 0.0051, scale: float = 1.0) -> Tensor:
    """Their sum."""
    return torch.stack([*twins(value, present, weight, scale).values()]).sum()


@pytest.mark.parametrize("weight", [0.0051, 0.0, 1.0])
def test_barlow_twins_equals_lightlys_and_has_its_gradient(weight):
    ours, theirs = VALUES[:2].clone().requires_grad_(), VALUES[:2].clone().requires_grad_()
    found, expected = twins_loss(ours, weight=weight), BarlowTwinsLoss(weight)(theirs[0], theirs[1])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found.backward()
    expected.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    assert ours.grad.abs().max() > 0.01


def test_barlow_twins_of_three_views_is_the_mean_over_their_pairs():
    pairs = [BarlowTwinsLoss(0.5)(VALUES[a], VALUES[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(twins_loss(VALUES, weight=0.5), torch.stack(pairs).mean())
    torch.testing.assert_close(twins_loss(VALUES, weight=0.5, scale=0.024), 0.024 * torch.stack(pairs).mean())


def test_barlow_twins_worked_by_hand():
    # the second feature of one view is the first, that of the other is its opposite: C = [[1, -1], [1, -1]]
    one, other = torch.tensor([[100.0, 100.0], [-100.0, -100.0]]), torch.tensor([[100.0, -100.0], [-100.0, 100.0]])
    found = twins(torch.stack([one, other]), weight=0.1)
    assert found["invariance"].item() == pytest.approx(4)
    assert found["redundancy"].item() == pytest.approx(0.1 * 2)


def test_barlow_twins_ignores_scale_shift_and_the_order_of_samples_and_of_features():
    expected = twins_loss(VALUES)
    torch.testing.assert_close(twins_loss(VALUES[:, torch.tensor([3, 1, 5, 0, 2, 4, 6])]), expected)
    torch.testing.assert_close(twins_loss(VALUES[:, :, torch.tensor([4, 1, 0, 2, 3])]), expected)
    torch.testing.assert_close(twins_loss(7 * VALUES + 3), expected, rtol=1e-3, atol=1e-3)
    mixed = torch.stack([VALUES[0], VALUES[1, torch.tensor([3, 1, 5, 0, 2, 4, 6])], VALUES[2]])
    assert abs(float(twins_loss(mixed) - expected)) > 0.01  # the control: not the order of one view's samples


def test_embeddings_at_one_point_have_the_worst_correlation_and_a_way_out():
    point, spread = torch.ones(2, 7, 5), VALUES[:1].expand(2, 7, 5)
    assert twins(point)["invariance"].item() == pytest.approx(5)  # every C_ii is 0
    assert twins(spread)["invariance"].item() < 1e-3
    near = (point + 1e-4 * VALUES[:1]).requires_grad_()
    twins_loss(near, weight=0.0).backward()
    assert near.grad is not None
    assert -(near.grad * VALUES[:1]).sum() > 0  # downhill is away from the point


def test_repeated_features_cost_and_only_if_redundancy_weighs():
    generator = torch.Generator().manual_seed(1)
    repeated = torch.randn(1, 500, 1, generator=generator).expand(2, 500, 5)
    different = torch.randn(1, 500, 5, generator=generator).expand(2, 500, 5)
    assert twins(repeated, weight=1.0)["redundancy"].item() == pytest.approx(20, rel=1e-3)  # all 5 * 4 are 1
    assert twins(different, weight=1.0)["redundancy"].item() < 0.2
    assert twins_loss(repeated, weight=0.0).item() < 1e-3


def test_barlow_twins_counts_the_samples_that_have_both_views():
    both = PRESENT.all(0)
    expected = BarlowTwinsLoss(0.5)(VALUES[0, both], VALUES[1, both])
    for filling in (0.0, 7.0):
        value = torch.where(PRESENT[..., None], VALUES[:2], filling).requires_grad_()
        found = twins_loss(value, PRESENT, weight=0.5)
        torch.testing.assert_close(found, expected)
        found.backward()
        assert value.grad is not None
        assert not value.grad[:, ~both].any()
        assert value.grad[:, both].abs().min() > 0
    nobody = torch.stack([torch.ones(7), torch.zeros(7)]).bool()
    value = VALUES[:2].clone().requires_grad_()
    found = twins_loss(value, nobody)
    found.backward()
    assert found.item() == 0
    assert value.grad is not None
    assert not value.grad.any()


def test_barlow_twins_is_as_exact_under_autocast():
    alike = VALUES[:1] + 0.03 * VALUES[1:]
    expected = twins(alike, weight=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = twins(alike, weight=1.0)
    torch.testing.assert_close(found, expected)
