"""Claims about clusters over several processes: gradients and what is remembered are those of one process."""

from unittest.mock import patch

import pytest
import torch
from processes import on_processes
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmssl import distributed
from mmssl.losses.criterion import Criterion
from mmssl.losses.distillation import SelfDistillation
from mmssl.losses.swapped import SwappedPrediction
from mmssl.losses.views import Views

CRITERIA = {
    "swapped": lambda: SwappedPrediction(5, 7, queue_length=10, queue_start=0.0, frozen_ratio=0.0),
    "distillation": lambda: SelfDistillation(5, centre_momentum=0.5),
}
SPOILT = {"swapped": "mmssl.losses.views.gather", "distillation": "mmssl.losses.distillation.mean_over_processes"}
SAMPLES = torch.randn(4, 3, 8, 6, generator=torch.Generator().manual_seed(0))  # micro-batches of three views of eight


class Toy(nn.Module):
    """An encoder of points, and the criterion of their embeddings."""

    def __init__(self, criterion: Criterion) -> None:
        super().__init__()
        self.encoder, self.criterion = nn.Linear(6, 5), criterion

    def forward(self, samples: Tensor) -> Tensor:
        value = self.encoder(samples)
        queries = Views(value, torch.ones(value.shape[:2], dtype=torch.bool), (0, 1, 2))
        terms = self.criterion(queries, queries.chosen((0, 1)).detached(), torch.arange(value.shape[1]))
        return torch.stack([*terms.values()]).sum()


def answers(name: str) -> dict[str, Tensor]:
    """Two steps of two micro-batches, the gradients of the second, and the state after it."""
    torch.manual_seed(0)
    toy = Toy(CRITERIA[name]())
    count = distributed.processes()
    model = DistributedDataParallel(toy, broadcast_buffers=False) if count > 1 else toy
    found = {}
    for step in range(2):
        toy.zero_grad()
        for micro in range(2):
            size = SAMPLES.shape[2] // count
            samples = SAMPLES[2 * step + micro, :, distributed.rank() * size :][:, :size].clone().requires_grad_()
            model(samples).backward()
            assert samples.grad is not None
            found[f"{name} input {micro}"] = samples.grad.transpose(0, 1) / count
        toy.criterion.settle(0.5 + 0.1 * step)
    gradients = {f"{name} {key}": weight.grad for key, weight in toy.named_parameters() if weight.grad is not None}
    return found | gradients | {f"{name} {key}": buffer for key, buffer in toy.named_buffers()}


def everything() -> dict[str, Tensor]:
    """What a process answers: as it should be, and where samples of other processes are unknown."""
    found = {}
    for name in CRITERIA:
        found |= answers(name)
        with patch(SPOILT[name], lambda tensor: tensor), patch("mmssl.losses.swapped.rank", lambda: 0):
            found |= {f"spoilt {key}": value for key, value in answers(name).items()}
    return found


@pytest.fixture(scope="module")
def on_two(tmp_path_factory) -> list[dict[str, Tensor]]:
    """What two processes answer."""
    return on_processes(2, everything, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("name", CRITERIA)
def test_two_processes_equal_one(name, on_two):
    for key, expected in answers(name).items():
        first, second = (answer[key] for answer in on_two)
        if " input " in key:
            torch.testing.assert_close(torch.cat([first, second]), expected, atol=1e-6, rtol=1e-4)
        else:
            assert torch.equal(first, second)
            torch.testing.assert_close(first, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("name", "key"), [("swapped", "prototypes"), ("swapped", "queue"), ("distillation", "centre")])
def test_they_differ_where_processes_do_not_talk(name, key, on_two):
    expected = answers(name)[f"{name} criterion.{key}"]
    assert not torch.allclose(on_two[0][f"spoilt {name} criterion.{key}"], expected, atol=1e-3)
