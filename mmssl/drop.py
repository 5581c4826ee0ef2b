"""What is seen and what is hidden on a grid: functions (Tokens, Draw) -> (seen Tokens, hidden Place).

Hidden tokens are dropped, so the encoder never computes them. Counts are exact: every sample hides as many, and each
is drawn by `random.py`, keyed by sample.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.corruption import Corruption
from mmssl.errors import ConfigError
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, take

NUM_BLOCKS = 64  # drawn for a mask; the first that suffice are used
UNMOVED = 0.05  # of the deviation of pixels, three of their 256 levels: less is a camera's noise


def drop_random(hidden_ratio: float) -> Corruption:
    """round(hidden_ratio * N) tokens, each set of them equally likely (He et al. 2021, arXiv:2111.06377)."""

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        count = tokens.value.shape[1]
        return parted(tokens, draw.uniform("mask", count).argsort(1), bounded(hidden_ratio, count))

    return corrupt


def drop_squares(hidden_ratio: float, unit: int) -> Corruption:
    """round(hidden_ratio * squares) of the squares of `unit` x `unit` cells that the grid consists of, each set of them
    equally likely (Xie et al. 2021, arXiv:2111.09886, section 3.2); with a unit of 1 as `drop_random`.
    """

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        rows, columns = tokens.place.grid
        count = rows // unit * (columns // unit)
        cell = torch.arange(rows * columns, device=tokens.value.device)
        square = cell // columns // unit * (columns // unit) + cell % columns // unit
        rank = draw.uniform("mask", count).argsort(1).argsort(1)
        return parted(tokens, rank[:, square].argsort(1), bounded(hidden_ratio, count) * unit**2)

    return corrupt


def drop_blocks(hidden_ratio: float, block_ratio: float, aspect: tuple[float, float] = (0.75, 1.5)) -> Corruption:
    """Blocks of about `block_ratio` of the cells, height / width in `aspect`, until round(hidden_ratio * cells) are
    hidden.

    As the multi-block masks of Assran et al. 2023 (arXiv:2301.08243, section 3), but the union of the blocks has an
    exact size: the last block is cut, from a side that is drawn. In a clip the blocks reach through all times (Bardes
    et al. 2024, arXiv:2404.08471, section 3.2).
    """

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        rows, columns = tokens.place.grid[-2:]
        times = prod(tokens.place.grid[:-2])
        order = block_order(rows, columns, block_ratio, aspect, draw)
        count = bounded(hidden_ratio, rows * columns)
        # the same cells at all times
        start = torch.arange(times, device=order.device) * rows * columns
        hidden, seen = (
            (start[:, None] + part[:, None]).flatten(1) for part in (order[:, :count], order[:, count:])
        )  # (B, times * cells)
        return parted(tokens, torch.cat([hidden, seen], 1), count * times)

    return corrupt


def block_order(
    rows: int, columns: int, ratio: float, aspect: tuple[float, float], draw: Draw
) -> Int[Tensor, "B cells"]:
    """The cells in the order in which random blocks cover them; those that none covers come last."""
    return covering_order(random_blocks(rows, columns, ratio, aspect, draw), draw)


def random_blocks(
    rows: int, columns: int, ratio: float, aspect: tuple[float, float], draw: Draw
) -> Bool[Tensor, "B K cells"]:
    """Which cells each of many blocks covers: about `ratio` of them, height / width in `aspect`, anywhere it fits."""
    low, high = (torch.tensor(value).log() for value in aspect)
    shape = (low + (high - low) * draw.uniform("block_aspect", NUM_BLOCKS)).exp()
    area = ratio * rows * columns
    height = (area * shape).sqrt().round().clamp(1, rows)
    width = (area / height).round().clamp(1, columns)
    top = (draw.uniform("block_top", NUM_BLOCKS) * (rows - height + 1)).floor()
    left = (draw.uniform("block_left", NUM_BLOCKS) * (columns - width + 1)).floor()
    cell = torch.arange(rows * columns, device=top.device)
    return between(cell // columns, top, height) & between(cell % columns, left, width)


def covering_order(inside: Bool[Tensor, "B K cells"], draw: Draw) -> Int[Tensor, "B cells"]:
    """The cells in the order in which blocks cover them, those of one block from one of its two ends."""
    blocks, cells = inside.shape[-2:]
    first = torch.where(inside.any(1), inside.float().argmax(1), blocks)
    is_reversed = torch.nn.functional.pad(draw.uniform("block_side", blocks) < 0.5, (0, 1)).gather(1, first)
    cell = torch.arange(cells, device=inside.device)
    return (first * cells + torch.where(is_reversed, cells - 1 - cell, cell)).argsort(1)


def between(value: Int[Tensor, " cells"], start: Float[Tensor, "B K"], size: Float[Tensor, "B K"]) -> Tensor:
    """Whether each value lies in [start, start + size)."""
    return (value >= start[..., None]) & (value < (start + size)[..., None])


def drop_right(hidden_ratio: float) -> Corruption:
    """The last round(hidden_ratio * columns) columns of a grid."""

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        cells, columns = tokens.value.shape[1], tokens.place.grid[-1]
        count = bounded(hidden_ratio, columns)
        cell = torch.arange(cells, device=tokens.value.device)
        order = (columns - 1 - cell % columns).argsort(stable=True)
        return parted(tokens, order.expand(len(tokens.value), cells), count * cells // columns)

    return corrupt


def keep_times(times: Sequence[int]) -> Corruption:
    """The cells of these times are seen, all others are hidden."""

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        total, *sides = tokens.place.grid
        cells, device = prod(sides), tokens.value.device
        hidden = [time for time in range(total) if time not in times]
        order = torch.tensor([*hidden, *times], device=device)[:, None] * cells + torch.arange(cells, device=device)
        return parted(tokens, order.flatten().expand(tokens.value.shape[:2]), len(hidden) * cells)

    return corrupt


def shuffled_times(times: int) -> Callable[[Draw, Tensor], Tensor]:
    """What lies at so many hidden times, in another order than the true one, of which all others are equally likely,
    but that which is shifted by one time: it stands for the true one where that is drawn.
    """

    def shuffle(draw: Draw, hidden: Float[Tensor, "B M D"]) -> Float[Tensor, "B M D"]:
        by_time = rearrange(hidden, "b (t n) d -> b t n d", t=times)
        order = draw.uniform("order", times).argsort(1)
        is_true = (order.diff(dim=1) == 1).all(1, keepdim=True)
        order = torch.where(is_true, order.roll(1, 1), order)
        row = torch.arange(len(order), device=order.device)[:, None]
        return rearrange(by_time[row, order], "b t n d -> b (t n) d")

    return shuffle


def seen_frames(seen: Tokens, channels: int, frames: int) -> Float[Tensor, "B T M C N"]:
    """The frames of seen patches, each of `channels`, `frames`, rows and columns: T frames of M cells of N pixels."""
    cells = prod(seen.place.grid[1:])
    return rearrange(seen.value, "b (t m) (c p n) -> b (t p) m c n", m=cells, c=channels, p=frames)


class NearestFrame(NamedTuple):
    """The seen frame that is nearest in time, as a guess of each hidden one: what lies at the same cell of it; of two
    as near, the earlier. Whole frames are seen, the same times of each sample.

    `frames` in a patch, whose features are `channels`, frames, rows and columns.
    """

    channels: int
    frames: int

    def __call__(self, seen: Tokens, hidden: Place) -> Float[Tensor, "B M D"]:
        clip = seen_frames(seen, self.channels, self.frames)
        row = rearrange(torch.arange(len(clip), device=clip.device), "b -> b 1 1")
        cell = rearrange(hidden.position % clip.shape[2], "b m -> b m 1")
        return rearrange(clip[row, self.which(seen, hidden), cell], "b m p c n -> b m (c p n)")

    def which(self, seen: Tokens, hidden: Place) -> Int[Tensor, "B M P"]:
        """The number of the seen frame that is nearest to each frame of a hidden patch."""
        cells = prod(seen.place.grid[1:])
        part = torch.arange(self.frames, device=seen.value.device)
        there, asked = (
            ((place.position[:, ::step] // cells * self.frames)[..., None] + part)
            for place, step in ((seen.place, cells), (hidden, 1))
        )  # the frames of each patch: (B, T, P) and (B, M, P)
        apart = rearrange(asked, "b m p -> b m p 1") - rearrange(there, "b t p -> b 1 1 (t p)")
        return apart.abs().argmin(-1)


class SeenMotion(NamedTuple):
    """How much the seen frames of each sample change: the root mean square of their difference from their mean, with
    `UNMOVED` for what stands still. Whole frames are seen, the same times of each sample.

    `frames` in a patch, whose features are `channels`, frames, rows and columns.
    """

    channels: int
    frames: int

    def __call__(self, seen: Tokens, hidden: Place) -> Float[Tensor, "B 1 1"]:
        clip = seen_frames(seen, self.channels, self.frames).float()
        variance = (clip - clip.mean(1, keepdim=True)).square().flatten(1).mean(1)  # four times as fast as var(1)
        return rearrange((variance + UNMOVED**2).sqrt(), "b -> b 1 1")


def bounded(ratio: float, count: int) -> int:
    """round(ratio * count), but at least one token is hidden and one is seen; ConfigError where there is but one."""
    if count < 2:
        raise ConfigError(
            f"encoder.patch: {count} patch to hide a part of; expected at least 2, of smaller patches or larger samples"
        )
    return min(max(1, round(ratio * count)), count - 1)


def parted(tokens: Tokens, order: Int[Tensor, "B N"], count: int) -> tuple[Tokens, Place]:
    """The first `count` tokens of an order are hidden, the others seen, both in rising order."""
    hidden, seen = order[:, :count].sort(1).values, order[:, count:].sort(1).values
    place = tokens.place
    return take(tokens, seen), Place(place.position.gather(1, hidden), place.document.gather(1, hidden), place.grid)
