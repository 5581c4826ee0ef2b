"""Claims about frames that are painted by moving what was seen: a loop over pixels says the same."""

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import one_hot

from mmssl.drop import NearestFrame, SeenMotion, keep_times
from mmssl.modalities.grids import Grid
from mmssl.models.moved_frames import STAYS, MovedFrames
from mmssl.objectives.latent_stream import as_it_is
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

CHANNELS, FRAMES, HEIGHT, WIDTH = 2, 8, 4, 9
PATCH = (2, 2, 3)
COPIES, REACH, COUNT = 2, 3, 2
CUT = Grid("video", (FRAMES, HEIGHT, WIDTH), CHANNELS).cut(PATCH)


def parted(times: list[int]) -> tuple[Tensor, Tokens, Place]:
    """Clips, and their patches of which these times are seen."""
    clip = torch.randn(COUNT, FRAMES, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    seen, hidden = keep_times(times)(CUT.tokenize([clip]), Draw(0, torch.zeros(COUNT).long(), torch.arange(COUNT)))
    return clip, seen, hidden


def painter(seen: int, unit=as_it_is) -> MovedFrames:
    """That of two copies which are moved by up to three pixels."""
    return MovedFrames(CHANNELS, PATCH, seen, COPIES, REACH, NearestFrame(CHANNELS, PATCH[0]), unit)


def pictures(patches: Tensor) -> Tensor:
    """The frames that patches of whole frames consist of: sample, frame, channel, row, column."""
    axes = {"c": CHANNELS, "p": PATCH[0], "h": PATCH[1], "w": PATCH[2], "y": HEIGHT // PATCH[1], "x": WIDTH // PATCH[2]}
    return rearrange(patches, "b (t y x) (c p h w) -> b (t p) c (y h) (x w)", **axes)


@pytest.mark.parametrize(
    "times, nearest", [([0, 1], [3] * 4), ([2, 3], [4] * 4), ([0, 3], [1, 1, 6, 6]), ([1], [2, 2, 3, 3, 3, 3])]
)
def test_each_pixel_mixes_seen_frames_and_moved_ones(times, nearest):
    clip, seen, hidden = parted(times)
    shown = clip[:, [2 * time + part for time in times for part in (0, 1)]]
    paint = painter(shown.shape[1])
    said = torch.randn(COUNT, hidden.position.shape[1], sum(paint.widths), generator=torch.Generator().manual_seed(1))
    found = pictures(paint(said, seen, hidden) + paint.nearest(seen, hidden))

    painted, score, move = said.split(paint.widths, -1)
    painted, columns = pictures(painted), WIDTH // PATCH[2]
    score = rearrange(score, "b m (s p h w) -> b m s p h w", p=PATCH[0], h=PATCH[1], w=PATCH[2])
    move = rearrange(move, "b m (p s two r) -> b m p s two r", p=PATCH[0], s=COPIES, two=2)
    numbers = [2 * time + part for time in times for part in (0, 1)]
    for sample in range(COUNT):
        for frame, number in enumerate(nearest):
            last, time, part = clip[sample, number], frame // PATCH[0], frame % PATCH[0]
            for row in range(HEIGHT):
                for column in range(WIDTH):
                    cell = (time * (HEIGHT // PATCH[1]) + row // PATCH[1]) * columns + column // PATCH[2]
                    scores = score[sample, cell, :, part, row % PATCH[1], column % PATCH[2]].clone()
                    scores[numbers.index(number)] += STAYS
                    sources = [picture[:, row, column] for picture in shown[sample]]
                    for copy in range(COPIES):
                        up, left = move[sample, cell, part, copy].softmax(-1)
                        sources.append(moved(last, row, column, up, left))
                    mixed = sum(share * source for share, source in zip(scores.softmax(0), sources, strict=True))
                    expected = mixed + painted[sample, frame, :, row, column]
                    torch.testing.assert_close(found[sample, frame, :, row, column], expected, atol=1e-5, rtol=1e-5)


def moved(picture: Tensor, row: int, column: int, up: Tensor, left: Tensor) -> Tensor:
    """What comes to a pixel, of all that can, each as often as it says; beyond an edge lies what lies on it."""
    found = torch.zeros(CHANNELS)
    for i in range(2 * REACH + 1):
        for j in range(2 * REACH + 1):
            y, x = min(max(row + i - REACH, 0), HEIGHT - 1), min(max(column + j - REACH, 0), WIDTH - 1)
            found += up[i] * left[j] * picture[:, y, x]
    return found


def certain(paint: MovedFrames, hidden: Place, source: int, move: tuple[int, int]) -> Tensor:
    """What is said for each pixel to come from one source, each copy moved by so many rows and columns."""
    shape = hidden.position.shape
    score = one_hot(torch.tensor(source), paint.seen + COPIES) * 1e4
    score = score[:, None].expand(*shape, -1, PATCH[0] * PATCH[1] * PATCH[2]).flatten(2)
    moves = one_hot(torch.tensor(move) + REACH, 2 * REACH + 1) * 1e4
    moves = moves.flatten().repeat(PATCH[0] * COPIES).expand(*shape, -1)
    return torch.cat([torch.zeros(*shape, paint.widths[0]), score, moves], -1)


@pytest.mark.parametrize("move", [(0, 0), (2, -3), (-3, 1)])
def test_what_is_moved_by_whole_pixels_stays_what_it_was(move):
    clip, seen, hidden = parted([0, 1])
    paint = painter(4)
    with torch.autocast("cpu", torch.bfloat16):
        found = pictures(paint(certain(paint, hidden, 4, move), seen, hidden) + paint.nearest(seen, hidden))
    y = (torch.arange(HEIGHT) + move[0]).clamp(0, HEIGHT - 1)
    x = (torch.arange(WIDTH) + move[1]).clamp(0, WIDTH - 1)
    torch.testing.assert_close(found[:, 2], clip[:, 3][:, :, y][..., x], atol=1e-6, rtol=1e-6)


def test_a_seen_frame_can_be_shown_once_more():
    clip, seen, hidden = parted([0, 1])
    paint = painter(4)
    found = pictures(paint(certain(paint, hidden, 1, (2, 2)), seen, hidden) + paint.nearest(seen, hidden))
    torch.testing.assert_close(found, clip[:, [1] * 4], atol=1e-6, rtol=1e-6)


def test_what_is_painted_is_told_in_the_unit_and_what_is_moved_is_not():
    _, seen, hidden = parted([0, 1])
    unit = SeenMotion(CHANNELS, PATCH[0])
    plain, scaled = painter(4), painter(4, unit)
    said = torch.randn(COUNT, hidden.position.shape[1], sum(plain.widths), generator=torch.Generator().manual_seed(1))
    painted = said[..., : plain.widths[0]]
    expected = (plain(said, seen, hidden) - painted) / unit(seen, hidden) + painted
    torch.testing.assert_close(scaled(said, seen, hidden), expected)
    assert not torch.allclose(expected, plain(said, seen, hidden), atol=0.1)  # the control
