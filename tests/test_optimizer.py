"""Claims about optimizers: which weights decay, what LARS scales, what Muon turns, and that state can be put back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightly.utils.lars import LARS as LightlyLARS
from tiny import tiny_objective
from torch import nn

from mmssl.errors import ConfigError
from mmssl.models.transformer import Layers
from mmssl.optimizer import LARS, Muon, optimizer, orthogonal, parameter_groups, set_state, state_of


class Tied(nn.Module):
    """Two layers that share their matrix, a norm and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


class Deep(nn.Module):
    """A layer of a transformer between a first and a last matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.layers = Layers(layers=1, width=8, heads=2, intermediate=16)
        self.last = nn.Linear(8, 4)


def settings(name: str) -> SimpleNamespace:
    """The part of a config that an optimizer reads."""
    return SimpleNamespace(optimizer=name, learning_rate=0.1, betas=(0.9, 0.98), epsilon=1e-6, weight_decay=0.1)


def test_matrices_decay_and_biases_and_norms_do_not():
    model = Tied()
    decayed, plain = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert [id(weight) for weight in decayed["params"]] == [id(model.first.weight)]
    expected = [model.first.bias, model.second.bias, model.norm.weight, model.norm.bias]
    assert [id(weight) for weight in plain["params"]] == [id(weight) for weight in expected]


def test_tied_weights_appear_once_and_frozen_ones_never():
    model = Tied()
    named = [id(weight) for group in parameter_groups(model, 0.1) for weight in group["params"]]
    assert len(named) == len(set(named))
    assert not {id(weight) for weight in model.frozen.parameters()} & set(named)
    twice = [id(weight) for layer in (model.first, model.second) for weight in layer.parameters()]
    assert len(twice) != len(set(twice))  # the control: read layer by layer, the tied one appears twice


@pytest.mark.parametrize("name", ["adamw", "lars"])
def test_without_a_gradient_direction_only_matrices_shrink(name):
    model = Tied()
    before = {key: weight.clone() for key, weight in model.named_parameters()}
    made = optimizer(model, settings(name))
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    made.step()
    after = dict(model.named_parameters())
    assert [key for key in before if not torch.equal(before[key], after[key])] == ["first.weight"]
    assert after["first.weight"].norm() < before["first.weight"].norm()


def test_adamw_takes_the_step_of_its_paper():
    weight = nn.Parameter(torch.tensor([[2.0]]))
    made = optimizer(nn.ParameterList([weight]), settings("adamw"))
    weight.grad = torch.tensor([[0.5]])
    made.step()
    # the first step is the sign of the gradient, after decay by learning rate * weight decay
    assert weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.1) - 0.1 * 0.5 / (0.5 + 1e-6))


def simclr_lars(weight, gradients, rate, momentum, decay, trust):
    """What SimCLR's published optimizer does, in numpy."""
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        update = gradient + decay * weight
        velocity = momentum * velocity + rate * trust * np.linalg.norm(weight) / np.linalg.norm(update) * update
        weight = weight - velocity
    return weight


def after_steps(make, weight: torch.Tensor, gradients: list[torch.Tensor]) -> torch.Tensor:
    """A weight after a step for each gradient."""
    parameter = nn.Parameter(weight.clone())
    made = make([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        made.step()
    return parameter.detach()


def ours(decay: float):
    """Our LARS with a trust that makes steps large enough to compare."""
    return lambda weights: LARS(weights, lr=0.5, momentum=0.9, weight_decay=decay, trust=0.02)


def test_lars_equals_simclrs_own():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, generator=generator)
    gradients = [torch.randn(5, 3, generator=generator) for _ in range(5)]
    found = after_steps(ours(0.3), weight, gradients)
    numbers = [gradient.double().numpy() for gradient in gradients]
    expected = simclr_lars(weight.double().numpy(), numbers, 0.5, 0.9, 0.3, 0.02)
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-6)
    other = simclr_lars(weight.double().numpy(), numbers, 0.5, 0.9, 0.2, 0.02)
    assert not np.allclose(found.numpy(), other, rtol=1e-5, atol=1e-6)  # the control: decay matters


def test_lars_equals_lightlys_where_the_two_formulas_meet():
    # lightly divides by |gradient| + decay * |weight|: the same for a vanishing decay, and without one
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(5, 3, generator=generator)
    gradients = [torch.randn(5, 3, generator=generator) for _ in range(5)]
    for decay in (1e-6, 0.0):
        expected = after_steps(
            lambda weights, decay=decay: LightlyLARS(
                weights, lr=0.5, momentum=0.9, weight_decay=decay, trust_coefficient=0.02
            ),
            weight,
            gradients,
        )
        torch.testing.assert_close(after_steps(ours(decay), weight, gradients), expected, rtol=1e-5, atol=1e-6)


def test_the_length_of_a_lars_step_follows_the_weight_and_not_the_gradient():
    weight, gradient = torch.full((2, 2), 3.0), torch.full((2, 2), 1.0)
    step = weight - after_steps(ours(1e-6), weight, [gradient])
    torch.testing.assert_close(weight - after_steps(ours(1e-6), weight, [1000 * gradient]), step)
    torch.testing.assert_close(step.norm(), 0.5 * 0.02 * weight.norm())
    plain = weight - after_steps(ours(0.0), weight, [gradient])
    torch.testing.assert_close(plain, 0.5 * gradient)  # biases and norms: plain momentum


def test_lars_moves_weights_that_are_zero_and_survives_gradients_that_are():
    assert after_steps(ours(0.1), torch.zeros(2, 2), [torch.ones(2, 2)]).tolist() == [[-0.5, -0.5], [-0.5, -0.5]]
    assert after_steps(ours(0.1), torch.zeros(2, 2), [torch.zeros(2, 2)]).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def turning(precision: torch.dtype = torch.float32, decay: float = 0.3):
    """Our Muon of matrices alone."""
    return lambda weights: Muon(
        [{"params": weights, "weight_decay": decay, "is_turned": True}], lr=0.05, precision=precision
    )


@pytest.mark.parametrize("shape", [(6, 6), (4, 10), (10, 4)])
def test_muon_equals_the_stock_one(shape):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator)
    gradients = [torch.randn(shape, generator=generator) for _ in range(4)]

    def stock(weights, adjust_lr_fn="match_rms_adamw"):
        return torch.optim.Muon(weights, lr=0.05, weight_decay=0.3, adjust_lr_fn=adjust_lr_fn)

    expected = after_steps(stock, weight, gradients)
    found = after_steps(turning(torch.bfloat16), weight, gradients)
    moved = (expected - weight).norm()
    assert (found - expected).norm() < 0.02 * moved  # both round to bfloat16, not at the same places
    assert (after_steps(turning(), weight, gradients) - expected).norm() < 0.04 * moved
    other = after_steps(lambda weights: stock(weights, "original"), weight, gradients)
    assert (found - other).norm() > 0.1 * moved  # the control: its other scale


def test_muon_moves_all_directions_alike():
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q for _ in range(2))
    gradient = left @ torch.diag(torch.logspace(0, -2, 8)) @ right.T  # the largest direction is 100 times the smallest
    values = torch.linalg.svdvals(after_steps(turning(decay=0.0), torch.zeros(8, 8), [gradient]))
    rms = 0.05 * 0.2 * 8**0.5 * values.new_tensor([0.5, 1.3])
    assert values.min() > rms[0]
    assert values.max() < rms[1]
    turned = left.T @ orthogonal(gradient[None])[0] @ right
    torch.testing.assert_close(turned, turned.diagonal().diag(), rtol=0, atol=1e-5)  # the same singular vectors
    assert torch.linalg.svdvals(gradient).max() > 50 * torch.linalg.svdvals(gradient).min()  # the control


def test_a_step_of_muon_is_as_large_as_said_whatever_the_shape_and_the_gradient():
    generator = torch.Generator().manual_seed(2)
    for shape in ((8, 8), (4, 16), (6, 2, 3, 3)):
        gradient = torch.randn(shape, generator=generator)
        step = after_steps(turning(decay=0.0), torch.zeros(shape), [gradient])
        assert 0.7 < float(step.square().mean().sqrt() / (0.05 * 0.2)) < 1.2
        torch.testing.assert_close(after_steps(turning(decay=0.0), torch.zeros(shape), [1000 * gradient]), step)


def test_muon_turns_the_matrices_of_layers_and_leaves_the_rest_to_adamw():
    torch.manual_seed(0)
    model, plain = Deep(), Deep()
    plain.load_state_dict(model.state_dict())
    made, adamw = optimizer(model, settings("muon")), optimizer(plain, settings("adamw"))
    for mine, other in zip(model.parameters(), plain.parameters()):
        mine.grad = torch.randn_like(mine)
        other.grad = mine.grad.clone()
    made.step()
    adamw.step()
    turned = {
        name
        for (name, mine), other in zip(model.named_parameters(), plain.parameters())
        if not torch.equal(mine, other)
    }
    assert turned == {name for name, weight in model.layers.named_parameters(prefix="layers") if weight.ndim > 1}
    assert len(turned) >= 5
    assert [group["is_turned"] for group in made.param_groups] == [True, False, False]  # all are still there


def test_muon_turns_the_kernels_of_convolutional_blocks():
    encoder = tiny_objective("simclr", encoder="resnet").encoder
    turned = optimizer(encoder, settings("muon")).param_groups[0]["params"]
    assert {weight.ndim for weight in turned} == {4}
    stem = {id(weight) for weight in encoder.parameters()} - {
        id(weight) for block in encoder.residual_blocks() for weight in block.parameters()
    }
    assert stem
    assert not stem & {id(weight) for weight in turned}


def test_muon_refuses_a_method_without_layers():
    with pytest.raises(ConfigError, match="muon: this method has no layers"):
        optimizer(Tied(), settings("muon"))


@pytest.mark.parametrize("name, kind", [("adamw", Tied), ("lars", Tied), ("muon", Deep)])
def test_state_put_back_goes_on_as_if_never_stopped(name, kind):
    def fresh():
        torch.manual_seed(0)
        model = kind()
        return model, optimizer(model, settings(name)), {id(w): key for key, w in model.named_parameters()}

    def step(model, made, number):
        torch.manual_seed(number)
        for weight in model.parameters():
            weight.grad = torch.randn_like(weight) if weight.requires_grad else None
        made.step()

    model, made, names = fresh()
    step(model, made, 1)
    tensors = {key: value.clone() for key, value in state_of(made, names).items()}
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    step(model, made, 2)

    again, made_again, names_again = fresh()
    again.load_state_dict(weights)
    forgetful, made_forgetful, _ = fresh()
    forgetful.load_state_dict(weights)
    set_state(made_again, names_again, tensors)
    step(again, made_again, 2)
    step(forgetful, made_forgetful, 2)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(model.first.weight, forgetful.first.weight)  # the control: without the state it differs
