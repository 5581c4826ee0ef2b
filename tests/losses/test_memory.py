"""Claims about contrast with a memory: it is NPID's and PIRL's, foreign entries stay as they are, and it resumes."""

import copy
import math

import pytest
import torch
from torch import Tensor
from torch.autograd import grad
from torch.nn.functional import normalize

from mmssl.losses.memory import MemoryContrast
from mmssl.losses.views import Views

GENERATOR = torch.Generator().manual_seed(0)
QUERIES = torch.randn(2, 4, 6, generator=GENERATOR)
KEYS = torch.randn(2, 4, 6, generator=GENERATOR)
INDEX = torch.tensor([7, 2, 0, 9])
NUM_SAMPLES = 10
NPID = {"proximal_weight": 30.0, "weights": (1.0,)}
PIRL = {"proximal_weight": 0.0, "weights": (0.25, 0.75)}


def views(value: Tensor, *numbers: int, present: Tensor | None = None) -> Views:
    """Of samples that have all of them unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    return Views(value, here, numbers or tuple(range(len(value))))


def made(num_samples: int = NUM_SAMPLES, **options) -> MemoryContrast:
    """A criterion that remembers, NPID's unless said otherwise."""
    torch.manual_seed(0)
    criterion = MemoryContrast(**{"temperature": 0.2, "width": 6, **NPID, **options})
    criterion.remember(num_samples)
    return criterion


def itself(criterion: MemoryContrast, value: Tensor, index: Tensor = INDEX) -> dict[str, Tensor]:
    """The terms where the query is its own key."""
    return criterion(views(value[None]), views(value[None]), index)


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum of the terms."""
    return torch.stack([*terms.values()]).sum()


def entropy(value: Tensor, memory: Tensor, index: Tensor = INDEX, temperature: float = 0.2) -> Tensor:
    """Equation 2 of Wu et al. 2018, sample by sample."""
    losses = []
    for v, i in zip(normalize(value, dim=-1), index.tolist(), strict=True):
        parts = [torch.exp(entry @ v / temperature) for entry in memory]
        losses.append(-torch.log(parts[i] / torch.stack(parts).sum()))
    return torch.stack(losses).mean()


def test_npid_and_its_gradient_equal_a_loop_over_the_memory():
    criterion, value = made(), QUERIES[0].clone().requires_grad_()
    found = itself(criterion, value)
    apart = (normalize(value, dim=-1) - criterion.memory[INDEX]).square().sum(-1)
    expected = {"contrast": entropy(value, criterion.memory), "proximal": 30 * apart.mean()}
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    gradient, wanted = grad(total(found), value)[0], grad(total(expected), value)[0]
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5)
    other = entropy(QUERIES[0], criterion.memory, INDEX.flip(0))
    assert abs((other - found["contrast"]).item()) > 1e-2  # the control: whose entry it is matters


def test_pirl_weighs_the_picture_and_its_transformation():
    criterion, value = made(**PIRL), QUERIES.clone().requires_grad_()
    found = criterion(views(value), views(KEYS[:1], 0), INDEX)
    parts = [entropy(value[v], criterion.memory) for v in range(2)]
    expected = 0.25 * parts[0] + 0.75 * parts[1]
    torch.testing.assert_close(found["contrast"], expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grad(found["contrast"], value)[0], grad(expected, value)[0], rtol=1e-5, atol=1e-6)
    assert found["proximal"].item() == 0
    assert abs((expected - 0.75 * parts[0] - 0.25 * parts[1]).item()) > 1e-2  # the control


def test_contrast_worked_by_hand():
    criterion = made(2, temperature=0.5)
    criterion.memory.copy_(torch.eye(6)[:2])
    found = itself(criterion, 3 * torch.eye(6)[:1], torch.tensor([1]))
    # the query is at the other's entry and at right angles to its own
    assert found["contrast"].item() == pytest.approx(-math.log(1 / (math.exp(2) + 1)))
    assert found["proximal"].item() == pytest.approx(30 * 2)


def test_entries_move_towards_the_keys_and_all_others_stay():
    criterion = made(**PIRL, momentum=0.3)
    before = criterion.memory.clone()
    criterion(views(QUERIES), views(KEYS[:1], 0), INDEX)
    assert torch.equal(criterion.memory, before)  # not before the step is made
    criterion.settle(0.0)
    expected = before.clone()
    for key, i in zip(KEYS[0], INDEX.tolist(), strict=True):
        moved = 0.3 * before[i] + 0.7 * key / key.norm()
        expected[i] = moved / moved.norm()
    torch.testing.assert_close(criterion.memory, expected)
    others = [i for i in range(NUM_SAMPLES) if i not in INDEX.tolist()]
    assert torch.equal(criterion.memory[others], before[others])
    after = criterion.memory.clone()
    criterion.settle(0.0)  # what was taken over is forgotten
    assert torch.equal(criterion.memory, after)


def test_of_a_sample_seen_twice_in_a_step_the_last_counts():
    index = torch.tensor([3, 5, 3, 3])
    once, twice, parts = made(), made(), made()
    itself(twice, QUERIES[0], index)
    itself(once, QUERIES[0, [1, 3]], index[[1, 3]])
    for part in (slice(0, 2), slice(2, 4)):  # in two parts of a step as well
        itself(parts, QUERIES[0, part], index[part])
    for criterion in (once, twice, parts):
        criterion.settle(0.0)
    assert torch.equal(once.memory, twice.memory)
    assert torch.equal(parts.memory, twice.memory)
    first = made()  # the control: the first would be another memory
    itself(first, QUERIES[0, :2], index[:2])
    first.settle(0.0)
    assert not torch.equal(first.memory, twice.memory)


def test_no_gradient_reaches_keys_or_memory():
    criterion = made(**PIRL)
    query, key = QUERIES.clone().requires_grad_(), KEYS[:1].clone().requires_grad_()
    found = criterion(views(query), views(key, 0), INDEX)
    assert grad(total(found), (query, key), allow_unused=True)[1] is None
    assert not criterion.memory.requires_grad
    assert not any(keys.value.requires_grad for keys, _ in criterion.newcomers)


def test_what_is_absent_costs_nothing_and_moves_no_entry():
    criterion = made(**PIRL)
    before = criterion.memory.clone()
    lacks = torch.tensor([[True, True, False, True], [True, False, False, True]])
    query = QUERIES.clone().requires_grad_()
    found = criterion(views(query, present=lacks), views(KEYS[:1], 0, present=lacks[:1]), INDEX)["contrast"]
    parts = [entropy(QUERIES[v, lacks[v]], before, INDEX[lacks[v]]) * lacks[v].sum() / 4 for v in range(2)]
    torch.testing.assert_close(found, 0.25 * parts[0] + 0.75 * parts[1])
    gradient = grad(found, query)[0]
    assert not gradient[~lacks].any()
    assert gradient[lacks].abs().sum(-1).min() > 0
    criterion.settle(0.0)
    assert torch.equal(criterion.memory[0], before[0])  # the third sample's
    assert not torch.equal(criterion.memory[2], before[2])


HELD_OUT = torch.tensor([7, 2, 10, 1000])  # two of them beyond the memory


def test_held_out_samples_are_compared_with_their_other_view_and_touch_no_entry():
    criterion = made(**PIRL).eval()
    memory = criterion.memory.clone()
    found = criterion(views(QUERIES), views(KEYS[:1], 0), HELD_OUT)["contrast"]
    queries, keys = normalize(QUERIES, dim=-1), normalize(KEYS[0], dim=-1)
    expected = []
    for weight, query, key in ((0.25, queries[0], queries[0]), (0.75, queries[1], keys)):
        for q, k in zip(query, key, strict=True):
            expected.append(-weight * torch.cat([(q @ k)[None], memory @ q]).div(0.2).log_softmax(0)[0] / 4)
    torch.testing.assert_close(found, torch.stack(expected).sum(), rtol=1e-5, atol=1e-6)
    criterion.train().settle(0.0)
    assert torch.equal(criterion.memory, memory)
    criterion.eval()  # which index they bear means nothing
    assert torch.equal(criterion(views(QUERIES), views(KEYS[:1], 0), INDEX)["contrast"], found)
    with pytest.raises(IndexError):  # the control: while training it does
        criterion.train()(views(QUERIES), views(KEYS[:1], 0), HELD_OUT)


def test_a_collapsed_embedding_costs_more_than_one_that_spreads():
    def remembered(value: Tensor) -> float:
        criterion = made(6)
        for _ in range(40):
            found = itself(criterion, value, torch.arange(6))
            criterion.settle(0.0)
        return total(found).item()

    assert remembered(torch.ones(6, 6)) == pytest.approx(math.log(6), abs=1e-4)
    assert remembered(torch.eye(6)) < 0.1


def test_without_negatives_a_remembered_constant_is_a_minimum():
    constant = torch.ones(6, 6, requires_grad=True)
    for weight in (0.0, 1.0):
        criterion = made(6, negative_weight=weight)
        criterion.memory.copy_(normalize(torch.ones(6, 6), dim=-1))
        criterion.memory[5] = normalize(torch.arange(6.0), dim=-1)  # remembered elsewhere, and not seen now
        found = total(itself(criterion, constant[:5], torch.arange(5)))
        is_lowest = found.item() == pytest.approx(-1 / 0.2)  # no cosine is above 1
        is_at_rest = grad(found, constant)[0].norm().item() < 1e-5
        assert (is_lowest, is_at_rest) == (weight == 0, weight == 0)


def test_a_criterion_goes_on_from_its_state():
    first = made()
    itself(first, QUERIES[0])
    first.settle(0.0)
    torch.manual_seed(1)
    second = MemoryContrast(0.2, width=6, **NPID)
    second.remember(NUM_SAMPLES)
    assert not torch.equal(second.memory, first.memory)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for value in (QUERIES[1], KEYS[0]):
        found = [total(itself(criterion, value)) for criterion in (first, second)]
        assert torch.equal(*found)
        first.settle(0.0)
        second.settle(0.0)
        assert torch.equal(first.memory, second.memory)


def test_the_first_memory_is_a_function_of_the_seed_at_building_alone():
    torch.manual_seed(0)
    criterion = MemoryContrast(width=6, **NPID)
    torch.randn(5)
    torch.manual_seed(9)  # between building and remembering
    before = torch.get_rng_state()
    criterion.remember(NUM_SAMPLES)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(criterion.memory, made().memory)
    torch.testing.assert_close(criterion.memory.norm(dim=-1), torch.ones(NUM_SAMPLES))
    torch.manual_seed(9)
    other = MemoryContrast(width=6, **NPID)
    other.remember(NUM_SAMPLES)
    assert not torch.equal(other.memory, criterion.memory)  # the control: another seed


def test_training_before_remembering_is_refused():
    with pytest.raises(AssertionError, match="remember"):
        itself(MemoryContrast(width=6, **NPID), QUERIES[0])
