"""The contrast of hidden frames: its value by hand, who counts as a distractor, and how they are drawn."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from mmssl.losses.frame_contrast import distractors, frame_contrast
from mmssl.random import Draw

TEMPERATURE = 0.1


def draw(count: int) -> Draw:
    """Draws of some samples."""
    return Draw(3, torch.full((count,), 2), torch.arange(count))


def case() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Predictions, answers, codes that all differ, others and valid places: 4 and 3 of two sounds."""
    generator = torch.Generator().manual_seed(0)
    prediction, answer = (torch.randn(2, 4, 6, generator=generator) for _ in range(2))
    valid = torch.tensor([[True] * 4, [True] * 3 + [False]])
    code = torch.arange(8).reshape(2, 4, 1)
    return prediction, answer, code, distractors(draw(2), valid, 5), valid


def expected(prediction: Tensor, answer: Tensor, others: Tensor, valid: Tensor) -> Tensor:
    """The same place by place, as eq. 3 reads."""
    losses = []
    for row in range(2):
        found = []
        for place in range(int(valid[row].sum())):
            candidates = torch.stack([answer[row, place], *answer[row, others[row, place]]])
            logits = cosine_similarity(prediction[row, place], candidates, dim=-1) / TEMPERATURE
            found.append(cross_entropy(logits, torch.tensor(0)))
        losses.append(torch.stack(found).mean())
    return torch.stack(losses)


def test_the_contrast_is_the_cross_entropy_of_the_own_answer_among_the_distractors():
    prediction, answer, code, others, valid = case()
    found = frame_contrast(prediction, answer, code, others, valid, TEMPERATURE)
    torch.testing.assert_close(found, expected(prediction, answer, others, valid))
    # the control: the answers of another sound are told less well
    assert not torch.allclose(found, frame_contrast(prediction, answer.flip(0), code, others, valid, TEMPERATURE))


def test_the_contrast_of_a_prediction_that_is_its_answer_is_small_by_hand():
    answer = torch.eye(3)[None]
    others = torch.tensor([[[1], [2], [0]]])
    found = frame_contrast(answer, answer, torch.arange(3)[None, :, None], others, torch.ones(1, 3).bool(), 1.0)
    assert float(found) == pytest.approx(torch.tensor(1 + torch.e**-1).log().item(), abs=1e-6)


def test_others_of_the_same_codes_are_no_distractors():
    prediction, answer, code, others, valid = case()
    alike = torch.zeros_like(code)
    assert torch.equal(frame_contrast(prediction, answer, alike, others, valid, TEMPERATURE), torch.zeros(2))
    # codes of two books are the same where both are
    books = torch.cat([alike, code], -1)
    found = frame_contrast(prediction, answer, books, others, valid, TEMPERATURE)
    torch.testing.assert_close(found, expected(prediction, answer, others, valid))


@pytest.mark.parametrize("count", [0, 1])
def test_a_sound_with_one_hidden_frame_or_none_has_no_contrast_and_no_nan(count):
    prediction, answer, code, _, _ = case()
    valid = torch.arange(4).expand(2, 4) < count
    prediction.requires_grad_()
    found = frame_contrast(prediction, answer, code, distractors(draw(2), valid, 5), valid, TEMPERATURE)
    assert torch.equal(found.detach(), torch.zeros(2))
    found.sum().backward()
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_distractors_are_other_hidden_frames_of_the_same_sound_each_as_likely():
    valid = torch.tensor([[True] * 4 + [False] * 2]).expand(500, 6)
    found = distractors(draw(500), valid, 40)
    for place in range(4):
        share = found[:, place].flatten().bincount(minlength=6) / (500 * 40)
        assert share[place] == 0
        assert share[4:].sum() == 0
        others = [other for other in range(4) if other != place]
        torch.testing.assert_close(share[others], torch.full((3,), 1 / 3), atol=0.01, rtol=0)
    assert torch.equal(distractors(draw(3), valid[:3], 40), found[:3])
