"""Claims about layers that are computed again in the backward: nothing of what is trained changes."""

import copy

import pytest
import torch
from tiny import ENCODER_OPTIONS, GRIDS, gradients, tiny_batch, tiny_objective, words_of_tests
from torch import Tensor, nn

from mmssl.errors import ConfigError
from mmssl.footprint import kept_bytes
from mmssl.methods import METHODS
from mmssl.models import ENCODERS
from mmssl.models.convnet import ConvolutionalEncoder, regnet_y
from mmssl.models.normalization import BatchNorm
from mmssl.models.recompute import checkpointed, recompute
from mmssl.objectives import Objective

PICTURES = {"image": GRIDS["image"]}


def objective_of(kind: str) -> Objective:
    """A tiny one whose backward has something to compute again."""
    torch.manual_seed(0)
    if kind == "regnet_y":
        encoder = regnet_y(PICTURES, widths=[8, 16], depths=[1, 2], groups_width=4, small_stem=True)
        return METHODS["simclr"](encoder, PICTURES, projector_width=32, embedding_width=16)
    if kind in ("bert", "modernbert"):
        words = words_of_tests()
        encoder = ENCODERS[kind](words, **{**ENCODER_OPTIONS[kind], "dropout": 0.2})  # drops alike both times
        return METHODS[kind](encoder, words)
    method, encoder = kind.split()
    return tiny_objective(method, encoder=encoder)


def step(objective: Objective, method: str) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Loss, gradients and buffers of two micro-batches."""
    objective.train()
    torch.manual_seed(1)
    losses = []
    for _ in range(2):
        loss = torch.stack([*objective(tiny_batch(method)).terms.values()]).sum()
        loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses), gradients(objective), dict(objective.named_buffers())


@pytest.mark.parametrize("kind", ["simclr vit", "mae vit", "byol resnet", "regnet_y", "bert", "modernbert"])
def test_loss_gradient_and_statistics_are_the_same_bits(kind):
    method = {"regnet_y": "simclr"}.get(kind, kind.split()[0])
    objective = objective_of(kind)
    other = copy.deepcopy(objective)
    recompute(other)
    expected, found = step(objective, method), step(other, method)
    assert torch.equal(found[0], expected[0])
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert mine.keys() == theirs.keys()
        assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    norms = [part for part in objective.encoder.modules() if isinstance(part, BatchNorm)]
    assert bool(norms) == (kind in ("byol resnet", "regnet_y"))
    assert all(part.running_mean.any() for part in norms)  # the control: there is something to learn twice


def test_statistics_learnt_twice_would_differ(monkeypatch):
    objective = objective_of("byol resnet")
    other = copy.deepcopy(objective)
    recompute(other)
    monkeypatch.setattr("mmssl.models.normalization.is_again", lambda: False)
    expected, found = step(objective, "byol")[2], step(other, "byol")[2]
    assert any(not torch.equal(found[name], expected[name]) for name in found if "running_mean" in name)


@pytest.mark.parametrize("kind, per_view", [("byol resnet", 2), ("simclr vit", 1), ("bert", 1), ("regnet_y", 3)])
def test_each_layer_is_computed_twice(kind, per_view, monkeypatch):
    objective, calls = objective_of(kind), []
    recompute(objective)
    for part in objective.modules():
        if hasattr(part, "gradient_checkpointing"):
            part._gradient_checkpointing_func = lambda *inputs: (calls.append(1), checkpointed(*inputs))[1]
    method = {"regnet_y": "simclr"}.get(kind, kind.split()[0])
    torch.stack([*objective.train()(tiny_batch(method)).terms.values()]).sum().backward()
    assert len(calls) == per_view
    calls.clear()
    with torch.no_grad():
        objective(tiny_batch(method))
    objective.eval()(tiny_batch(method))
    assert not calls  # nobody needs a backward, or the encoder is not in training


@pytest.mark.parametrize("kind", ["byol resnet", "mae vit", "regnet_y"])
def test_less_is_kept_for_the_backward(kind):
    method = {"regnet_y": "simclr"}.get(kind, kind.split()[0])
    objective = objective_of(kind)
    before = kept_bytes(objective.train(), tiny_batch(method))
    recompute(objective)
    assert kept_bytes(objective, tiny_batch(method)) < 0.7 * before


def test_an_encoder_without_such_layers_is_refused():
    with pytest.raises(ConfigError, match=r"train\.activation_checkpointing true: .* expected false"):
        recompute(nn.Linear(2, 2))


def test_batch_norm_does_not_learn_while_it_is_computed_again():
    norm = BatchNorm(3)
    x = torch.randn(5, 3, requires_grad=True)
    checkpointed(norm, x).square().sum().backward()
    assert int(norm.num_batches_tracked) == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * x.detach().mean(0))
    assert x.grad is not None


def test_the_switch_is_not_shared_by_encoders():
    objective = objective_of("byol resnet")
    recompute(objective)
    other = objective_of("byol resnet").encoder
    assert isinstance(other, ConvolutionalEncoder)
    assert not other.gradient_checkpointing
