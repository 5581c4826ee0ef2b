"""Claims about optimizers: which weights decay, what LARS scales, and that their state can be put back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightly.utils.lars import LARS as LightlyLARS
from torch import nn

from mmssl.optimizer import LARS, optimizer, parameter_groups, set_state, state_of


class Tied(nn.Module):
    """Two layers that share their matrix, a norm and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


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


@pytest.mark.parametrize("name", ["adamw", "lars"])
def test_state_put_back_goes_on_as_if_never_stopped(name):
    def fresh():
        torch.manual_seed(0)
        model = Tied()
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
