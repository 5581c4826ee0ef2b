"""Claims about DINO's head: it equals lightly's, its logits are cosines, and copies and checkpoints of it work."""

import copy

import pytest
import torch
from lightly.models.modules.heads import DINOProjectionHead
from torch import nn

from mmssl.models.projector import UnitLinear, distillation_head
from mmssl.models.target import Copy

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


def head() -> nn.Sequential:
    """A small one."""
    torch.manual_seed(0)
    return distillation_head(8, 16, 16, bottleneck=4, out=7)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_the_head_equals_lightlys():
    ours, theirs = head(), DINOProjectionHead(8, 16, 4, 7)
    direction = theirs.get_parameter("last_layer.weight_v")
    *hidden, last = (layer for layer in ours if isinstance(layer, nn.Linear | UnitLinear))
    their_hidden = [layer for layer in theirs.layers if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for mine, other in zip(hidden, their_hidden, strict=True):
            other.load_state_dict(mine.state_dict())
        direction.copy_(3 * last.weight)  # of any length
    found, expected = ours(X), theirs(X)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(hidden[0].weight.grad, their_hidden[0].weight.grad, atol=1e-5, rtol=1e-5)
    assert direction.grad is not None
    torch.testing.assert_close(last.weight.grad, 3 * direction.grad, atol=1e-5, rtol=1e-5)


def test_logits_are_cosines_whatever_the_length_of_the_weights():
    ours = head()
    before = ours(X)
    assert before.abs().max() <= 1
    with torch.no_grad():
        ours.get_parameter("6.weight").mul_(5)
        torch.testing.assert_close(ours(X), before)
        ours.get_parameter("0.weight").mul_(5)
        assert not torch.allclose(ours(X), before, atol=1e-3)  # the control
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in ours)


def test_a_teacher_copies_and_follows_the_head():
    student = head()
    teacher = Copy(student, momentum=0.0)
    torch.testing.assert_close(teacher.module(X), student(X))
    with torch.no_grad():
        last = student.get_parameter("6.weight")
        last.copy_(last.flip(0))
    assert not torch.allclose(teacher.module(X), student(X))
    teacher.follow(student, 0.0)
    torch.testing.assert_close(teacher.module(X), student(X))
    assert not teacher.module(X).requires_grad
    restored = distillation_head(8, 16, 16, bottleneck=4, out=7)
    restored.load_state_dict(copy.deepcopy(student.state_dict()))
    assert torch.equal(restored(X), student(X))
