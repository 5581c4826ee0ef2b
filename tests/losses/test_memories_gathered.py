"""Claims about criteria with negatives on several processes: gradient, terms and memories on two equal those on one."""

from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

import pytest
import torch
from processes import on_processes
from torch import Tensor

from mmssl import distributed
from mmssl.losses.contrastive import KeyContrast
from mmssl.losses.criterion import Criterion
from mmssl.losses.margin import Margin
from mmssl.losses.memory import MemoryContrast
from mmssl.losses.queue import QueueContrast
from mmssl.losses.views import Views

GENERATOR = torch.Generator().manual_seed(0)
QUERIES = torch.randn(2, 2, 8, 6, generator=GENERATOR)  # of two steps
KEYS = torch.randn(2, 2, 8, 6, generator=GENERATOR)
INDEX = torch.tensor([11, 4, 0, 7, 2, 4, 9, 1])  # of 13; the second and the sixth are one sample
PRESENT = torch.tensor([[1, 1, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 1, 1]]).bool()
CRITERIA: dict[str, Callable[[], Criterion]] = {
    "margin": lambda: Margin(3.0),
    "queue": lambda: QueueContrast(0.2, 11, 6),
    "keys": lambda: KeyContrast(0.2, 0.4),
    "memory": lambda: MemoryContrast(0.2, width=6, proximal_weight=2.0, weights=(0.25, 0.75)),
}


def two_steps(name: str) -> dict[str, Tensor]:
    """What a criterion says of this process's share in each of two steps, and what it holds at the end."""
    torch.manual_seed(0)
    criterion, found = CRITERIA[name](), {}
    criterion.remember(13)
    size = 8 // distributed.processes()
    mine = slice(distributed.rank() * size, (distributed.rank() + 1) * size)
    for step in range(2):
        value = QUERIES[step, :, mine].clone().requires_grad_()
        queries, keys = (Views(one, PRESENT[:, mine], (0, 1)) for one in (value, KEYS[step, :, mine]))
        terms = criterion(queries, keys, INDEX[mine])
        torch.stack([*terms.values()]).sum().backward()
        criterion.settle(0.0)
        assert value.grad is not None
        found |= {f"{step}/gradient": value.grad} | {f"{step}/term/{key}": term.detach() for key, term in terms.items()}
    return found | {f"buffer/{key}": buffer for key, buffer in criterion.named_buffers()}


def everything() -> dict[str, Tensor]:
    """What each process finds, and, as the control, what it finds without gathering."""
    found = {}
    for name in CRITERIA:
        found |= {f"{name}/{key}": value for key, value in two_steps(name).items()}
    with ExitStack() as stack:
        for place in ("views", "memory"):
            stack.enter_context(patch(f"mmssl.losses.{place}.gather", lambda tensor: tensor))
        for name in CRITERIA:
            found |= {f"{name} apart/{key}": value for key, value in two_steps(name).items()}
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Tensor]]:
    """The answers of two processes."""
    return on_processes(2, everything, tmp_path_factory.mktemp("processes"))


def together(answers: list[dict[str, Tensor]], name: str, key: str) -> Tensor:
    """What two processes say as one: DDP's mean of gradients, the mean of terms, a buffer that both have."""
    first, second = (one[f"{name}/{key}"] for one in answers)
    if key.endswith("gradient"):
        return torch.cat([first, second], 1) / 2
    if key.startswith("buffer"):
        assert " apart" in name or torch.equal(first, second)
        return first
    return (first + second) / 2


@pytest.mark.parametrize("name", CRITERIA)
def test_two_processes_are_one(two, name):
    for key, expected in two_steps(name).items():
        torch.testing.assert_close(together(two, name, key), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CRITERIA)
def test_without_gathering_they_are_not(two, name):
    expected, apart = two_steps(name), f"{name} apart"
    assert any(not torch.allclose(together(two, apart, key), expected[key], atol=1e-3) for key in expected)


@pytest.mark.parametrize("name", ["queue", "memory"])
def test_what_they_hold_moves_alike(two, name):
    key = {"queue": "buffer/queue", "memory": "buffer/memory"}[name]
    assert torch.equal(two[0][f"{name}/{key}"], two[1][f"{name}/{key}"])
    assert not torch.equal(two[0][f"{name} apart/{key}"], two[1][f"{name} apart/{key}"])  # the control
