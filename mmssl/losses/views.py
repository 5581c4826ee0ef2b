"""Embedded views of a batch, and how those of all processes come together."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmssl.distributed import gather
from mmssl.random import sent


class Views(NamedTuple):
    """V embedded views of B samples; `present` is False where a sample lacks the view's modality, `number` says which
    of a sample's views each is.
    """

    value: Float[Tensor, "V B D"]
    present: Bool[Tensor, "V B"]
    number: tuple[int, ...]

    def gathered(self) -> "Views":
        """Those of all processes, with gradient."""
        value, present = gather(self.value.transpose(0, 1)), gather(self.present.T.float())
        return Views(value.transpose(0, 1), present.T > 0.5, self.number)

    def chosen(self, number: tuple[int, ...]) -> "Views":
        """Those of these numbers."""
        rows = [self.number.index(one) for one in number]
        # one by one: an index of several would be sent to the device, which is waited for
        value, present = (torch.stack([part[row] for row in rows]) for part in (self.value, self.present))
        return Views(value, present, number)

    def detached(self) -> "Views":
        """The same without gradient."""
        return self._replace(value=self.value.detach())


def pairs(a: Views, b: Views) -> Bool[Tensor, "V T B"]:
    """Which pairs of different views a sample has."""
    same = torch.tensor(a.number)[:, None] == torch.tensor(b.number)[None]
    return a.present[:, None] & b.present[None] & ~sent(same, a.present.device)[..., None]


def mean_of_pairs(energy: Float[Tensor, "V T B"], pair: Bool[Tensor, "V T B"]) -> Float[Tensor, " B"]:
    """The mean over the pairs of views that each sample has; 0 where it has none."""
    return torch.where(pair, energy, 0.0).sum((0, 1)) / pair.sum((0, 1)).clamp(min=1)
