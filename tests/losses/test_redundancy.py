"""Claims about redundancy reduction: it equals lightly's VICReg, and collapse of either kind scores badly."""

import pytest
import torch
from lightly.loss import VICRegLoss
from torch import Tensor

from mmssl.losses.redundancy import VarianceInvarianceCovariance
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
