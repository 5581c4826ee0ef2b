"""A batch as it travels from the loader to the objective."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mmssl.random import Draw


class Batch(NamedTuple):
    """`views` maps a modality to its views, each with B samples; `draw` holds the samples' seed, epoch and index.

    Where samples may lack a modality, the one view "MODALITY.present" (B,) says which have it.
    """

    views: dict[str, list[Tensor]]
    draw: Draw
    label: Int[Tensor, " B"] | None = None  # probes only; no objective reads it

    def present(self, name: str) -> Bool[Tensor, " B"]:
        """Which samples have this modality."""
        given = self.views.get(f"{name}.present")
        return torch.ones_like(self.draw.index, dtype=torch.bool) if given is None else given[0]

    def chosen(self, rows: Bool[Tensor, " B"] | Int[Tensor, " A"]) -> "Batch":
        """Some of the samples, by a mask or by their places."""
        views = {name: [view[rows] for view in views] for name, views in self.views.items()}
        draw = Draw(self.draw.seed, self.draw.epoch[rows], self.draw.index[rows])
        return Batch(views, draw, None if self.label is None else self.label[rows])

    def times(self, count: int) -> "Batch":
        """The same samples `count` times, one batch after another, each with draws of its own: of the epoch
        epoch * count + turn. Of the views those are left that say which samples have a modality.
        """
        if count == 1:
            return self
        views = {name: [torch.cat(views * count)] for name, views in self.views.items() if name.endswith(".present")}
        return Batch(views, self.draw.times(count))

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        views = {name: [view.to(device, non_blocking=True) for view in views] for name, views in self.views.items()}
        return Batch(views, self.draw.to(device), None if self.label is None else self.label.to(device))
