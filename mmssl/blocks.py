"""Rectangles on a grid: several blocks to predict from what is left, or a few blocks that alone are seen.

All counts are exact, and each block lies anywhere it fits with equal probability. Where a rectangle holds too many
cells, a side that is drawn loses them: the authors' codes cut all masks of a batch to the shortest by dropping the last
cells, which lie at the bottom.
"""

from math import ceil
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.corruption import Corruption
from mmssl.drop import block_order, bounded, parted
from mmssl.errors import ConfigError
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, take

WAYS = 8  # to count the cells of a grid, row by row or column by column, from a corner


class Rectangles(NamedTuple):
    """K rectangles on the grid of each sample, in cells."""

    top: Int[Tensor, "B K"]
    left: Int[Tensor, "B K"]
    height: Int[Tensor, "B K"]
    width: Int[Tensor, "B K"]

    def inside(self, rows: int, columns: int) -> Bool[Tensor, "B K cells"]:
        """Which cells each of them covers."""
        cell = torch.arange(rows * columns, device=self.top.device)
        row, column = cell // columns - self.top[..., None], cell % columns - self.left[..., None]
        return (row >= 0) & (row < self.height[..., None]) & (column >= 0) & (column < self.width[..., None])


def multi_block(
    grid: tuple[int, ...], block_ratio: float, num_targets: int, aspect: tuple[float, float] = (0.75, 1.5),
    context: tuple[float, float] = (0.85, 1.0),
) -> Corruption:  # fmt: skip
    """`num_targets` blocks are hidden, each to be predicted by itself; what is seen lies in a larger one, outside of
    them all (Assran et al. 2023, arXiv:2301.08243, section 3).

    A target has exactly round(block_ratio * cells) cells, height / width in `aspect`; targets may overlap, and stand
    one after another in the hidden place. Of each picture cells - num_targets * that are seen, as many as are left
    where no targets overlap: those of a block that covers a share in `context` of the cells, less what a side that is
    drawn loses; where that block has too few (one picture in ten on 8 x 8 cells), cells around it, too. ConfigError
    where none are left on `grid`. The paper draws a target's share from (0.15, 0.2), and its authors cut what is seen
    to the least of a batch.
    """
    counts(grid, block_ratio, num_targets)

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        rows, columns = tokens.place.grid
        count, num_seen = counts(tokens.place.grid, block_ratio, num_targets)
        targets = target_rectangles(count, rows, columns, aspect, num_targets, draw)
        way = cut_order(rows, columns, draw.integers("target_cut", WAYS, num_targets))
        target = first_cells(way + ~targets.inside(rows, columns) * rows * columns, count)
        hidden = rearrange(target, "b t k -> b (t k)")
        # outside of the targets, in the context's block before around it, from the side that is drawn
        is_hidden = torch.zeros_like(tokens.place.position).scatter(1, hidden, 1)
        is_around = ~context_rectangle(rows, columns, context, draw).inside(rows, columns)[:, 0]
        way = cut_order(rows, columns, draw.integers("context_cut", WAYS, 1))[:, 0]
        seen = first_cells(way + (2 * is_hidden + is_around) * rows * columns, num_seen)
        place = tokens.place
        position, document = place.position.gather(1, hidden), place.document.gather(1, hidden)
        return take(tokens, seen), Place(position, document, place.grid, num_targets)

    return corrupt


def counts(grid: tuple[int, ...], block_ratio: float, num_targets: int) -> tuple[int, int]:
    """The cells of a target, and those that are seen; ConfigError where there are none."""
    cells = grid[0] * grid[1]
    count = bounded(block_ratio, cells)
    if num_targets * count >= cells:
        raise ConfigError(
            f"method.num_targets {num_targets}: blocks of {count} patches may cover all {cells} of a picture, "
            "more than fit; expected fewer or smaller blocks (method.block_ratio)"
        )
    return count, cells - num_targets * count


def target_rectangles(
    count: int, rows: int, columns: int, aspect: tuple[float, float], number: int, draw: Draw
) -> Rectangles:
    """Rectangles of at least `count` cells that would have too few without any one row or column."""
    low, high = (torch.tensor(value).log() for value in aspect)
    shape = (low + (high - low) * draw.uniform("target_aspect", number)).exp()
    height = (count * shape).sqrt().round().clamp(ceil(count / columns), rows)
    width = (count / height).ceil()
    return placed((count / width).ceil(), width, rows, columns, "target", draw)


def context_rectangle(rows: int, columns: int, share: tuple[float, float], draw: Draw) -> Rectangles:
    """A rectangle with the grid's own aspect that covers a share of it."""
    low, high = share
    side = (low + (high - low) * draw.uniform("context_share", 1)).sqrt()
    return placed((side * rows).round(), (side * columns).round(), rows, columns, "context", draw)


def placed(
    height: Float[Tensor, "B K"], width: Float[Tensor, "B K"], rows: int, columns: int, name: str, draw: Draw
) -> Rectangles:
    """Rectangles of these sizes, each anywhere on the grid."""
    number = height.shape[1]
    top = (draw.uniform(f"{name}_top", number) * (rows - height + 1)).floor()
    left = (draw.uniform(f"{name}_left", number) * (columns - width + 1)).floor()
    return Rectangles(top.long(), left.long(), height.long(), width.long())


def cut_order(rows: int, columns: int, way: Int[Tensor, "B K"]) -> Int[Tensor, "B K cells"]:
    """The number of each cell where they are counted in one of the eight ways; the last are the first to be cut."""
    cell = torch.arange(rows * columns, device=way.device)
    ways = []
    for row in (cell // columns, rows - 1 - cell // columns):
        for column in (cell % columns, columns - 1 - cell % columns):
            ways += [row * columns + column, column * rows + row]
    return torch.stack(ways)[way]


def first_cells(order: Int[Tensor, "*B cells"], count: int) -> Int[Tensor, "*B count"]:
    """The cells with the lowest numbers, in rising order."""
    return order.argsort(-1)[..., :count].sort(-1).values


def keep_blocks(hidden_ratio: float, side: int = 3) -> Corruption:
    """Blocks of `side` x `side` cells are seen until round(hidden_ratio * cells) are left, which are hidden: inverse
    block masking (Baevski et al. 2022, arXiv:2212.07525, section 3; the blocks lie within the grid, the last is cut).
    """

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        rows, columns = tokens.place.grid
        cells = rows * columns
        seen_first = block_order(rows, columns, side * side / cells, (1.0, 1.0), draw)
        return parted(tokens, seen_first.flip(1), bounded(hidden_ratio, cells))

    return corrupt
