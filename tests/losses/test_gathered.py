"""Claims about criteria on two processes: value and gradient of the gathered halves are those of the whole."""

from unittest.mock import patch

import pytest
import torch
from processes import on_processes
from torch import Tensor

from mmssl import distributed
from mmssl.losses.criterion import Criterion
from mmssl.losses.normality import PredictionAndNormality, SketchedNormality
from mmssl.losses.redundancy import BarlowTwins
from mmssl.losses.views import Views
from mmssl.losses.whitening import WhitenedError

CRITERIA = {
    "barlow_twins": BarlowTwins(0.1),
    "whitened": WhitenedError(sub_batch=8),
    "plain": WhitenedError(whiten=False),
    "normality": SketchedNormality(num_directions=16),
    "prediction": PredictionAndNormality(0.3, 16),
}
MIXING = [name for name in CRITERIA if name != "plain"]
SAMPLES = 16
VALUES = torch.randn(3, SAMPLES, 3, generator=torch.Generator().manual_seed(0))
PRESENT = torch.ones(3, SAMPLES, dtype=torch.bool)
PRESENT[1, [2, 3]] = PRESENT[2, 10] = False


def judged(criterion: Criterion, present: Tensor) -> dict[str, Tensor]:
    """The loss of this process's share at the second step, and its gradient as DDP would take its mean."""
    size = SAMPLES // distributed.processes()
    mine = slice(distributed.rank() * size, (distributed.rank() + 1) * size)
    value = VALUES[:, mine].clone().requires_grad_()
    views = Views(value, present[:, mine], (0, 1, 2))
    for progress in (0.0, 0.5):
        criterion.settle(progress)
    found = torch.stack([*criterion(views, views.chosen((0, 1)), torch.arange(size)).values()]).sum()
    found.backward()
    assert value.grad is not None
    return {"loss": found.detach(), "gradient": value.grad / distributed.processes()}


def everything() -> dict[str, Tensor]:
    """What each process finds."""
    found = {}
    for name, criterion in CRITERIA.items():
        criterion.load_state_dict({key: torch.zeros_like(value) for key, value in criterion.state_dict().items()})
        for kind, present in (("all", torch.ones_like(PRESENT)), ("absent", PRESENT)):
            found |= {f"{name}/{kind}/{key}": value for key, value in judged(criterion, present).items()}
        with patch("mmssl.losses.views.gather", lambda tensor: tensor):
            found |= {f"{name}/alone/{key}": value for key, value in judged(criterion, PRESENT).items()}
    return found


@pytest.fixture(scope="module")
def one() -> dict[str, Tensor]:
    """The answers of one process."""
    return everything()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Tensor]]:
    """The answers of two."""
    return on_processes(2, everything, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("kind", ["all", "absent"])
@pytest.mark.parametrize("name", CRITERIA)
def test_two_processes_are_one(one, two, name, kind):
    for answers in two:
        torch.testing.assert_close(answers[f"{name}/{kind}/loss"], one[f"{name}/{kind}/loss"], rtol=1e-5, atol=1e-6)
    joined = torch.cat([answers[f"{name}/{kind}/gradient"] for answers in two], dim=1)
    expected = one[f"{name}/{kind}/gradient"]
    assert float((joined - expected).norm() / expected.norm()) < 1e-5
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("name", MIXING)
def test_without_gather_the_gradient_on_two_processes_is_another(one, two, name):
    joined = torch.cat([answers[f"{name}/alone/gradient"] for answers in two], dim=1)
    expected = one[f"{name}/absent/gradient"]
    assert float((joined - expected).norm() / expected.norm()) > 0.05
