"""Spans of frames that are hidden: as many, as long and where they may lie."""

import pytest
import torch

from mmssl.errors import ConfigError
from mmssl.random import Draw
from mmssl.spans import drop_spans, hide_spans
from mmssl.tokens import Place, Tokens

FRAMES = 49


def draw(count: int, first: int = 0) -> Draw:
    """Draws of some samples."""
    return Draw(3, torch.full((count,), 2), first + torch.arange(count))


def frames(count: int, length: int = FRAMES) -> Tokens:
    """Frames that hold their number + 1."""
    position = torch.arange(length).expand(count, length)
    return Tokens((position + 1.0)[..., None], Place(position, torch.zeros_like(position), (length,)))


def hidden_frames(hidden: Place, length: int = FRAMES) -> torch.Tensor:
    """Which frames are hidden of each sample."""
    found = torch.zeros(len(hidden.position), length + 1, dtype=torch.bool)
    return found.scatter(1, torch.where(hidden.valid, hidden.position, length), True)[:, :length]


def runs(mask: torch.Tensor) -> list[int]:
    """The lengths of the runs of hidden frames of a sample."""
    text = "".join("x" if one else " " for one in mask.tolist())
    return [len(part) for part in text.split()]


def test_hidden_spans_are_whole_and_start_as_often_as_asked():
    count = 4000
    _, hidden = hide_spans(0.065, 10)(frames(count), draw(count))
    masks = hidden_frames(hidden)
    assert min(min(runs(mask)) for mask in masks) == 10
    # 0.065 * 49 = 3.185 starts among 40 places, without replacement: the mean share that is hidden, by counting
    expected = 0.0
    for number, chance in ((3, 0.815), (4, 0.185)):
        for frame in range(FRAMES):
            covering = min(frame, 39) - max(0, frame - 9) + 1
            missed = 1.0
            for taken in range(number):
                missed *= (40 - covering - taken) / (40 - taken)
            expected += chance * (1 - missed) / FRAMES
    assert masks.float().mean().item() == pytest.approx(expected, abs=0.005)
    assert masks.sum(1).max() == 40  # four that do not overlap


def test_hidden_frames_are_zero_and_padding_and_all_others_stay():
    tokens = frames(20)
    seen, hidden = hide_spans(0.065, 10)(tokens, draw(20))
    mask = hidden_frames(hidden)
    assert torch.equal(seen.value[..., 0], torch.where(mask, 0.0, tokens.value[..., 0]))
    assert torch.equal(seen.place.valid, ~mask)
    # what is real comes first, in rising order
    assert (hidden.valid.int().diff(dim=1) <= 0).all()
    for row, valid in zip(hidden.position, hidden.valid, strict=True):
        assert (row[valid].diff() > 0).all()
        assert (row[~valid] == 0).all()


@pytest.mark.parametrize("corrupt", [hide_spans(0.065, 10), drop_spans(0.5, 5)])
def test_spans_belong_to_the_sample(corrupt):
    whole, part = corrupt(frames(8), draw(8))[1], corrupt(frames(3), draw(3, first=5))[1]
    assert torch.equal(whole.position[5:], part.position)
    assert not torch.equal(whole.position[0], whole.position[1])


def test_a_sound_without_frames_hides_none_that_count():
    tokens = frames(2)
    absent = tokens._replace(place=tokens.place._replace(document=torch.full((2, FRAMES), -1)))
    seen, hidden = hide_spans(0.065, 10)(absent, draw(2))
    assert not seen.place.valid.any()
    assert not hidden.valid.any()


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8])
def test_dropped_spans_have_an_exact_size_and_mostly_their_length(ratio):
    count = 500
    seen, hidden = drop_spans(ratio, 5)(frames(count), draw(count))
    assert hidden.position.shape == (count, round(ratio * FRAMES))
    assert seen.value.shape[1] == FRAMES - round(ratio * FRAMES)
    both = torch.cat([hidden.position, seen.place.position], 1).sort(1).values
    assert torch.equal(both, torch.arange(FRAMES).expand(count, FRAMES))
    lengths = [length for mask in hidden_frames(hidden) for length in runs(mask)]
    assert sum(length >= 5 for length in lengths) > 0.7 * len(lengths)  # one span a sample is cut


@pytest.mark.parametrize("corrupt", [hide_spans(0.065, 10), drop_spans(0.5, 10)])
def test_spans_longer_than_a_sample_are_refused(corrupt):
    with pytest.raises(ConfigError, match=r"method\.span_frames 10: a sample has 10 frames; expected less"):
        corrupt(frames(1, 10), draw(1))
