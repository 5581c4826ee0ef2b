"""Points of what lasts: those of equal segments of its time, side by side."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from mmssl.random import sent


class Segments(NamedTuple):
    """Points are those of `count` segments side by side; of modalities that are not `lasting` all are the same.

    Two that last are compared whole: a cosine is the sum of the segments' inner products, each with that of the same
    time, over the lengths of both wholes, so a segment that says nothing can be short. Any other two are compared by
    the means over their segments.
    """

    count: int = 1
    lasting: tuple[str, ...] = ()

    def compared(
        self, x: str, y: str, a: Float[Tensor, "*A P"], b: Float[Tensor, "*B P"]
    ) -> tuple[Float[Tensor, "*A Q"], Float[Tensor, "*B Q"]]:
        """What is compared of points of the modalities x and y."""
        return (a, b) if self.both_last(x, y) else (self.mean(a), self.mean(b))

    def both_last(self, x: str, y: str) -> bool:
        """Whether two modalities are compared time by time."""
        return {x, y} <= {*self.lasting}

    def mean(self, point: Float[Tensor, "*B P"]) -> Float[Tensor, "*B Q"]:
        """Over the segments."""
        return reduce(point, "... (s q) -> ... q", "mean", s=self.count)

    def energies(
        self, energy: Callable[[Tensor, Tensor], Tensor], x: Sequence[str], y: Sequence[str],
        a: Float[Tensor, "V B P"], b: Float[Tensor, "T B P"],
    ) -> Float[Tensor, "V T B"]:  # fmt: skip
        """The energy of each two points of a sample; x and y are the modalities of the rows of a and b."""
        whole = energy(a[:, None], b[None])
        if self.count == 1:
            return whole
        lasts = sent(torch.tensor([[self.both_last(one, other) for other in y] for one in x]), a.device)
        return torch.where(lasts[..., None], whole, energy(self.mean(a)[:, None], self.mean(b)[None]))


WHOLE = Segments()  # points of one piece
