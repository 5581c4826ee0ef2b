"""Claims about self-distillation: it equals lightly's DINO, and without a centre one class for all samples is free."""

import copy
import math

import pytest
import torch
from lightly.loss import DINOLoss
from torch import Tensor
from torch.nn.functional import one_hot

from mmssl.losses.distillation import SelfDistillation
from mmssl.losses.views import Views
from mmssl.objectives.joint_embedding import between

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = 0.3 * torch.randn(4, 6, 5, generator=GENERATOR)  # two global views, two local ones
TEACHER = 0.3 * torch.randn(2, 6, 5, generator=GENERATOR)


def views(value: Tensor, present: Tensor | None = None) -> Views:
    """Of samples that have all of them unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    return Views(value, here, tuple(range(len(value))))


def loss_of(criterion: SelfDistillation, student: Tensor, teacher: Tensor, present: Tensor | None = None) -> Tensor:
    """The loss of logits."""
    queries = views(student, present)
    keys = views(teacher, None if present is None else present[: len(teacher)])
    return criterion(queries, keys, torch.arange(student.shape[1]))["distillation"]


@pytest.mark.parametrize("num_views", [2, 4])
@pytest.mark.parametrize("momentum", [0.9, 0.5])
def test_the_loss_its_gradient_and_the_centre_equal_lightlys(num_views, momentum):
    ours, theirs = SelfDistillation(5, centre_momentum=momentum), DINOLoss(5, center_momentum=momentum)
    for step in range(3):
        student, theirs_student = ((step + 1) * STUDENT[:num_views].clone().requires_grad_() for _ in range(2))
        student.retain_grad()
        theirs_student.retain_grad()
        found = loss_of(ours, student, TEACHER + step)
        expected = theirs([*(TEACHER + step)], [*theirs_student])
        found.backward()
        expected.backward()
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(student.grad, theirs_student.grad, atol=1e-5, rtol=1e-5)
        ours.settle(step / 3)
        torch.testing.assert_close(ours.centre, theirs.center[0, 0], atol=1e-5, rtol=1e-5)
    # the controls: the centre matters, and so does whose view it is
    assert abs(loss_of(SelfDistillation(5), student, TEACHER + 2) - expected).item() > 1e-3
    assert abs(loss_of(ours, student.flip(1), TEACHER + 2) - expected).item() > 1e-3


def test_the_loss_worked_by_hand():
    # one sample of two views: the teacher says 3/4 and 1/4, the student 1/2 and 1/2 of one and 9/10 and 1/10 of the
    # other
    teacher = 0.04 * torch.tensor([[[3.0, 1.0]], [[3.0, 1.0]]]).log()
    student = 0.1 * torch.tensor([[[1.0, 1.0]], [[9.0, 1.0]]]).log()
    expected = [math.log(2), -0.75 * math.log(0.9) - 0.25 * math.log(0.1)]
    assert loss_of(SelfDistillation(2), student, teacher).item() == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_micro_batches_of_a_step_make_one_centre():
    whole, parts = SelfDistillation(5), SelfDistillation(5)
    loss_of(whole, STUDENT, TEACHER)
    loss_of(parts, STUDENT[:, :3], TEACHER[:, :3])
    assert not parts.centre.any()  # a forward only notes
    loss_of(parts, STUDENT[:, 3:], TEACHER[:, 3:])
    for criterion in (whole, parts):
        criterion.settle(0.5)
    torch.testing.assert_close(parts.centre, whole.centre)
    torch.testing.assert_close(whole.centre, 0.1 * TEACHER.mean((0, 1)))
    before = whole.centre.clone()
    whole.settle(0.6)
    assert torch.equal(whole.centre, before)  # nothing came: nothing moves


def settled(criterion: SelfDistillation, teacher: Tensor) -> SelfDistillation:
    """After many steps with the same keys."""
    for _ in range(20):
        loss_of(criterion, teacher, teacher)
        criterion.settle(0.5)
    return criterion


def test_one_class_for_all_is_free_only_without_a_centre():
    constant = one_hot(torch.zeros(2, 6, dtype=torch.int64), 5).float()
    assert loss_of(settled(SelfDistillation(5, centred=False), constant), constant, constant).item() < 1e-3
    centred = settled(SelfDistillation(5, centre_momentum=0.5), constant)
    torch.testing.assert_close(centred.centre, constant[0, 0], atol=1e-4, rtol=0)
    assert loss_of(centred, constant, constant).item() > 5
    # a student that says nothing of any sample costs chance; samples told apart cost little
    assert loss_of(centred, torch.zeros(2, 6, 5), constant).item() == pytest.approx(math.log(5), rel=1e-4)
    apart = torch.eye(5).expand(2, 5, 5)
    assert loss_of(settled(SelfDistillation(5, centre_momentum=0.5), apart), apart, apart).item() < 1e-3


def test_the_teacher_gets_no_gradient():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    loss_of(SelfDistillation(5), student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.any()


def test_the_teachers_temperature_warms_up_in_a_straight_line():
    criterion = SelfDistillation(
        5, teacher_temperature=0.07, warmup_teacher_temperature=0.04, warmup_ratio=0.3, centred=False
    )
    theirs = DINOLoss(5)
    for progress, expected in ((0.0, 0.04), (0.1, 0.05), (0.2, 0.06), (0.3, 0.07), (1.0, 0.07)):
        criterion.settle(progress)
        theirs.center.zero_()
        found = loss_of(criterion, STUDENT, TEACHER)
        torch.testing.assert_close(found, theirs([*TEACHER], [*STUDENT], expected), atol=1e-5, rtol=1e-5)


def test_the_energy_of_a_pair_is_its_loss():
    criterion = settled(SelfDistillation(5, teacher_temperature=0.06, warmup_teacher_temperature=0.06), TEACHER)
    found = between(criterion.energy, STUDENT[0], TEACHER[1])
    for a in range(6):
        for b in range(6):
            teacher = ((TEACHER[1, b] - criterion.centre) / 0.06).softmax(0)
            expected = -(teacher * (STUDENT[0, a] / 0.1).log_softmax(0)).sum()
            torch.testing.assert_close(found[a, b], expected, atol=1e-5, rtol=1e-5)
    both = criterion.energy(STUDENT[0], TEACHER[1]).mean() + criterion.energy(STUDENT[1], TEACHER[0]).mean()
    torch.testing.assert_close(loss_of(criterion, STUDENT[:2], TEACHER), both / 2)


def test_autocast_coarsens_neither_loss_nor_energy():
    criterion = SelfDistillation(5)
    exact = loss_of(criterion, STUDENT, TEACHER)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.einsum("vbk,tbk->vtb", STUDENT, TEACHER).dtype == torch.bfloat16
        torch.testing.assert_close(loss_of(criterion, STUDENT, TEACHER), exact)


def test_what_is_absent_gets_no_gradient_and_does_not_move_the_centre():
    present = torch.ones(4, 6, dtype=torch.bool)
    present[0, 1] = present[2, 3] = present[0, 5] = present[1, 5] = False
    losses = []
    for filling in (0.0, 7.0):
        criterion = SelfDistillation(5)
        student = torch.where(present[..., None], STUDENT, filling).requires_grad_()
        teacher = torch.where(present[:2, :, None], TEACHER, filling)
        loss = loss_of(criterion, student, teacher, present)
        loss.backward()
        assert student.grad is not None
        assert not student.grad[~present].any()
        assert student.grad[1, 0].any()
        criterion.settle(0.5)
        torch.testing.assert_close(criterion.centre, 0.1 * TEACHER[present[:2]].mean(0))
        losses.append(loss.detach())
    assert torch.equal(losses[0], losses[1])
    before = criterion.centre.clone()
    loss_of(criterion, STUDENT, TEACHER, torch.zeros(4, 6, dtype=torch.bool))
    criterion.settle(0.6)
    assert torch.equal(criterion.centre, before)


def test_its_state_travels_and_looking_changes_nothing():
    criterion, restored = (SelfDistillation(5, warmup_teacher_temperature=0.02, warmup_ratio=0.5) for _ in range(2))
    loss_of(criterion, STUDENT, TEACHER)
    criterion.settle(0.2)
    assert not torch.equal(loss_of(restored, STUDENT, TEACHER), loss_of(criterion, STUDENT, TEACHER))
    restored.load_state_dict(copy.deepcopy(criterion.state_dict()))
    assert torch.equal(loss_of(restored, STUDENT, TEACHER), loss_of(criterion, STUDENT, TEACHER))
    criterion.newcomers.clear()
    before = copy.deepcopy(criterion.state_dict())
    criterion.eval()
    loss_of(criterion, STUDENT, TEACHER)
    criterion.settle(0.2)
    torch.testing.assert_close(criterion.state_dict(), before, atol=0, rtol=0)
    criterion.train()
    loss_of(criterion, STUDENT, TEACHER)
    criterion.settle(0.2)
    assert not torch.equal(criterion.centre, before["centre"])  # the control
