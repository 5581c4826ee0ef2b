"""A batch as it travels from the loader to the objective."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from mmssl.random import Draw


class Batch(NamedTuple):
    """`views` maps a modality to its views, each with B samples; `draw` holds the samples' seed, epoch and index."""

    views: dict[str, list[Tensor]]
    draw: Draw
    label: Int[Tensor, " B"] | None = None  # probes only; no objective reads it

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        views = {name: [view.to(device, non_blocking=True) for view in views] for name, views in self.views.items()}
        draw = Draw(self.draw.seed, self.draw.epoch.to(device), self.draw.index.to(device))
        return Batch(views, draw, None if self.label is None else self.label.to(device))
