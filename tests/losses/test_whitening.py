"""Claims about whitening: it equals lightly's W-MSE, its views are white, and collapse is its worst value."""

import numpy as np
import pytest
import torch
from lightly.loss.wmse_loss import WMSELoss
from torch import Tensor

from mmssl.errors import ConfigError
from mmssl.losses.views import Views
from mmssl.losses.whitening import WhitenedError, whitened_slices
from mmssl.random import permutation

GENERATOR = torch.Generator().manual_seed(0)
MIX = torch.randn(4, 4, generator=GENERATOR)
VALUES = (torch.randn(1, 24, 4, generator=GENERATOR) + 0.5 * torch.randn(3, 24, 4, generator=GENERATOR)) @ MIX + 1
PRESENT = torch.ones(2, 24, dtype=torch.bool)
PRESENT[1, [1, 4, 5, 20]] = False


def views_of(value: Tensor, present: Tensor | None = None) -> Views:
    """Views that all samples have unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    return Views(value, here, tuple(range(len(value))))


def loss(value: Tensor, present: Tensor | None = None, criterion: WhitenedError | None = None) -> Tensor:
    """The one term of the criterion."""
    views = views_of(value, present)
    return (criterion or WhitenedError())(views, views, torch.arange(value.shape[1]))["whitened"]


def white(sample: np.ndarray) -> np.ndarray:
    """The whitened samples, by numpy: the inverse of the lower Cholesky factor of their covariance."""
    return (sample - sample.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(sample.T))).T


def drawn_slices(number: int, count: int = 24, turn: int = 0, iteration: int = 0) -> list[np.ndarray]:
    """The samples of each slice."""
    order = permutation(0, turn, count, f"slices/{iteration}")
    return [order[first::number] for first in range(number)]


@pytest.mark.parametrize("sub_batch, iterations", [(24, 1), (12, 1), (8, 2)])
def test_whitened_error_equals_lightlys_and_has_its_gradient(monkeypatch, sub_batch, iterations):
    orders = [np.concatenate(drawn_slices(24 // sub_batch, iteration=number)) for number in range(iterations)]
    monkeypatch.setattr(torch, "randperm", lambda count: torch.from_numpy(orders.pop(0)))
    ours, theirs = VALUES.clone().requires_grad_(), VALUES.clone().requires_grad_()
    found = loss(ours, criterion=WhitenedError(sub_batch=sub_batch, iterations=iterations))
    expected = WMSELoss(4, w_iter=iterations, w_size=sub_batch, num_samples=3)(theirs.flatten(0, 1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found.backward()
    expected.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    assert ours.grad.abs().max() > 1e-3


def test_slices_of_unequal_length_equal_a_loop_in_numpy():
    value, similar = VALUES[:2, :23].double().numpy(), []
    for rows in drawn_slices(3, 23):
        one, other = white(value[0, rows]), white(value[1, rows])
        similar += list((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))
    assert len(similar) == 23
    assert loss(VALUES[:2, :23], criterion=WhitenedError(sub_batch=7)).item() == pytest.approx(
        2 - 2 * np.mean(similar), abs=1e-5
    )


def test_whitened_views_have_mean_0_and_identity_covariance():
    for view in WhitenedError(sub_batch=12).whitened(views_of(VALUES), 0).value.unflatten(1, (2, 12)).flatten(0, 1):
        assert view.mean(0).abs().max() < 1e-5
        torch.testing.assert_close(view.T.cov(), torch.eye(4), rtol=0, atol=1e-4)
    assert (VALUES[0].T.cov() - torch.eye(4)).abs().max() > 0.5


def test_whitened_error_worked_by_hand():
    # one feature: whitened is less its mean, over its deviation; on the unit sphere the sign is left
    value = torch.tensor([[0.0, 1.0, 2.0, 9.0], [0.0, 5.0, 1.0, 10.0]])[..., None]
    assert loss(value).item() == pytest.approx(2 - 2 * (1 - 1 + 1 + 1) / 4)


def test_whitened_error_ignores_the_order_of_samples_and_what_whitening_takes_away():
    expected = loss(VALUES)
    torch.testing.assert_close(loss(VALUES.flip(1)), expected, rtol=1e-4, atol=1e-5)
    scaled = VALUES * torch.tensor([0.5, 1.0, 2.0, 3.0]) + torch.arange(3.0)[:, None, None]
    torch.testing.assert_close(loss(scaled), expected, rtol=1e-4, atol=1e-5)
    # not the order of features: Cholesky's factor is triangular, so each view is turned in its own way
    assert abs(float(loss(VALUES.flip(2)) - expected)) > 1e-4
    assert abs(float(loss(scaled, criterion=WhitenedError(whiten=False)) - loss(VALUES))) > 0.01


def test_embeddings_near_one_point_cost_the_most_unless_nothing_is_whitened():
    near = 1 + 1e-3 * torch.randn(2, 400, 4, generator=torch.Generator().manual_seed(1))
    spread = torch.randn(1, 400, 4, generator=torch.Generator().manual_seed(2)) + 0.1 * near
    assert loss(near).item() == pytest.approx(2, abs=0.1)
    assert loss(spread).item() < 0.01
    plain = WhitenedError(whiten=False)
    assert loss(near, criterion=plain).item() < 1e-5
    assert loss(torch.ones(2, 9, 4), criterion=plain).item() == pytest.approx(0, abs=1e-6)


def test_without_whitening_it_is_the_mean_squared_error_on_the_unit_sphere():
    unit = VALUES / VALUES.norm(dim=-1, keepdim=True)
    expected = torch.stack([(unit[a] - unit[b]).square().sum(-1).mean() for a, b in ((0, 1), (0, 2), (1, 2))]).mean()
    torch.testing.assert_close(loss(VALUES, criterion=WhitenedError(whiten=False)), expected)


def test_what_has_no_inverse_is_said_in_training():
    with pytest.raises(ConfigError, match=r"4 features over slices of 4 samples; expected .*train\.batch_size"):
        loss(VALUES[:, :4])
    with pytest.raises(ConfigError, match="over slices of 4 samples"):
        loss(VALUES, criterion=WhitenedError(sub_batch=4))
    assert torch.isfinite(loss(VALUES[:, :5]))
    assert torch.isnan(loss(torch.ones(2, 24, 4)))  # a collapsed encoder: the training loop stops


def test_shrinkage_keeps_a_covariance_of_low_rank_invertible():
    flat = VALUES.clone()
    flat[..., 3] = 0
    assert torch.isnan(loss(flat))
    assert torch.isfinite(loss(flat, criterion=WhitenedError(0.01)))
    value = 5 * VALUES[:, None]
    shrunk = whitened_slices(value, torch.ones(value.shape[:3], dtype=torch.bool), 0.25)[0, 0]
    covariance = np.cov(value[0, 0].numpy().T)
    target = 0.75 * covariance + 0.25 * np.trace(covariance) / 4 * np.eye(4)
    expected = (value[0, 0] - value[0, 0].mean(0)).numpy() @ np.linalg.inv(np.linalg.cholesky(target)).T
    np.testing.assert_allclose(shrunk.numpy(), expected, atol=1e-5)


def test_held_out_batches_may_have_fewer_samples_than_features():
    criterion = WhitenedError(sub_batch=8).eval()
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 16, 64, generator=generator)
    alike = (sample + 0.1 * torch.randn(2, 16, 64, generator=generator)).requires_grad_()
    found = loss(alike, criterion=criterion)
    assert found.item() < 0.5
    assert loss(torch.randn(2, 16, 64, generator=generator), criterion=criterion).item() > 1.5
    assert loss(torch.ones(2, 16, 64), criterion=criterion).item() == pytest.approx(2)
    assert loss(torch.ones(2, 1, 64), criterion=criterion).item() == pytest.approx(2)
    criterion.settle(0.5)
    torch.testing.assert_close(loss(alike, criterion=criterion), found)  # one slice, whatever the step


def test_slices_are_a_function_of_the_step():
    criterion = WhitenedError(sub_batch=8)
    first = loss(VALUES, criterion=criterion)
    assert torch.equal(loss(VALUES, criterion=criterion), first)
    criterion.settle(0.1)
    second = loss(VALUES, criterion=criterion)
    assert abs(float(second - first)) > 1e-4
    resumed = WhitenedError(sub_batch=8)
    resumed.load_state_dict(criterion.state_dict())
    assert resumed.turn.dtype == torch.int64
    assert torch.equal(loss(VALUES, criterion=resumed), second)


def test_whitening_counts_the_samples_that_have_the_view():
    both = PRESENT.all(0).numpy()
    value = VALUES[:2].double().numpy()
    one, other = white(value[0])[both], white(value[1, both])
    similar = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    for filling in (0.0, 7.0):
        filled = torch.where(PRESENT[..., None], VALUES[:2], filling).requires_grad_()
        found = loss(filled, PRESENT)
        assert found.item() == pytest.approx((2 - 2 * similar).sum() / 24, abs=1e-5)
        found.backward()
        assert filled.grad is not None
        assert torch.isfinite(filled.grad).all()
        assert not filled.grad[~PRESENT].any()
        assert filled.grad[PRESENT].abs().min() > 0


def test_samples_that_lack_a_view_are_dealt_evenly():
    lacking = torch.ones(2, 24, dtype=torch.bool)
    lacking[1, :12] = False
    rows, filled = WhitenedError(sub_batch=12).slices(lacking, 2, 0)
    assert filled.all()
    assert sorted(rows.flatten().tolist()) == list(range(24))
    assert lacking[1][rows].sum(1).tolist() == [6, 6]
    assert torch.isfinite(loss(VALUES[:2], lacking, WhitenedError(sub_batch=12)))


@pytest.mark.parametrize("whiten", [True, False])
def test_whitened_error_is_as_exact_under_autocast(whiten):
    expected = loss(VALUES, criterion=WhitenedError(whiten=whiten))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(VALUES, criterion=WhitenedError(whiten=whiten))
    torch.testing.assert_close(found, expected)
