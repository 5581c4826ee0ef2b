"""Claims about swapped prediction: it equals lightly's SwAV, shares are equal, and collapse costs what chance does."""

import copy
import math

import pytest
import torch
from lightly.loss import SwaVLoss
from lightly.loss.swav_loss import sinkhorn as lightlys
from torch import Tensor
from torch.nn.functional import normalize

from mmssl.losses.swapped import SwappedPrediction, sinkhorn
from mmssl.losses.views import Views
from mmssl.objectives.joint_embedding import between

GENERATOR = torch.Generator().manual_seed(0)
VALUES = torch.randn(4, 6, 5, generator=GENERATOR)  # two global views, two local ones
SCORES = normalize(torch.randn(12, 8, generator=GENERATOR), dim=-1)


def views(value: Tensor, present: Tensor | None = None) -> Views:
    """Of samples that have all of them unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    return Views(value, here, tuple(range(len(value))))


def made(width: int = 5, num_prototypes: int = 7, **options) -> SwappedPrediction:
    """A criterion of small width whose prototypes learn at once."""
    torch.manual_seed(0)
    return SwappedPrediction(width, num_prototypes, **{"frozen_ratio": 0.0, **options})


def loss_of(criterion: SwappedPrediction, value: Tensor, present: Tensor | None = None) -> Tensor:
    """The loss of all views, the first two of which are keys."""
    queries = views(value, present)
    return criterion(queries, queries.chosen((0, 1)), torch.arange(value.shape[1]))["swapped"]


def expected_of(criterion: SwappedPrediction, value: Tensor, prototypes: Tensor) -> Tensor:
    """lightly's loss of the same."""
    scores = normalize(value, dim=-1) @ prototypes.T
    theirs = SwaVLoss(criterion.temperature, criterion.iterations, criterion.epsilon)
    return theirs([*scores[:2]], [*scores[2:]])[0]


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 3), (0.5, 1), (0.05, 20)])
def test_codes_equal_lightlys(epsilon, iterations):
    found = sinkhorn(SCORES, epsilon, iterations)
    torch.testing.assert_close(found, lightlys(SCORES.clone(), iterations, epsilon), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, sinkhorn(SCORES, epsilon, iterations + 1), atol=1e-5) or iterations == 20


def test_codes_worked_by_hand():
    # exp(scores) = (1 1; 3 1): columns divided by 4 and 2, then rows by 3/4 and 5/4
    scores = torch.tensor([[1.0, 1.0], [3.0, 1.0]]).log()
    torch.testing.assert_close(sinkhorn(scores, 1.0, 1), torch.tensor([[1 / 3, 2 / 3], [3 / 5, 2 / 5]]))
    # at the end both marginals are 1, and the ratio of products that no scaling changes, p^2 / (1 - p)^2, is still 1/3
    p = 1 / (1 + 3**0.5)
    torch.testing.assert_close(sinkhorn(scores, 1.0, 50), torch.tensor([[p, 1 - p], [1 - p, p]]))
    torch.testing.assert_close(sinkhorn(scores, 1.0, 0), torch.tensor([[1 / 2, 1 / 2], [3 / 4, 1 / 4]]))


def test_rows_sum_to_one_and_columns_to_equal_shares():
    codes = sinkhorn(SCORES, 0.05, 100)
    torch.testing.assert_close(codes.sum(-1), torch.ones(12))
    torch.testing.assert_close(codes.sum(0), torch.full((8,), 12 / 8), atol=1e-3, rtol=0)
    unequal = sinkhorn(SCORES, 0.05, 0).sum(0)  # the control
    assert float((unequal - 12 / 8).abs().max()) > 0.1


@pytest.mark.parametrize("epsilon", [0.05, 1e-3, 1e-6])
@pytest.mark.parametrize("iterations", [0, 3])
def test_no_score_overflows(epsilon, iterations):
    codes = sinkhorn(100 * SCORES, epsilon, iterations)
    assert torch.isfinite(codes).all()
    torch.testing.assert_close(codes.sum(-1), torch.ones(12))
    assert not torch.isfinite(lightlys(100 * SCORES, 3, epsilon)).all()  # the control: exp of the same


def test_who_is_absent_takes_no_share():
    present = torch.tensor([True] * 9 + [False] * 3)
    found = sinkhorn(SCORES, 0.05, 3, present)
    torch.testing.assert_close(found[:9], sinkhorn(SCORES[:9], 0.05, 3))
    assert not torch.allclose(sinkhorn(SCORES, 0.05, 3)[:9], found[:9], atol=1e-3)


@pytest.mark.parametrize("num_views", [2, 4])
def test_the_loss_and_its_gradients_equal_lightlys(num_views):
    criterion = made()
    ours, theirs = (VALUES[:num_views].clone().requires_grad_() for _ in range(2))
    prototypes = criterion.prototypes.detach().clone().requires_grad_()
    found, expected = loss_of(criterion, ours), expected_of(criterion, theirs, prototypes)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    found.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(criterion.prototypes.grad, prototypes.grad, atol=1e-5, rtol=1e-5)
    # the control: whose view it is matters
    swapped = torch.cat([VALUES[:1, [1, 0, 2, 3, 4, 5]], VALUES[1:num_views]])
    assert abs(loss_of(criterion, swapped) - expected).item() > 1e-3


def test_codes_get_no_gradient():
    criterion = made()
    keys = VALUES[:2].clone().requires_grad_()
    queries = VALUES.clone().requires_grad_()
    criterion(views(queries), views(keys), torch.arange(6))["swapped"].backward()
    assert keys.grad is None
    assert queries.grad is not None


@pytest.mark.parametrize("options", [{"equipartition": False}, {"iterations": 0}])
def test_one_point_for_all_costs_chance_and_nothing_where_clusters_need_not_be_equal(options):
    prototypes = torch.eye(5)[:4]
    apart, at_one = torch.eye(5)[4].expand(2, 6, 5), prototypes[0].expand(2, 6, 5)
    equal, unequal = made(num_prototypes=4), made(num_prototypes=4, **options)
    for criterion in (equal, unequal):
        criterion.prototypes.data.copy_(prototypes)
    torch.testing.assert_close(equal.codes(views(at_one)), torch.full((2, 6, 4), 1 / 4))
    # the cheapest of all points lies as far from one prototype as from another
    assert loss_of(equal, apart).item() == pytest.approx(math.log(4), rel=1e-5)
    assert loss_of(equal, at_one).item() > 5
    assert loss_of(unequal, at_one).item() < 1e-3
    # what is not collapsed is cheap for both
    spread = prototypes.repeat(2, 1)[:6].expand(2, 6, 5)
    assert loss_of(equal, prototypes.expand(2, 4, 5)).item() < 1e-3
    assert loss_of(unequal, spread).item() < 1e-3


def test_the_energy_of_a_pair_is_its_loss_without_equal_shares():
    criterion = made(equipartition=False)
    found = between(criterion.energy, VALUES[0], VALUES[1])
    prototypes = criterion.prototypes
    for a in range(6):
        for b in range(6):
            x, y = prototypes @ normalize(VALUES[0, a], dim=0), prototypes @ normalize(VALUES[1, b], dim=0)
            expected = -((y / 0.05).softmax(0) * (x / 0.1).log_softmax(0)).sum()
            torch.testing.assert_close(found[a, b], expected, atol=1e-5, rtol=1e-5)
    both = criterion.energy(VALUES[0], VALUES[1]).mean() + criterion.energy(VALUES[1], VALUES[0]).mean()
    torch.testing.assert_close(loss_of(criterion, VALUES[:2]), both / 2, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(loss_of(made(), VALUES[:2]), both / 2, atol=1e-2)  # the control: equal shares differ


def test_autocast_coarsens_neither_loss_nor_energy():
    criterion = made()
    exact = loss_of(criterion, VALUES), criterion.energy(VALUES[0], VALUES[1])
    with torch.autocast("cpu", torch.bfloat16):
        assert (VALUES[0] @ criterion.prototypes.T).dtype == torch.bfloat16
        torch.testing.assert_close((loss_of(criterion, VALUES), criterion.energy(VALUES[0], VALUES[1])), exact)


def test_what_is_absent_gets_no_gradient_and_its_holder_costs_what_is_left():
    present = torch.ones(4, 6, dtype=torch.bool)
    present[0, 1] = present[2, 3] = present[0, 5] = present[1, 5] = False
    found = []
    for filling in (0.0, 7.0):
        value = torch.where(present[..., None], VALUES, filling).requires_grad_()
        loss = loss_of(made(), value, present)
        loss.backward()
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()
        assert not value.grad[~present].any()
        assert value.grad[1, 0].any()
        found.append(loss.detach())
    assert torch.equal(found[0], found[1])


def test_prototypes_stay_of_unit_length_and_still_while_they_are_frozen():
    criterion = made(frozen_ratio=0.5)
    torch.testing.assert_close(criterion.prototypes.norm(dim=-1), torch.ones(7))
    loss_of(criterion, VALUES).backward()
    assert criterion.prototypes.grad is not None  # DDP waits for it
    assert not criterion.prototypes.grad.any()
    criterion.prototypes.data.mul_(3)
    criterion.settle(0.5)
    torch.testing.assert_close(criterion.prototypes.norm(dim=-1), torch.ones(7))
    loss_of(criterion, VALUES).backward()
    assert criterion.prototypes.grad.any()


def steps(criterion: SwappedPrediction, *progress: float) -> list[Tensor]:
    """Micro-batches of three samples, two a step; all that was shown, in order."""
    shown = []
    for number, one in enumerate(progress):
        for micro in range(2):
            generator = torch.Generator().manual_seed(2 * number + micro)
            shown.append(torch.randn(2, 3, 5, generator=generator))
            loss_of(criterion, shown[-1])
        criterion.settle(one)
    return shown


def test_the_queue_holds_the_last_samples_from_its_start_on():
    criterion = made(queue_length=9, queue_start=0.5)
    shown = steps(criterion, 0.2, 0.4)
    assert criterion.queued == 0
    assert not criterion.queue.any()
    shown = steps(criterion, 0.5)
    assert criterion.queued == 6
    torch.testing.assert_close(criterion.queue[:, :6], normalize(torch.cat(shown, 1), dim=-1))
    before = criterion.queue[:, :3].clone()
    shown = steps(criterion, 0.6)
    assert criterion.queued == 9
    torch.testing.assert_close(criterion.queue, torch.cat([normalize(torch.cat(shown, 1), dim=-1), before], 1))


def test_a_full_queue_lends_its_samples_to_the_codes():
    criterion, without = made(queue_length=6, queue_start=0.0), made()
    loss_of(criterion, VALUES[:, :3])
    criterion.settle(0.0)
    # half full: not used
    torch.testing.assert_close(criterion.codes(views(VALUES[:2])), without.codes(views(VALUES[:2])))
    criterion.newcomers.clear()
    loss_of(criterion, VALUES[:, 3:])
    criterion.settle(0.0)
    newest = normalize(torch.cat([VALUES[:2, 3:], VALUES[:2, :3]], 1), dim=-1)
    torch.testing.assert_close(criterion.queue, newest)
    fresh = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(9))
    for view in range(2):
        scores = torch.cat([normalize(fresh, dim=-1), newest], 1)[view] @ criterion.prototypes.detach().T
        expected = lightlys(scores, 3, 0.05)[:3]
        torch.testing.assert_close(criterion.codes(views(fresh))[view], expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(criterion.codes(views(fresh)), without.codes(views(fresh)), atol=1e-3)


def test_its_state_travels_and_looking_changes_nothing():
    criterion = made(queue_length=6, queue_start=0.0, frozen_ratio=0.3)
    steps(criterion, 0.1, 0.4)
    restored = SwappedPrediction(5, 7, queue_length=6, queue_start=0.0, frozen_ratio=0.3)
    restored.load_state_dict(copy.deepcopy(criterion.state_dict()))
    assert torch.equal(loss_of(restored, VALUES), loss_of(criterion, VALUES))
    criterion.newcomers.clear()
    before = copy.deepcopy(criterion.state_dict())
    criterion.eval()
    loss_of(criterion, VALUES)
    criterion.settle(0.4)
    torch.testing.assert_close(criterion.state_dict(), before)
    criterion.train()
    loss_of(criterion, VALUES)
    criterion.settle(0.4)
    assert not torch.equal(criterion.queue, before["queue"])  # the control
