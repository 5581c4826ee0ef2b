"""Claims about batch normalisation: on one process it is the stock one, statistics and weights included."""

import pytest
import torch
from torch import nn

from mmssl.models.normalization import BatchNorm, use_batch_norm
from mmssl.models.projector import perceptron

SHAPES = {"1d": (6, 5), "2d": (6, 5, 3, 4)}


def pair(kind: str, affine: bool = True) -> tuple[BatchNorm, nn.Module]:
    """Ours and the stock one, with the same weights."""
    stock = nn.BatchNorm1d(5, affine=affine) if kind == "1d" else nn.BatchNorm2d(5, affine=affine)
    ours = BatchNorm(5, affine=affine)
    if affine:
        with torch.no_grad():
            stock.weight.uniform_(0.5, 2)
            stock.bias.uniform_(-1, 1)
    ours.load_state_dict(stock.state_dict())
    return ours, stock


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", SHAPES)
def test_on_one_process_it_is_the_stock_one(kind, affine):
    torch.manual_seed(0)
    ours, stock = pair(kind, affine)
    for _ in range(3):
        x = 3 + 2 * torch.randn(SHAPES[kind])
        first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, expected = ours(first), stock(second)
        torch.testing.assert_close(found, expected)
        (found**3).sum().backward()
        (expected**3).sum().backward()
        torch.testing.assert_close(first.grad, second.grad)
    # the running statistics and the count of batches, too
    state, other = ours.state_dict(), stock.state_dict()
    assert state.keys() == other.keys()
    for name, value in other.items():
        torch.testing.assert_close(state[name], value)
    assert int(state["num_batches_tracked"]) == 3
    torch.testing.assert_close(ours.eval()(x), stock.eval()(x))
    assert not torch.allclose(ours(x), ours.train()(x))  # the control: in training the batch itself is the measure


@pytest.mark.parametrize("kind", SHAPES)
def test_the_formula_for_several_processes_is_that_for_one(kind, monkeypatch):
    torch.manual_seed(0)
    ours, stock = pair(kind)
    # two processes that hold the same samples: averages are their own, and the count of samples is twice as high
    monkeypatch.setattr("mmssl.models.normalization.processes", lambda: 2)
    x = 100 + torch.randn(SHAPES[kind])  # far from 0: E[x^2] - E[x]^2 would lose what varies
    torch.testing.assert_close(ours(x), stock(torch.cat([x, x]))[:6], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.running_mean, stock.running_mean)
    torch.testing.assert_close(ours.running_var, stock.running_var, rtol=1e-4, atol=1e-5)


def convolutional() -> nn.Module:
    """A model with two stock layers, the same at each call."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.BatchNorm2d(5))
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, eps=1e-3, momentum=0.3), inner)


def test_every_stock_layer_of_a_model_is_replaced_and_the_model_stays_the_same():
    model, other = convolutional(), convolutional()
    x = torch.randn(4, 3, 6, 6)
    names = list(model.state_dict())
    expected = [model(x), model(x), model.eval()(x)]
    use_batch_norm(other)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in other.modules())
    assert sum(isinstance(part, BatchNorm) for part in other.modules()) == 2
    assert list(other.state_dict()) == names
    for found, wanted in zip([other(x), other(x), other.eval()(x)], expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_perceptron_normalises_between_its_layers():
    torch.manual_seed(0)
    projector = perceptron(6, 8, 4, last_norm=True)
    kinds = [type(part).__name__ for part in projector]
    assert kinds == ["Linear", "BatchNorm", "ReLU", "Linear", "BatchNorm"]
    assert [part.bias is None for part in projector if isinstance(part, nn.Linear)] == [True, True]
    assert projector[-1].weight is None
    value = projector(torch.randn(50, 6))
    torch.testing.assert_close(value.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(value.std(0, correction=0), torch.ones(4), atol=1e-3, rtol=0)
    plain = perceptron(6, 8, 4)
    assert [type(part).__name__ for part in plain] == ["Linear", "BatchNorm", "ReLU", "Linear"]
    assert plain[-1].bias is not None
