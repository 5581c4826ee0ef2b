"""What an error of reconstruction weighs beside what z costs."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.distributed import mean_over_processes


class SquaredOutput(nn.Module):
    """z's cost is in the units of the energy, the mean squared error of a number."""

    def deviation(self) -> Float[Tensor, ""] | float:
        """By which a seen number is trusted."""
        return 0.0

    def price(self, numbers: int) -> Float[Tensor, ""] | float:
        """What a unit of z's cost weighs beside the mean squared error of so many numbers."""
        return 1.0

    def note(self, energy: Float[Tensor, " B"]) -> None:
        """The energy of a forward; only while training it is kept."""

    def settle(self) -> None:
        """After a step: what was noted is taken over."""


class NormalOutput(SquaredOutput):
    """Each number of a sample is normal around the decoder's answer with one deviation, so z's cost is in nats.

    -log p(y | z) = D (energy / (2 deviation^2) + log deviation + log(2 pi) / 2) of D numbers, so the loss energy +
    2 deviation^2 / D * cost is the negative bound up to a factor and a constant. With `deviation` 0 it follows the
    training error, which is its most likely value (Rybkin et al. 2021, arXiv:2006.13202, section 3.2; there of each
    batch, here a mean over about 10 steps).
    """

    variance: Float[Tensor, ""]

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.is_learnt, self.momentum = deviation == 0, 0.9
        self.register_buffer("variance", torch.tensor(deviation**2 if deviation else 1.0))
        self.noted: list[Tensor] = []

    def deviation(self) -> Float[Tensor, ""]:
        return self.variance.sqrt()

    def price(self, numbers: int) -> Float[Tensor, ""]:
        return 2 * self.variance / numbers

    def nats(self, energy: Float[Tensor, " B"], numbers: int) -> Float[Tensor, " B"]:
        """-log p(y | z) of each sample."""
        return energy / self.price(numbers) + 0.5 * numbers * (2 * math.pi * self.variance).log()

    def note(self, energy: Float[Tensor, " B"]) -> None:
        if self.is_learnt and self.training:
            self.noted.append(energy.detach().mean())

    @torch.no_grad()
    def settle(self) -> None:
        if self.noted:
            self.variance.lerp_(mean_over_processes(torch.stack(self.noted).mean()), 1 - self.momentum)
            self.noted.clear()
