"""Claims about what is dropped on a grid: exact counts, unbiased places, compact blocks, no look into the future."""

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad
from whole_grids import draws, whole

from mmssl.corruption import Corruption
from mmssl.drop import (
    NearestFrame,
    SeenMotion,
    bounded,
    drop_blocks,
    drop_random,
    drop_right,
    drop_squares,
    keep_times,
)
from mmssl.modalities.grids import Grid
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

RATIOS = (0.05, 0.3, 0.5, 0.75, 0.9)
SHARES = {"random": drop_random, "blocks": lambda ratio: drop_blocks(ratio, 0.175)}


def hidden_map(corrupt: Corruption, count: int, grid: tuple[int, ...], draw: Draw | None = None) -> Tensor:
    """(count, cells): True where hidden."""
    _, hidden = corrupt(whole(count, grid), draws(count) if draw is None else draw)
    mask = torch.zeros(count, prod(grid), dtype=torch.bool)
    return mask.scatter_(1, hidden.position, hidden.valid)


@pytest.mark.parametrize("kind", SHARES)
@given(st.integers(2, 7), st.integers(2, 7), st.sampled_from(RATIOS), st.integers(0, 3))
def test_every_sample_hides_the_same_rounded_share(kind, rows, columns, ratio, seed):
    mask = hidden_map(SHARES[kind](ratio), 5, (rows, columns), draws(5, seed))
    expected = min(max(round(ratio * rows * columns), 1), rows * columns - 1)
    assert mask.sum(1).tolist() == [expected] * 5


@pytest.mark.parametrize("grid", [(5, 6), (3, 4, 5)])
@pytest.mark.parametrize("kind", [*SHARES, "past"])
def test_seen_and_hidden_share_nothing_and_are_everything(kind, grid):
    corrupt = keep_times([0, 1]) if kind == "past" else SHARES[kind](0.4)
    tokens = whole(6, grid)
    seen, hidden = corrupt(tokens, draws(6))
    together = torch.cat([seen.place.position, hidden.position], 1)
    assert torch.equal(together.sort(1).values, tokens.place.position)
    # both in rising order, and what is seen is what lay there
    for place in (seen.place, hidden):
        assert (place.position.diff(dim=1) > 0).all()
        assert place.grid == grid
    assert torch.equal(seen.value[..., 0].long(), seen.place.position)


def test_at_least_one_token_is_hidden_and_one_is_seen():
    assert [bounded(ratio, 10) for ratio in (0.001, 0.24, 0.26, 0.5, 0.999)] == [1, 2, 3, 5, 9]


@pytest.mark.parametrize("kind", [*SHARES, "past"])
def test_padding_stays_padding(kind):
    corrupt = keep_times([0, 1]) if kind == "past" else SHARES[kind](0.4)
    tokens = whole(2, (5, 6))
    document = tokens.place.document.clone()
    document[1] = -1
    seen, hidden = corrupt(tokens._replace(place=tokens.place._replace(document=document)), draws(2))
    assert seen.place.valid.all(1).tolist() == hidden.valid.all(1).tolist() == [True, False]
    assert not hidden.valid[1].any()


def test_each_cell_is_hidden_about_equally_often():
    count = 4000
    often = hidden_map(drop_random(0.75), count, (4, 5)).float().mean(0)
    assert (often - 0.75).abs().max() < 4 * (0.75 * 0.25 / count) ** 0.5
    # pairs of cells, too: P(both) = (15 / 20) (14 / 19)
    mask = hidden_map(drop_random(0.75), count, (4, 5))
    both = (mask[:, :1] & mask[:, 1:]).float().mean(0)
    assert (both - 15 / 20 * 14 / 19).abs().max() < 4 * (0.5526 * 0.4474 / count) ** 0.5


def often_hidden(corrupt: Corruption, rows: int, columns: int, count: int = 4000) -> Tensor:
    """How often each cell is hidden."""
    return hidden_map(corrupt, count, (rows, columns)).float().mean(0).reshape(rows, columns)


@pytest.mark.parametrize("rows, columns, ratio", [(8, 8, 0.5), (6, 10, 0.4), (7, 7, 0.9)])
def test_blocks_prefer_no_side(rows, columns, ratio):
    often = often_hidden(drop_blocks(ratio, 0.175), rows, columns)
    noise = 4.5 * (2 * often * (1 - often) / 4000).clamp(min=1e-6).sqrt()  # of a difference of two cells
    for axes in ((0,), (1,), (0, 1)):
        assert ((often.flip(axes) - often).abs() < noise).all()
    assert often[rows // 2, columns // 2] > often[0, 0] + 0.05  # the control: a place that is more often hidden shows


def one_sided(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
    """Drop blocks, the last of which always loses its lower end."""
    never_turned = Draw.uniform
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Draw, "uniform", lambda self, name, *shape: never_turned(self, name, *shape) + (name == "block_side")
        )
        return drop_blocks(0.5, 0.4)(tokens, draw)


def test_a_last_block_that_always_loses_the_same_end_would_show():
    often = often_hidden(one_sided, 8, 8)
    noise = 4.5 * (2 * often * (1 - often) / 4000).sqrt()
    assert ((often.flip(0) - often).abs() > noise).any()


def neighbours(mask: Tensor, rows: int, columns: int) -> float:
    """The share of the sides of hidden cells that touch another hidden cell."""
    cells = mask.reshape(len(mask), rows, columns).float()
    around = pad(cells, (1, 1, 1, 1))
    touching = around[:, 2:, 1:-1] + around[:, :-2, 1:-1] + around[:, 1:-1, 2:] + around[:, 1:-1, :-2]
    return float((cells * touching).sum() / (4 * cells.sum()))


def test_blocks_are_compact():
    blocks = neighbours(hidden_map(drop_blocks(0.25, 0.25), 200, (12, 12)), 12, 12)
    scattered = neighbours(hidden_map(drop_random(0.25), 200, (12, 12)), 12, 12)
    assert scattered < 0.3  # the control: about the ratio itself
    assert blocks > 0.7  # one block of 6 x 6 has 120 of its 144 sides within


def test_one_block_is_a_rectangle_of_the_asked_shape():
    corrupt = drop_blocks(0.25, 0.25, aspect=(1.0, 1.0))
    for mask in hidden_map(corrupt, 50, (12, 12)).reshape(50, 12, 12):
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        assert (int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) == (5, 5)
    tall = hidden_map(drop_blocks(0.25, 0.25, aspect=(2.25, 2.25)), 50, (12, 12)).reshape(50, 12, 12)
    assert tall.any(2).sum(1).tolist() == [9] * 50
    assert tall.any(1).sum(1).tolist() == [4] * 50


@pytest.mark.parametrize("times", [1, 4])
def test_a_clip_hides_the_same_cells_at_all_times(times):
    mask = hidden_map(drop_blocks(0.5, 0.2), 20, (times, 5, 6)).reshape(20, times, 30)
    assert (mask == mask[:, :1]).all()
    assert mask.sum(2).unique().tolist() == [15]
    assert torch.equal(mask[:, 0], hidden_map(drop_blocks(0.5, 0.2), 20, (5, 6)))
    scattered = hidden_map(drop_random(0.5), 20, (4, 5, 6)).reshape(20, 4, 30)
    assert not (scattered == scattered[:, :1]).all()  # the control


@pytest.mark.parametrize("kind", SHARES)
def test_what_is_hidden_belongs_to_the_sample_not_to_its_batch(kind):
    corrupt, draw = SHARES[kind](0.5), draws(8)
    together = hidden_map(corrupt, 8, (5, 6), draw)
    index = torch.tensor([6, 1, 3])
    alone = hidden_map(corrupt, 3, (5, 6), Draw(0, torch.zeros(3, dtype=torch.long), index))
    assert torch.equal(alone, together[index])
    # the control: another sample, epoch or seed has another mask
    assert len({tuple(row.tolist()) for row in together}) == 8
    for other in (draws(8, epoch=1), draws(8, seed=1)):
        assert not torch.equal(hidden_map(corrupt, 8, (5, 6), other), together)


@pytest.mark.parametrize("grid", [(6,), (6, 5), (6, 2, 3)])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_no_token_of_another_time_passes_keep_times(grid, times):
    for kept in ([*range(times)], [*range(6 - times, 6)], [0, 5]):
        seen, hidden = keep_times(kept)(whole(3, grid), draws(3))
        cells = prod(grid[1:])
        assert (seen.place.position // cells).unique().tolist() == kept
        assert (hidden.position // cells).unique().tolist() == [time for time in range(6) if time not in kept]
        assert seen.value.shape[1] == len(kept) * cells


@pytest.mark.parametrize(
    "times, nearest", [([0, 1], [3] * 4), ([2, 3], [4] * 4), ([0, 3], [1, 1, 6, 6]), ([1], [2, 2, 3, 3, 3, 3])]
)
def test_the_nearest_seen_frame_is_guessed_of_every_hidden_one(times, nearest):
    cut = Grid("video", (8, 4, 6), 3).cut((2, 2, 2))
    clip = torch.randn(2, 8, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    seen, hidden = keep_times(times)(cut.tokenize([clip]), draws(2))  # of frames 2 time and 2 time + 1
    frames = [frame for frame in range(8) if frame // 2 not in times]

    def of(chosen: list[int]) -> Tensor:
        other = clip.clone()
        other[:, frames] = clip[:, chosen]
        return cut.tokenize([other]).value[:, hidden.position[0]]

    guess = NearestFrame(cut.channels, 2)(seen, hidden)
    assert torch.equal(guess, of(nearest))
    assert not torch.equal(guess, of([nearest[0] - 1, *nearest[1:]]))  # the control: one frame is its neighbour


@pytest.mark.parametrize("times", [[0, 1], [2, 3], [0, 3]])
def test_the_seen_motion_is_how_far_the_seen_frames_are_from_their_mean(times):
    cut = Grid("video", (8, 4, 6), 3).cut((2, 2, 2))
    clip = torch.randn(2, 1, 3, 4, 6, generator=torch.Generator().manual_seed(0)).repeat(1, 8, 1, 1, 1)
    frames = torch.tensor([2 * time + part for time in times for part in range(2)])
    clip[1, frames[0], :, 0, 0] += 4.0  # one cell of 24, in one frame of four: 1 above its mean in three, 3 in one
    clip[:, [frame for frame in range(8) if frame not in frames]] += 100.0  # what is hidden says nothing
    motion = SeenMotion(cut.channels, 2)(*keep_times(times)(cut.tokenize([clip]), draws(2)))
    expected = torch.tensor([0.05, ((3 * 1 + 9) / 4 / 24 + 0.05**2) ** 0.5])  # the first stands still
    torch.testing.assert_close(motion[:, 0, 0], expected)


def test_dropping_the_right_hides_whole_columns_of_every_picture():
    seen, hidden = drop_right(0.5)(whole(3, (4, 4)), draws(3))
    assert (hidden.position % 4).unique().tolist() == [2, 3]
    assert (seen.place.position % 4).unique().tolist() == [0, 1]
    assert hidden.position.shape == seen.place.position.shape == (3, 8)
    assert torch.equal(seen.value[..., 0].long(), seen.place.position)


@pytest.mark.parametrize("unit, expected", [(1, 14), (2, 16)])  # round(0.6 * 24), and four of round(0.6 * 6)
def test_whole_squares_are_hidden_each_as_often_as_the_others(unit, expected):
    mask = hidden_map(drop_squares(0.6, unit), 600, (4, 6))
    assert mask.sum(1).tolist() == [expected] * 600
    squares = mask.unflatten(1, (4 // unit, unit, 6 // unit, unit))
    assert torch.equal(squares.all(4).all(2), squares.any(4).any(2))
    often, share = mask.float().mean(0), expected / 24
    assert (often - share).abs().max() < 4.5 * (share * (1 - share) / 600) ** 0.5


def test_squares_of_one_cell_are_hidden_as_single_ones():
    assert torch.equal(hidden_map(drop_squares(0.6, 1), 50, (4, 6)), hidden_map(drop_random(0.6), 50, (4, 6)))
    two = hidden_map(drop_squares(0.6, 2), 50, (4, 6))  # the control
    assert not torch.equal(two, hidden_map(drop_random(0.6), 50, (4, 6)))
