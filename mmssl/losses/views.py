"""Embedded views of a batch, and how those of all processes come together."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmssl.distributed import gather


class Views(NamedTuple):
    """V embedded views of B samples; `present` is False where a sample lacks the view's modality."""

    value: Float[Tensor, "V B D"]
    present: Bool[Tensor, "V B"]

    def gathered(self) -> "Views":
        """Those of all processes, with gradient."""
        value, present = gather(self.value.transpose(0, 1)), gather(self.present.T.float())
        return Views(value.transpose(0, 1), present.T > 0.5)


def pairs(a: Bool[Tensor, "V B"], b: Bool[Tensor, "T B"]) -> Bool[Tensor, "V T B"]:
    """Which pairs of different views a sample has."""
    same = torch.eye(len(a), len(b), dtype=torch.bool, device=a.device)
    return a[:, None] & b[None] & ~same[..., None]
