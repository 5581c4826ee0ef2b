"""Vector quantisation: the nearest of K vectors, which follow what they are nearest to."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmssl.distributed import gather

DECAY = 0.99  # of the moving averages
DEAD = 0.05  # of the mean size of a cluster: below it a code is placed anew


class Quantised(NamedTuple):
    """The nearest codes."""

    index: Int[Tensor, " B"]
    value: Float[Tensor, "B Z"]  # of the code; its gradient is handed on to what was quantised
    distance: Float[Tensor, " B"]  # mean squared, to the code, which gets no gradient of it


class Codebook(nn.Module):
    """K vectors as moving averages of those that they are nearest to (van den Oord et al. 2017, arXiv:1711.00937, eq.
    1-3 and appendix A.1). A code that hardly any vector is nearest to is put on the vector that lies furthest from its
    code. They change after the step only, alike on all processes.
    """

    centres: Float[Tensor, "K Z"]
    size: Float[Tensor, " K"]
    total: Float[Tensor, "K Z"]

    def __init__(self, num_codes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.randn(num_codes, width))
        self.register_buffer("size", torch.zeros(num_codes))
        self.register_buffer("total", torch.zeros(num_codes, width))
        self.noted: list[Tensor] = []

    def forward(self, value: Float[Tensor, "B Z"]) -> Quantised:
        value = value.float()
        index = self.nearest(value.detach())
        centre = self.centres[index]
        if self.training:
            self.noted.append(gather(value.detach()))
        return Quantised(index, value + (centre - value).detach(), (value - centre).square().mean(-1))

    def nearest(self, value: Float[Tensor, "B Z"]) -> Int[Tensor, " B"]:
        """The number of the nearest code."""
        return (self.centres.square().sum(-1) - 2 * value @ self.centres.T).argmin(-1)

    @torch.no_grad()
    def settle(self) -> None:
        """Take over what training forwards noted."""
        if not self.noted:
            return
        value = torch.cat(self.noted)
        self.noted.clear()
        index = self.nearest(value)
        count = torch.bincount(index, minlength=len(self.size)).float()
        self.size.lerp_(count, 1 - DECAY)
        self.total.lerp_(torch.zeros_like(self.total).index_add_(0, index, value), 1 - DECAY)
        self.centres.copy_(torch.where(self.size[:, None] > 0, self.total / self.size[:, None], self.centres))
        self.revive(value, index)

    def revive(self, value: Float[Tensor, "B Z"], index: Int[Tensor, " B"]) -> None:
        """Put the codes that are hardly used where codes are lacking, as large as the mean one."""
        mean = self.size.mean()
        dead = (self.size < DEAD * mean).nonzero()[:, 0][: len(value)]
        furthest = (value - self.centres[index]).square().sum(-1).argsort(descending=True, stable=True)[: len(dead)]
        self.centres[dead] = value[furthest]
        self.size[dead] = mean
        self.total[dead] = mean * value[furthest]
