"""What is hidden of a clip: tubes, or blocks in space and time, and for prediction all that comes later.

An `Order` puts the cells of a clip in a row whose first so many are hidden, always as many; `hide` makes a corruption
of it. All is drawn by `random.py`, keyed by sample.
"""

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from jaxtyping import Int
from torch import Tensor

from mmssl.corruption import Corruption
from mmssl.drop import NUM_BLOCKS, between, bounded, covering_order, parted, random_blocks
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

Grid = tuple[int, int, int]  # times, rows, columns
Order = Callable[[Grid, Draw], tuple[Int[Tensor, "B N"], int]]


def hide(order: Order, seen_times: int = 0) -> Corruption:
    """Hides what an order says of the first `seen_times` cells of the time axis, and all later ones; 0: of all times.

    With a bound it is the causal mask of Assran et al. 2025 (arXiv:2506.09985): what is seen lies before all of the
    later times.
    """

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        times, rows, columns = tokens.place.grid
        early = seen_times or times
        cells = torch.arange(times * rows * columns, device=tokens.value.device)
        later = cells[early * rows * columns :].expand(len(tokens.value), -1)
        found, count = order((early, rows, columns), draw)
        return parted(tokens, torch.cat([later, found], 1), later.shape[1] + count)

    return corrupt


def tubes(hidden_ratio: float) -> Order:
    """round(hidden_ratio * cells) of the cells of a frame, each set of them equally likely, at all times the same (Tong
    et al. 2022, arXiv:2203.12602, section 3.2).
    """

    def order(grid: Grid, draw: Draw) -> tuple[Int[Tensor, "B N"], int]:
        cells = grid[1] * grid[2]
        tube = draw.uniform("mask", cells).argsort(1)
        start = torch.arange(grid[0], device=tube.device) * cells
        return rearrange(tube[..., None] + start, "b c t -> b (c t)"), bounded(hidden_ratio, cells) * grid[0]

    return order


def cuboids(
    hidden_ratio: float, block_ratio: float, time_ratio: float = 1.0, aspect: tuple[float, float] = (0.75, 1.5)
) -> Order:
    """Blocks of about `block_ratio` of a frame and `time_ratio` of the times, height / width in `aspect`, anywhere in
    the clip, until round(hidden_ratio * cells) are hidden (Bardes et al. 2024, arXiv:2404.08471, section 3.2).

    With a `time_ratio` of 1, as in the paper, the same cells of a frame at all times. The paper takes the union of a
    given number of blocks, "about 90 %", and its authors cut all masks of a batch to the shortest; here the number
    follows from the ratio, the union has an exact size, and the last block is cut from an end that is drawn.
    """

    def order(grid: Grid, draw: Draw) -> tuple[Int[Tensor, "B N"], int]:
        times, rows, columns = grid
        cells, lasting = rows * columns, max(1, round(time_ratio * times))
        start = (draw.uniform("block_start", NUM_BLOCKS) * (times - lasting + 1)).floor()
        time = torch.arange(times, device=start.device)
        is_then = between(time, start, torch.full_like(start, lasting))
        is_there = random_blocks(rows, columns, block_ratio, aspect, draw)
        # times lie innermost, so that a block through all of them loses whole tubes where it is cut
        inside = rearrange(is_there[..., None] & is_then[:, :, None], "b k c t -> b k (c t)")
        number = covering_order(inside, draw)
        count = bounded(hidden_ratio, cells) * times if lasting == times else bounded(hidden_ratio, cells * times)
        return number % times * cells + number // times, count

    return order


def taking_turns(orders: Sequence[Order]) -> Order:
    """One of several orders that hide as many, by the number of the sample's epoch: where a step hides something of
    each sample as many times (see `Batch.times`), each once; else from epoch to epoch.
    """

    def order(grid: Grid, draw: Draw) -> tuple[Int[Tensor, "B N"], int]:
        found, counts = zip(*(one(grid, draw) for one in orders), strict=True)
        assert len(set(counts)) == 1, f"orders hide {counts}; expected as many"
        row = torch.arange(len(draw.index), device=draw.index.device)
        return torch.stack(found)[draw.epoch % len(orders), row], counts[0]

    return order
