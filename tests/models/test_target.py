"""Claims about targets: patches are normalised, teachers follow their student to the letter and get no gradient."""

import math

import pytest
import torch
from tiny import GRIDS, patterns, tiny_encoder
from torch import nn

from mmssl.errors import ConfigError
from mmssl.models.target import Copy, Data, NormalisedPatches, Teacher, normalised
from mmssl.tokens import Place, Tokens


def tokens() -> dict[str, Tokens]:
    """Two samples of three patches."""
    value = 3 + 2 * torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    position = torch.arange(3).expand(2, 3)
    return {"image": Tokens(value, Place(position, torch.zeros_like(position), (3,)))}


def test_data_is_its_own_target():
    given = tokens()
    assert Data()(given) is given
    value, place = given["image"].value, given["image"].place
    assert Data().shown(value, value, place) is value


def test_each_patch_is_normalised_by_its_own_mean_and_deviation():
    given = tokens()
    found = NormalisedPatches()(given)["image"]
    assert found.place is given["image"].place
    value = given["image"].value
    for row in range(2):
        for patch in range(3):
            one = value[row, patch]
            expected = (one - one.mean()) / ((one - one.mean()).square().sum() / 7 + 1e-6).sqrt()
            torch.testing.assert_close(found.value[row, patch], expected)


def test_a_perfect_prediction_is_shown_as_the_answer():
    target, answer = NormalisedPatches(), tokens()
    shown = target.shown(target(answer)["image"].value, answer["image"].value, answer["image"].place)
    torch.testing.assert_close(shown, answer["image"].value)


def test_a_patch_of_one_colour_is_zero_not_infinite():
    flat = {"image": tokens()["image"]._replace(value=torch.full((2, 3, 8), 3.0))}
    assert NormalisedPatches()(flat)["image"].value.abs().max() == 0
    assert normalised(flat["image"].value).abs().max() == 0


def test_patches_of_one_number_cannot_be_normalised():
    given = tokens()["image"]
    with pytest.raises(ConfigError, match=r"method\.normalise_patches: a patch of one number"):
        NormalisedPatches()({"image": given._replace(value=given.value[..., :1])})


def student_and_copy(momentum: float) -> tuple[nn.Linear, Copy, torch.Tensor]:
    """A student that moved on after it was copied, and what it was."""
    torch.manual_seed(0)
    student = nn.Linear(3, 2)
    made = Copy(student, momentum)
    before = student.weight.detach().clone()
    with torch.no_grad():
        student.weight.add_(1)
    return student, made, before


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 1.0])
def test_a_copy_follows_by_the_formula(progress):
    student, made, before = student_and_copy(0.9)
    made.follow(student, progress)
    momentum = 1 - 0.1 * (math.cos(math.pi * progress) + 1) / 2  # Grill et al. 2020, section 3.2
    expected = momentum * before + (1 - momentum) * student.weight.detach()
    torch.testing.assert_close(made.module.weight, expected)


def test_the_momentum_goes_from_its_start_to_one():
    moved = []
    for progress in (0.0, 0.5, 1.0):
        student, made, before = student_and_copy(0.9)
        made.follow(student, progress)
        moved.append(float((made.module.weight - before).abs().max()))
    assert moved[0] == pytest.approx(0.1, rel=1e-5)
    assert moved[1] == pytest.approx(0.05, rel=1e-5)
    assert moved[2] == 0  # at the end it stands still


def test_a_momentum_of_zero_copies_the_student_at_once():
    student, made, _ = student_and_copy(0.0)
    made.follow(student, 0.0)
    assert torch.equal(made.module.weight, student.weight)


def test_a_copy_shares_no_memory_with_its_student_and_is_not_trained():
    student, made, before = student_and_copy(0.9)
    assert torch.equal(made.module.weight, before)
    assert not any(weight.requires_grad for weight in made.parameters())
    assert all(weight.requires_grad for weight in student.parameters())


def teacher() -> tuple[nn.Module, Teacher, dict[str, Tokens]]:
    """Of pictures and sounds that see each other."""
    encoder = tiny_encoder({"video": GRIDS["video"], "audio": GRIDS["audio"]}, fused=True)
    given = {name: encoder.cuts[name].tokenize(patterns(name, 2, 1)) for name in ("video", "audio")}
    return encoder, Teacher(encoder, 0.99), given


def test_a_teacher_answers_the_normalised_embeddings_of_its_encoder():
    encoder, made, given = teacher()
    found = made(given)
    for name in given:
        expected = encoder({name: given[name]})[name].value
        torch.testing.assert_close(found[name].value, normalised(expected).detach())
        assert found[name].value.mean(-1).abs().max() < 1e-5


def test_no_gradient_reaches_a_teacher():
    _, made, given = teacher()
    value = given["video"].value.clone().requires_grad_()
    found = made({**given, "video": given["video"]._replace(value=value)})
    assert not any(part.value.requires_grad for part in found.values())


def test_a_teacher_cannot_read_one_modality_off_the_other():
    encoder, made, given = teacher()
    louder = {**given, "audio": given["audio"]._replace(value=given["audio"].value + 5)}
    assert torch.equal(made(given)["video"].value, made(louder)["video"].value)
    with torch.no_grad():  # the control: the student sees both at once
        assert not torch.equal(encoder(given)["video"].value, encoder(louder)["video"].value)
