"""Claims about the margin loss: it is Hadsell's equation 4, collapse costs it, absent samples make no pair."""

import pytest
import torch
from torch import Tensor
from torch.autograd import grad

from mmssl.losses.margin import Margin
from mmssl.losses.views import Views

VALUES = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
PRESENT = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [1, 1, 0, 0, 1]]).bool()


def terms(value: Tensor, margin: float = 3.0, weight: float = 1.0, present: Tensor | None = None) -> dict[str, Tensor]:
    """Of samples that have all views unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    views = Views(value, here, tuple(range(len(value))))
    return Margin(margin, weight)(views, views, torch.arange(value.shape[1]))


def loss(value: Tensor, **options) -> Tensor:
    """The sum of the terms."""
    return torch.stack([*terms(value, **options).values()]).sum()


def naive(value: Tensor, margin: float, present: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 4 pair by pair: the mean over samples of the mean over each one's pairs."""
    num_views, batch, _ = value.shape
    views = [(v, b) for v in range(num_views) for b in range(batch) if present[v, b]]
    near, far = [], []
    for sample in range(batch):
        mine = [one for one in views if one[1] == sample]
        positive = [(value[a] - value[b]).square().sum() / 2 for a in mine for b in mine if a != b]
        distances = [(value[a] - value[b]).square().sum().sqrt() for a in mine for b in views if b[1] != sample]
        negative = [torch.relu(margin - distance).square() / 2 for distance in distances]
        near.append(torch.stack(positive).mean() if positive else torch.zeros(()))
        far.append(torch.stack(negative).mean() if negative else torch.zeros(()))
    return torch.stack(near).mean(), torch.stack(far).mean()


@pytest.mark.parametrize("margin", [1.0, 3.0])
@pytest.mark.parametrize("num_views", [2, 3])
@pytest.mark.parametrize("present", [torch.ones(3, 5, dtype=torch.bool), PRESENT])
def test_margin_and_its_gradient_equal_a_loop_over_pairs(margin, num_views, present):
    value = VALUES[:num_views].clone().requires_grad_()
    found = terms(value, margin, present=present[:num_views])
    expected = naive(value, margin, present[:num_views])
    torch.testing.assert_close((found["attraction"], found["repulsion"]), expected, rtol=1e-5, atol=1e-6)
    gradient = grad(torch.stack([*found.values()]).sum(), value)[0]
    torch.testing.assert_close(gradient, grad(torch.stack(expected).sum(), value)[0], rtol=1e-5, atol=1e-6)
    assert not gradient[~present[:num_views]].any()


def test_margin_worked_by_hand():
    value = torch.tensor([[[0.0], [10.0]], [[3.0], [10.0]]])
    found = terms(value, margin=12.0)
    # 3^2 / 2 and 0; of the others the distances 10 and 7 lack 2 and 5 of the margin
    assert found["attraction"].item() == pytest.approx((4.5 + 0) / 2)
    assert found["repulsion"].item() == pytest.approx((2 + 12.5) / 2)


def test_a_collapsed_embedding_costs_half_the_squared_margin():
    assert loss(torch.ones(2, 6, 4)).item() == pytest.approx(4.5)
    assert loss(5 * torch.eye(6).expand(2, 6, 6)).item() == 0


def test_without_negatives_a_constant_embedding_is_the_minimum():
    value = torch.ones(2, 6, 4, requires_grad=True)
    found = loss(value, weight=0.0)
    assert found.item() == 0  # no square is lower
    assert not grad(found, value)[0].any()
    assert loss(VALUES, weight=0.0).item() > 1
    assert loss(value, weight=0.5).item() == pytest.approx(2.25)  # the control: negatives forbid it


def test_the_gradient_is_finite_where_two_embeddings_are_one():
    value = VALUES[:2].clone()
    value[1, 0] = value[0, 1]
    value.requires_grad_()
    assert torch.isfinite(grad(terms(value)["repulsion"], value)[0]).all()
    root = (value[1, 0] - value[0, 1]).square().sum().sqrt()
    assert not torch.isfinite(grad(root, value)[0]).all()  # the control: a plain root's is not


def test_the_distance_of_near_embeddings_far_from_zero_is_exact():
    value = (1000.3 * torch.ones(1, 2, 3)).requires_grad_()
    with torch.no_grad():
        value[0, 1, 0] += 0.0625
    found = terms(value, margin=1.0)["repulsion"]
    assert found.item() == pytest.approx(0.9375**2 / 2)
    assert grad(found, value)[0][0, :, 0].tolist() == pytest.approx([0.9375, -0.9375])
    product = torch.cdist(value.detach()[0], value.detach()[0], compute_mode="use_mm_for_euclid_dist")
    assert abs(product[0, 1].item() - 0.0625) > 0.01  # the control: a matrix product's is not


def test_where_nobody_has_a_pair_the_loss_is_zero():
    present = torch.tensor([[True, False, False], [False, False, False]])
    value = VALUES[:2, :3].clone().requires_grad_()
    found = loss(value, present=present)
    assert found.item() == 0
    assert not grad(found, value)[0].any()
