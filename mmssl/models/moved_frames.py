"""Frames that are painted by moving what was seen: an animal need not be learnt anew for each place where it can be."""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot, pad

from mmssl.drop import NearestFrame, seen_frames
from mmssl.tokens import Place, Tokens

STAYS = 2.0  # added to the score of the nearest frame as it is: training begins near it


class MovedFrames(NamedTuple):
    """Each pixel of a hidden frame is a mixture of the seen ones and of `copies` of the nearest of them that are moved,
    plus a change that is painted (Finn et al. 2016, arXiv:1605.07157, section 3: dynamic neural advection, its masks,
    its static background). Each pixel has a mixture of its own, and each frame of a patch a move of each copy: a
    distribution over the rows from `reach` above to as many below times one over columns. What comes to a patch can
    lie beyond its edge; as all moves are tried at once, a far one is found, too.

    Where we differ: all hidden frames are painted from seen ones, none from one that was painted itself; a move is
    neither of each pixel nor of a whole frame.

    `patch` is of frames, rows and columns of pixels, `seen` the number of seen frames. The change is said, and the
    answer given, in `unit(seen, hidden)`. Whole frames are seen and hidden, the same of each sample.
    """

    channels: int
    patch: tuple[int, ...]
    seen: int
    copies: int
    reach: int
    nearest: NearestFrame
    unit: Callable[[Tokens, Place], Tensor | float]

    @property
    def widths(self) -> list[int]:
        """How many numbers say of a patch its change, its mixtures and its moves."""
        moves = self.patch[0] * self.copies * 2 * (2 * self.reach + 1)
        return [prod(self.patch) * self.channels, prod(self.patch) * (self.seen + self.copies), moves]

    def __call__(self, said: Float[Tensor, "B M W"], seen: Tokens, hidden: Place) -> Float[Tensor, "B M D"]:
        """What the nearest frame does not tell of the hidden patches."""
        painted, score, move = said.float().split(self.widths, -1)
        frames, nearest = self.patch[0], self.nearest(seen, hidden).float()
        # what can come to each pixel
        still = seen_frames(seen, self.channels, frames).float()
        times = hidden.position.shape[1] // still.shape[2]
        still = repeat(still, "b s m c n -> b (t m) s c p n", t=times, p=frames)
        near = rearrange(nearest, "b m (c p n) -> b m 1 c p n", c=self.channels, p=frames)
        change = torch.cat([still, self.moved(nearest, move, hidden)], 2) - near
        # and how much of each
        stays = STAYS * one_hot(self.nearest.which(seen, hidden), self.seen + self.copies)
        score = rearrange(score, "b m (s p n) -> b m s 1 p n", p=frames, n=prod(self.patch[1:]))
        share = (score + rearrange(stays, "b m p s -> b m s 1 p 1")).softmax(2)
        mixed = rearrange((share * change).sum(2), "b m c p n -> b m (c p n)")
        return mixed / self.unit(seen, hidden) + painted

    def moved(
        self, nearest: Float[Tensor, "B M D"], move: Float[Tensor, "B M X"], hidden: Place
    ) -> Float[Tensor, "B M S C P N"]:
        """The copies of the nearest frames at each hidden patch."""
        frames, height, width = self.patch
        rows, columns = hidden.grid[1:]
        up, left = rearrange(move, "b m (p s two r) -> two b m p s r", p=frames, s=self.copies, two=2).softmax(-1)
        axes = {"y": rows, "x": columns, "p": frames, "h": height, "w": width}
        picture = rearrange(nearest, "b (t y x) (c p h w) -> (b t p) c (y h) (x w)", **axes)
        reach = self.reach
        around = pad(picture, (reach, reach, reach, reach), mode="replicate")
        around = around.unfold(2, height + 2 * reach, height).unfold(3, width + 2 * reach, width)
        around = rearrange(around, "(b t p) c y x i j -> b (t y x) p i (c j)", b=len(nearest), p=frames)
        # in float32: what is moved by whole pixels stays what it was
        with torch.autocast(nearest.device.type, enabled=False):
            part = rearrange(taken(up, height), "b m p s h i -> b m p (s h) i") @ around
            part = rearrange(part, "b m p (s h) (c j) -> b m p s (c h) j", h=height, c=self.channels)
            found = part @ taken(left, width).mT
        return rearrange(found, "b m p s (c h) w -> b m s c p (h w)", c=self.channels)


def taken(move: Float[Tensor, "*B R"], size: int) -> Float[Tensor, "*B {size} I"]:
    """A matrix from size + R - 1 pixels in a row to `size`: the i-th takes of the i-th to the (i + R - 1)-th as much as
    the move says.
    """
    wide = size + move.shape[-1] - 1
    # rows that are one longer than they count shift by one each
    row = repeat(pad(move, (0, wide + 1 - move.shape[-1])), "... i -> ... h i", h=size)
    return rearrange(rearrange(row, "... h i -> ... (h i)")[..., : size * wide], "... (h i) -> ... h i", h=size)
