"""Claims about contrast with a queue: it is MoCo's, the queue is exact at any length, and it resumes."""

import copy
import math
from collections import deque

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor
from torch.autograd import grad
from torch.nn.functional import normalize

from mmssl.losses.queue import QueueContrast
from mmssl.losses.views import Views

GENERATOR = torch.Generator().manual_seed(0)
QUERIES = torch.randn(5, 2, 4, 6, generator=GENERATOR)  # of five steps
KEYS = torch.randn(5, 2, 4, 6, generator=GENERATOR)
INDEX = torch.arange(4)


def views(value: Tensor, *numbers: int, present: Tensor | None = None) -> Views:
    """Of samples that have all of them unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    return Views(value, here, numbers or tuple(range(len(value))))


def made(length: int = 8, temperature: float = 0.2, weight: float = 1.0) -> QueueContrast:
    """A criterion with a queue of its own."""
    torch.manual_seed(0)
    return QueueContrast(temperature, length, 6, weight)


def one_way(criterion: QueueContrast, query: Tensor, key: Tensor) -> Tensor:
    """The first view's query, the second view's key."""
    return criterion(views(query[None], 0), views(key[None], 1), INDEX[: len(query)])["contrast"]


def naive(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Algorithm 1 of He et al. 2019, query by query."""
    query, key = normalize(query, dim=-1), normalize(key, dim=-1)
    losses = []
    for q, k in zip(query, key, strict=True):
        logits = torch.cat([(q @ k)[None], queue @ q]) / temperature
        losses.append(-logits.log_softmax(0)[0])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_five_steps_equal_lightlys_with_a_memory_bank(temperature):
    ours, theirs = made(8, temperature), NTXentLoss(temperature, memory_bank_size=(8, 6))
    theirs.memory_bank.bank = ours.queue.clone()
    for query, key in zip(QUERIES[:, 0], KEYS[:, 1], strict=True):
        query = query.clone().requires_grad_()
        found, expected = one_way(ours, query, key), theirs(query, key)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(grad(found, query)[0], grad(expected, query)[0], rtol=1e-5, atol=1e-6)
        ours.settle(0.0)
        assert torch.equal(ours.queue, theirs.memory_bank.bank)


def test_both_ways_are_the_mean_of_each():
    criterion = made()
    both = criterion(views(QUERIES[0]), views(KEYS[0]), INDEX)["contrast"]
    ways = [naive(QUERIES[0, v], KEYS[0, 1 - v], criterion.queue, 0.2) for v in range(2)]
    torch.testing.assert_close(both, torch.stack(ways).mean())
    same_view = naive(QUERIES[0, 0], KEYS[0, 0], criterion.queue, 0.2)
    assert abs((both - same_view).item()) > 1e-3  # the control: which key it is matters


def test_contrast_worked_by_hand():
    criterion = made(2, temperature=0.5)
    criterion.queue.copy_(torch.eye(6)[:2])
    # the key is the query, which is one of the two entries: e^2 / (e^2 + e^2 + e^0)
    found = one_way(criterion, 3 * torch.eye(6)[:1], 7 * torch.eye(6)[:1])
    assert found.item() == pytest.approx(-math.log(math.exp(2) / (2 * math.exp(2) + 1)))


def test_no_gradient_reaches_keys_or_queue():
    criterion = made()
    query, key = QUERIES[0].clone().requires_grad_(), KEYS[0].clone().requires_grad_()
    found = criterion(views(query), views(key), INDEX)["contrast"]
    assert grad(found, (query, key), allow_unused=True)[1] is None
    assert not criterion.queue.requires_grad
    assert not list(criterion.parameters())
    assert not any(keys.value.requires_grad for keys in criterion.newcomers)


@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 9, 17, 64])
def test_the_queue_holds_the_last_keys_whatever_its_length(length):
    criterion = made(length)
    expected = deque(criterion.queue.clone(), maxlen=length)
    for query, key in zip(QUERIES, KEYS, strict=True):
        criterion(views(query), views(key), INDEX)
        criterion.settle(0.0)
        expected.extend(normalize(key, dim=-1).transpose(0, 1).flatten(0, 1))
        oldest_first = criterion.queue.roll(-int(criterion.position), 0)
        assert torch.equal(oldest_first, torch.stack([*expected]))


def test_lightlys_bank_drops_keys_where_its_length_is_no_multiple_of_the_batch():
    # the control of the claim above
    theirs = NTXentLoss(0.2, memory_bank_size=(7, 6))
    for key in KEYS[:2, 0]:
        theirs(key.clone().requires_grad_(), key)
    assert not any(torch.equal(row, normalize(KEYS[1, 0, 3], dim=-1)) for row in theirs.memory_bank.bank)


def test_keys_enter_after_the_step_and_a_batch_in_parts_makes_the_same_queue():
    whole, parts = made(7), made(7)
    before = whole.queue.clone()
    whole(views(QUERIES[0]), views(KEYS[0]), INDEX)
    assert torch.equal(whole.queue, before)
    for part in (slice(0, 2), slice(2, 4)):
        parts(views(QUERIES[0, :, part]), views(KEYS[0, :, part]), INDEX[part])
    whole.settle(0.0)
    parts.settle(0.0)
    assert torch.equal(whole.queue, parts.queue)
    assert torch.equal(whole.position, parts.position)
    assert not torch.equal(whole.queue, before)
    after = whole.queue.clone()
    whole.settle(0.0)  # what was taken over is forgotten
    assert torch.equal(whole.queue, after)


def test_an_absent_key_enters_no_queue_and_costs_nothing():
    criterion, present = made(8), torch.tensor([[True, True, False, True]])
    before = criterion.queue.clone()
    query = QUERIES[0, :1].clone().requires_grad_()
    found = criterion(views(query, 0), views(KEYS[0, 1:], 1, present=present), INDEX)["contrast"]
    expected = naive(QUERIES[0, 0][present[0]], KEYS[0, 1][present[0]], before, 0.2) * 3 / 4
    torch.testing.assert_close(found, expected)
    assert not grad(found, query)[0][0, 2].any()
    criterion.settle(0.0)
    assert torch.equal(criterion.queue[:3], normalize(KEYS[0, 1, [0, 1, 3]], dim=-1))
    assert torch.equal(criterion.queue[3:], before[3:])


def test_in_eval_mode_nothing_is_noted():
    criterion = made().eval()
    state = copy.deepcopy(criterion.state_dict())
    held_out = one_way(criterion, QUERIES[0, 0], KEYS[0, 1])
    criterion.train().settle(0.0)
    assert all(torch.equal(value, state[name]) for name, value in criterion.state_dict().items())
    assert torch.equal(one_way(criterion, QUERIES[0, 0], KEYS[0, 1]), held_out)
    criterion.settle(0.0)  # the control: while training it is
    assert not torch.equal(criterion.queue, state["queue"])


def test_a_collapsed_embedding_costs_more_than_one_that_spreads():
    def after_settling(value: Tensor) -> float:
        criterion = made(4)
        for _ in range(2):
            found = one_way(criterion, value, value)
            criterion.settle(0.0)
        return found.item()

    assert after_settling(torch.ones(4, 6)) == pytest.approx(math.log(5))
    criterion = made(4, 0.2)
    criterion.queue.copy_(torch.eye(6)[[4, 5, 4, 5]])
    assert one_way(criterion, torch.eye(6)[:4], torch.eye(6)[:4]).item() < 0.1


def test_without_negatives_a_constant_embedding_is_a_minimum():
    constant = torch.ones(4, 6, requires_grad=True)
    for weight in (0.0, 1.0):
        criterion = made(weight=weight)
        found = one_way(criterion, constant, constant)
        is_lowest = found.item() == pytest.approx(-1 / 0.2)  # no cosine is above 1
        is_at_rest = grad(found, constant)[0].norm().item() < 1e-5
        assert (is_lowest, is_at_rest) == (weight == 0, weight == 0)


def test_a_criterion_goes_on_from_its_state():
    first = made(7)
    for query, key in zip(QUERIES[:2], KEYS[:2], strict=True):
        first(views(query), views(key), INDEX)
        first.settle(0.0)
    torch.manual_seed(1)
    second = QueueContrast(0.2, 7, 6)
    assert not torch.equal(second.queue, first.queue)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for query, key in zip(QUERIES[2:], KEYS[2:], strict=True):
        terms = [criterion(views(query), views(key), INDEX)["contrast"] for criterion in (first, second)]
        assert torch.equal(*terms)
        first.settle(0.0)
        second.settle(0.0)
        assert torch.equal(first.queue, second.queue)


def test_the_first_queue_is_a_function_of_the_seed_and_on_the_sphere():
    assert torch.equal(made().queue, made().queue)
    torch.testing.assert_close(made(64).queue.norm(dim=-1), torch.ones(64))
