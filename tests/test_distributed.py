"""Claims about several processes: what they gather, and that the gradient on two equals that on one."""

import pytest
import torch
from processes import on_processes
from tiny import gradients, part, rows_of_captions, tiny_objective, whole_words_of_savanna
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from mmssl import distributed
from mmssl.distributed import gather, largest, mean_over_processes, wait

SAMPLES = 8
METHODS = {
    "bert": ("bert", {}),
    "bert with next_sentence": ("bert", {"next_sentence": True}),
    "roberta": ("roberta", {"unit": "span"}),
    "xlm_roberta": ("xlm_roberta", {}),
    "modernbert": ("modernbert", {}),
    "text_denoising": ("text_denoising", {}),
    "collobert_weston": ("collobert_weston", {}),
}
VIEWS = torch.randn(2, SAMPLES, 4, generator=torch.Generator().manual_seed(0))


class Contrastive(nn.Module):
    """A toy: the other view of a sample among the other views of all samples."""

    def __init__(self, *, gathers: bool) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 3)
        self.gathers = gathers
        with torch.no_grad():
            self.encoder.weight.copy_(torch.linspace(-1, 1, 12).reshape(3, 4))
            self.encoder.bias.zero_()

    def forward(self, views: Tensor) -> Tensor:
        first, second = self.encoder(views[0]), self.encoder(views[1])
        if self.gathers:
            first, second = gather(first), gather(second)
        return cross_entropy(first @ second.T, torch.arange(len(first)))


class Shared(nn.Module):
    """A toy in which two gathered tensors meet in one sum, so that they are handed one and the same gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 4))

    def forward(self, views: Tensor) -> Tensor:
        return (gather(views[0] * self.scale) + gather(views[1] * self.scale)).square().mean()


def mine(count: int) -> slice:
    """The share of `count` samples that belongs to this process."""
    size = count // distributed.processes()
    return slice(distributed.rank() * size, (distributed.rank() + 1) * size)


def wrapped(module: nn.Module) -> nn.Module:
    """As the training loop wraps it."""
    if distributed.processes() == 1:
        return module
    return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)


def toy_gradients(module: nn.Module) -> dict[str, Tensor]:
    """The gradient of a toy on this process's share."""
    model = wrapped(module)  # named, so that it outlives the backward
    model(VIEWS[:, mine(SAMPLES)]).backward()
    return gradients(module)


def method_gradients(name: str) -> dict[str, Tensor]:
    """The gradient of an objective on this process's share; a second pass, since DDP refuses one after a pass in
    which a parameter took no part.
    """
    words = whole_words_of_savanna()
    method, options = METHODS[name]
    objective = tiny_objective(method, words, **options)
    model, batch = wrapped(objective), part(rows_of_captions(words, SAMPLES), mine(SAMPLES))
    for _ in range(2):
        objective.zero_grad()
        torch.stack([*model(batch).terms.values()]).sum().backward()
    return gradients(objective)


def everything() -> dict[str, Tensor]:
    """What each process finds."""
    rank = float(distributed.rank())
    found = {
        "gathered": gather(torch.arange(4.0)[:, None] + 10 * rank),
        "mean": mean_over_processes(torch.tensor([rank, 2 * rank + 1])),
        "largest": torch.tensor(largest(rank, -rank, 5.0)),
    }
    toys = {"gathers": Contrastive(gathers=True), "local": Contrastive(gathers=False), "shared": Shared()}
    for name, toy in toys.items():
        found |= {f"{name}/{key}": value for key, value in toy_gradients(toy).items()}
    for name in METHODS:
        found |= {f"{name}/{key}": value for key, value in method_gradients(name).items()}
    wait()
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Tensor]]:
    """The answers of two processes."""
    return on_processes(2, everything, tmp_path_factory.mktemp("processes"))


def of(answers: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The answers that belong to a name."""
    return {key.removeprefix(f"{name}/"): value for key, value in answers.items() if key.startswith(f"{name}/")}


def difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The norm of the difference of two gradients as a share of the norm of the second."""
    assert found.keys() == expected.keys()
    flat = [torch.cat([one[key].flatten() for key in sorted(one)]).double() for one in (found, expected)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def test_gather_answers_the_samples_in_the_order_of_the_ranks(two):
    for answers in two:
        assert answers["gathered"][:, 0].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]


def test_mean_and_largest_are_the_same_everywhere(two):
    for answers in two:
        assert answers["mean"].tolist() == [0.5, 2.0]
        assert answers["largest"].tolist() == [1.0, 0.0, 5.0]


def test_one_process_alone_gathers_itself():
    tensor = torch.ones(3, 2, requires_grad=True)
    assert gather(tensor) is tensor
    assert mean_over_processes(tensor) is tensor
    assert largest(1.0, 2.0) == [1.0, 2.0]
    assert (distributed.processes(), distributed.rank()) == (1, 0)
    wait()


@pytest.mark.parametrize("name, toy", [("gathers", Contrastive(gathers=True)), ("shared", Shared())])
def test_the_gradient_through_gather_on_two_processes_is_that_of_one(two, name, toy):
    toy.zero_grad()
    expected = toy_gradients(toy)
    for answers in two:
        assert difference(of(answers, name), expected) < 1e-6


def test_without_gather_a_contrastive_gradient_on_two_processes_is_another(two):
    assert difference(of(two[0], "local"), toy_gradients(Contrastive(gathers=True))) > 0.05


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_of_each_method_on_two_processes_is_that_of_one(two, name):
    expected = method_gradients(name)
    assert sum(float(value.abs().sum()) for value in expected.values()) > 0
    for answers in two:
        assert difference(of(answers, name), expected) < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_half_of_the_batch_has_another_gradient(name):
    words = whole_words_of_savanna()
    method, options = METHODS[name]
    objective = tiny_objective(method, words, **options)
    torch.stack([*objective(part(rows_of_captions(words, SAMPLES), slice(0, 4))).terms.values()]).sum().backward()
    assert difference(gradients(objective), method_gradients(name)) > 0.01
