"""Claims about target blocks, their context and kept blocks: exact counts, rectangles, no side preferred."""

from collections.abc import Callable
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor
from whole_grids import draws, whole

from mmssl import blocks
from mmssl.blocks import counts, keep_blocks, multi_block, target_rectangles
from mmssl.corruption import Corruption
from mmssl.drop import drop_random
from mmssl.errors import ConfigError
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at, in_place

GRID = (8, 8)
MANY = 4000
ASPECT = (0.75, 1.5)


def targets(position: Tensor, number: int = 4) -> Tensor:
    """(B, T, cells): True where a target lies."""
    mask = torch.zeros(len(position), number, prod(GRID), dtype=torch.bool)
    return mask.scatter_(2, position.reshape(len(position), number, -1), True)


@given(st.integers(4, 9), st.integers(4, 9), st.sampled_from([0.05, 0.175, 0.24]), st.integers(1, 4), st.integers(0, 3))
def test_each_target_and_what_is_seen_have_exact_counts(rows, columns, ratio, number, seed):
    cells, count = rows * columns, max(1, round(ratio * rows * columns))
    if number * count >= cells:
        with pytest.raises(ConfigError, match=f"method.num_targets {number}: blocks of {count} patches may cover all"):
            multi_block((rows, columns), ratio, number)
        return
    seen, hidden = multi_block((rows, columns), ratio, number)(whole(5, (rows, columns)), draws(5, seed))
    assert hidden.position.shape == (5, number * count)
    assert hidden.blocks == number
    assert seen.place.position.shape == (5, cells - number * count)
    for row in range(5):
        shown = set(seen.place.position[row].tolist())
        assert len(shown) == cells - number * count  # no cell twice
        assert not shown & set(hidden.position[row].tolist())
        for target in hidden.position[row].reshape(number, count).tolist():
            assert target == sorted(set(target))
    assert torch.equal(seen.value[..., 0].long(), seen.place.position)


def test_targets_are_rectangles_up_to_a_cut_of_one_side():
    _, hidden = multi_block(GRID, 0.175, 4)(whole(200, GRID), draws(200))
    shapes = set()
    for target in hidden.position.reshape(-1, 11).tolist():
        rows, columns = [cell // 8 for cell in target], [cell % 8 for cell in target]
        height, width = max(rows) - min(rows) + 1, max(columns) - min(columns) + 1
        shapes.add((height, width))
        lost = {(y + min(rows), x + min(columns)) for y in range(height) for x in range(width)} - set(
            zip(rows, columns)
        )
        assert len(lost) == height * width - 11 < min(height, width)
        # what is lost lies side by side, from a corner of the rectangle on
        assert len({y for y, _ in lost}) <= 1 or len({x for _, x in lost}) <= 1
        assert not lost or lost & {(y, x) for y in (min(rows), max(rows)) for x in (min(columns), max(columns))}
    assert shapes == {(3, 4), (4, 3)}  # the square of aspect 0.75 to 1.5 that hold 11


def test_targets_overlap_and_a_place_may_be_asked_for_twice():
    _, hidden = multi_block(GRID, 0.175, 4)(whole(50, GRID), draws(50))
    assert min(len(set(row)) for row in hidden.position.tolist()) < 44


def test_blocks_that_may_cover_all_are_refused_at_the_start():
    assert counts((4, 4), 0.175, 4) == (3, 4)
    assert counts((14, 14), 0.175, 4) == (34, 60)
    with pytest.raises(ConfigError, match=r"blocks of 3 patches may cover all 16 of a picture, more than fit"):
        multi_block((4, 4), 0.175, 6)


def deviation(found: Tensor, expected: Tensor) -> float:
    """The probability of counts that lie as far from what is expected, if they are independent."""
    return float(chi2.sf(float(((found - expected) ** 2 / expected).sum()), len(found) - 1))


def test_each_place_where_a_target_fits_is_as_likely():
    draw = draws(MANY)
    found = target_rectangles(11, *GRID, ASPECT, 4, draw)
    # the control: the authors' code draws below the last place, so that no block ever touches the lower side
    too_high = (draw.uniform("target_top", 4) * (8 - found.height)).long()
    for height, width in ((3, 4), (4, 3)):
        chosen = (found.height == height) & (found.width == width)
        places = 8 - height + 1, 8 - width + 1
        for top, is_fair in ((found.top, True), (too_high, False)):
            corner = (top * places[1] + found.left)[chosen]
            often = torch.bincount(corner, minlength=prod(places)).double()
            assert (deviation(often, often.sum() / len(often) * torch.ones(len(often))) > 1e-3) is is_fair


def corners_lost(way: Callable[[Tensor], Tensor]) -> Tensor:
    """How often a target of 3 x 4 lost its upper left, upper right, lower left, lower right cell."""
    stock = blocks.cut_order
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "cut_order", lambda rows, columns, drawn: stock(rows, columns, way(drawn)))
        _, hidden = multi_block(GRID, 0.175, 4)(whole(MANY, GRID), draws(MANY))
    mask = targets(hidden.position).reshape(-1, 8, 8)
    top, left = mask.any(2).int().argmax(1), mask.any(1).int().argmax(1)
    height, width = mask.any(2).sum(1), mask.any(1).sum(1)
    row = torch.arange(len(mask))
    cells = [mask[row, y, x] for y in (top, top + height - 1) for x in (left, left + width - 1)]
    return (~torch.stack(cells)).sum(1).double()


def test_the_corner_that_a_target_loses_is_as_often_any_of_the_four():
    found = corners_lost(lambda way: way)
    assert found.sum() == 4 * MANY
    assert deviation(found, found.sum() / 4 * torch.ones(4)) > 1e-3
    # the control: who keeps the first cells, row by row, cuts the lower right corner each time
    assert corners_lost(torch.zeros_like).tolist() == [0, 0, 0, 4 * MANY]


def share_hidden(corrupt: Corruption) -> Tensor:
    """How often each cell of 4 x 5 is hidden."""
    _, hidden = corrupt(whole(MANY, (4, 5)), draws(MANY))
    return torch.bincount(hidden.position.flatten(), minlength=20).double()


def shortest_first(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
    """Drop two thirds or so at random, of which the first cells are kept until all have as many."""
    seen, hidden = drop_random(0.8)(tokens, draw)
    return seen, hidden._replace(position=hidden.position[:, :15], document=hidden.document[:, :15])


def test_random_masks_cover_all_cells_alike():
    ratio = 15 / 20
    for corrupt, is_fair in ((drop_random(ratio), True), (shortest_first, False)):
        often = share_hidden(corrupt)
        assert often.sum() == 15 * MANY
        # each sample hides 15 of 20: the counts vary less than independent ones, by the factor of a finite population
        statistic = ((often - ratio * MANY) ** 2).sum() / (MANY * ratio * (1 - ratio)) * 19 / 20
        assert (float(chi2.sf(float(statistic), 19)) > 1e-3) is is_fair


def often_seen(corrupt: Corruption, grid: tuple[int, int]) -> Tensor:
    """How often each cell is seen."""
    seen, _ = corrupt(whole(MANY, grid), draws(MANY))
    return torch.bincount(seen.place.position.flatten(), minlength=prod(grid)).reshape(grid) / MANY


def sides_differ(often: Tensor) -> bool:
    """Whether a cell is more often seen than the one opposite, by more than chance."""
    noise = 4.5 * (2 * often * (1 - often) / MANY).clamp(min=1e-6).sqrt()
    return any(((often.flip(axes) - often).abs() > noise).any() for axes in ((0,), (1,), (0, 1)))


@pytest.mark.parametrize("corrupt", [multi_block(GRID, 0.175, 4), multi_block(GRID, 0.175, 1), keep_blocks(0.8)])
def test_what_is_seen_prefers_no_side(corrupt):
    assert not sides_differ(often_seen(corrupt, GRID))


def test_a_context_that_always_loses_its_end_would_show(monkeypatch):
    stock = blocks.cut_order
    monkeypatch.setattr(blocks, "cut_order", lambda rows, columns, way: stock(rows, columns, torch.zeros_like(way)))
    often = often_seen(multi_block(GRID, 0.175, 4), GRID)
    assert sides_differ(often)
    assert often[0].mean() > 2 * often[-1].mean()


def test_what_is_seen_lies_in_the_context_block_where_it_has_enough_cells():
    draw = draws(500)
    context = blocks.context_rectangle(*GRID, (0.85, 1.0), draw).inside(*GRID)[:, 0]
    assert set(context.sum(1).tolist()) == {49, 64}
    seen, hidden = multi_block(GRID, 0.175, 4)(whole(500, GRID), draw)
    shown = torch.zeros(500, 64, dtype=torch.bool).scatter_(1, seen.place.position, True)
    asked = targets(hidden.position).any(1)
    enough = (context & ~asked).sum(1) >= 20
    assert 0.8 < float(enough.float().mean()) < 1
    assert not (shown & ~context)[enough].any()
    assert (shown & ~context)[~enough].any(1).all()
    assert ((context & ~asked) <= shown)[~enough].all()  # all that the block has comes first


@pytest.mark.parametrize("corrupt", [multi_block(GRID, 0.175, 4), keep_blocks(0.8)])
def test_blocks_belong_to_the_sample_not_to_its_batch(corrupt):
    seen, hidden = corrupt(whole(8, GRID), draws(8))
    index = torch.tensor([6, 1, 3])
    again = corrupt(whole(3, GRID), Draw(0, torch.zeros(3, dtype=torch.long), index))
    assert torch.equal(again[0].place.position, seen.place.position[index])
    assert torch.equal(again[1].position, hidden.position[index])
    assert len({tuple(row) for row in hidden.position.tolist()}) == 8  # the control: each sample has its own
    other = corrupt(whole(8, GRID), draws(8, epoch=1))[1]
    assert not torch.equal(other.position, hidden.position)


def test_padding_stays_padding_in_blocks():
    tokens = whole(2, GRID)
    document = tokens.place.document.clone()
    document[1] = -1
    given = tokens._replace(place=tokens.place._replace(document=document))
    seen, hidden = multi_block(GRID, 0.175, 4)(given, draws(2))
    assert seen.place.valid.all(1).tolist() == hidden.valid.all(1).tolist() == [True, False]


def test_answers_of_a_place_that_is_asked_for_twice_are_the_same():
    tokens = whole(3, GRID)
    _, hidden = multi_block(GRID, 0.175, 4)(tokens, draws(3))
    assert torch.equal(at(tokens, hidden)[..., 0].long(), hidden.position)
    answer, valid = in_place(tokens, hidden)
    assert torch.equal(answer[..., 0].long(), hidden.position[:, None].expand(3, 3, 44))
    assert valid.all()


@given(st.integers(3, 9), st.integers(3, 9), st.sampled_from([0.5, 0.8, 0.95]), st.integers(1, 3))
def test_kept_blocks_leave_the_rounded_share_hidden(rows, columns, ratio, side):
    cells = rows * columns
    seen, hidden = keep_blocks(ratio, side)(whole(4, (rows, columns)), draws(4))
    count = min(round(ratio * cells), cells - 1)
    assert hidden.position.shape == (4, count)
    together = torch.cat([seen.place.position, hidden.position], 1).sort(1).values
    assert torch.equal(together, torch.arange(cells).expand(4, -1))


def test_kept_blocks_are_squares_where_they_fill_what_is_seen():
    seen, _ = keep_blocks(1 - 9 / 64, 3)(whole(100, GRID), draws(100))
    for row in seen.place.position.tolist():
        assert {cell - row[0] for cell in row} == {0, 1, 2, 8, 9, 10, 16, 17, 18}
