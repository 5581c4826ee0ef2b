"""Claims about points of several segments: what lasts is compared time by time, anything else by the mean."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

from mmssl.energy import cosine
from mmssl.losses.contrastive import CrossModal
from mmssl.losses.segments import WHOLE, Segments
from mmssl.losses.views import Views

NAMES = ("text", "audio", "video")
SEGMENTS = Segments(2, ("video", "audio"))
# two segments of two numbers each, side by side: the same things said in another order
FIRST, SWAPPED = torch.tensor([[1.0, 0.0, 0.0, 1.0]]), torch.tensor([[0.0, 1.0, 1.0, 0.0]])


def test_only_two_that_last_are_compared_time_by_time():
    whole = SEGMENTS.compared("video", "audio", FIRST, SWAPPED)
    assert float(cosine_similarity(*whole)) == 0.0
    still = SEGMENTS.compared("text", "audio", FIRST, SWAPPED)
    assert [point.tolist() for point in still] == [[[0.5, 0.5]], [[0.5, 0.5]]]
    assert float(cosine_similarity(*still)) == pytest.approx(1.0)
    assert all(torch.equal(a, b) for a, b in zip(WHOLE.compared("text", "audio", FIRST, SWAPPED), (FIRST, SWAPPED)))


def test_a_segment_that_says_nothing_can_be_short():
    quiet = torch.tensor([[1.0, 0.0, 0.01, 0.0]])
    other = torch.tensor([[1.0, 0.0, 0.0, 0.01]])  # at right angles in the second segment
    assert float(cosine_similarity(*SEGMENTS.compared("video", "audio", quiet, other))) > 0.999


def test_the_terms_of_each_pair_are_clips_on_what_is_compared():
    value = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    both = Views(value, torch.ones(3, 6, dtype=torch.bool), (0, 1, 2))
    terms = CrossModal(0.5, NAMES, segments=SEGMENTS)(both, both, torch.arange(6))
    for (a, b), is_whole in (((0, 1), False), ((0, 2), False), ((1, 2), True)):
        one, other = (point if is_whole else point.unflatten(1, (2, 2)).mean(1) for point in (value[a], value[b]))
        logits = normalize(one, dim=1) @ normalize(other, dim=1).T / 0.5
        expected = (cross_entropy(logits, torch.arange(6)) + cross_entropy(logits.T, torch.arange(6))) / 2
        torch.testing.assert_close(terms[f"{NAMES[a]}_{NAMES[b]}"], expected / 3)
    plain = CrossModal(0.5, NAMES)(both, both, torch.arange(6))
    assert torch.equal(terms["audio_video"], plain["audio_video"])
    assert abs(float(terms["text_audio"] - plain["text_audio"])) > 1e-3  # the control


def test_energies_of_many_are_those_of_each_pair():
    value = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    found = SEGMENTS.energies(cosine, NAMES, NAMES, value, value)
    assert found.shape == (3, 3, 5)
    for row, x in enumerate(NAMES):
        for column, y in enumerate(NAMES):
            expected = cosine(*SEGMENTS.compared(x, y, value[row], value[column]))
            torch.testing.assert_close(found[row, column], expected)
    assert not torch.allclose(found[0, 1], cosine(value[0], value[1]))  # the control


def test_there_may_be_other_numbers_of_x_and_of_y():
    few, many = SEGMENTS.compared("text", "audio", FIRST.expand(2, 4), SWAPPED.expand(7, 4))
    assert (few.shape, many.shape) == ((2, 2), (7, 2))
