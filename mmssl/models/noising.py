"""From data to noise and back: y is mixed with noise along a time, and a model that sees the mixture unmixes it.

Time runs from 0 (data) to 1 (noise). x_t = signal(t) * y + spread(t) * noise.
"""

from collections.abc import Callable
from itertools import pairwise
from math import pi
from typing import Literal, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

LOGIT_MEAN = LOGIT_DEVIATION = 0.8  # of the time in training (Li & He 2025, arXiv:2511.13720, section 4)
UNTAUGHT = 1e-3  # of the times in training are nearer to the data than a path ends
COSINE_OFFSET = 0.008  # Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17
Quantity = Literal["answer", "noise", "velocity"]
Time = Float[Tensor, " B"]


class Mix(NamedTuple):
    """How much of the answer and how much of the noise."""

    answer: Float[Tensor, "B 1 1"]
    noise: Float[Tensor, "B 1 1"]


class Parts(NamedTuple):
    """What a mixture consists of."""

    answer: Float[Tensor, "B M D"]
    noise: Float[Tensor, "B M D"]

    def mixed(self, mix: Mix) -> Float[Tensor, "B M D"]:
        """Their sum, each in its share."""
        return mix.answer * self.answer + mix.noise * self.noise


class Process(Protocol):
    """A way from data to noise; `rates` are the velocity's shares of both: signal * rates.noise - spread * rates.answer
    is 1, whatever the time.
    """

    @property
    def compared(self) -> Quantity: ...  # what the loss is the squared error of
    @property
    def ends(self) -> tuple[float, float]: ...  # the earliest and the latest time in training
    @property
    def is_second_order(self) -> bool: ...  # whether a step back in time is corrected where it leads to
    def times(self, uniform: Time) -> Time: ...  # from uniform numbers to times of training
    def scales(self, time: Time) -> Mix: ...
    def rates(self, time: Time) -> Mix: ...


class Flow(NamedTuple):
    """x_t = (1 - t) y + t noise, on a straight line; the loss is the velocity's (Lipman et al. 2022, arXiv:2210.02747,
    eq. 20-23 with sigma_min = 0, whose t is 1 - t here). Times of training are uniform or logit-normal.
    """

    is_logit_normal: bool = True
    compared: Quantity = "velocity"
    ends: tuple[float, float] = (0.05, 1.0)  # nearer to the data, 1 / t^2 weighs too much (Li & He, section 4)
    is_second_order: bool = True

    def times(self, uniform: Time) -> Time:
        if self.is_logit_normal:
            normal = torch.special.ndtri(uniform.double().clamp(1e-6, 1 - 1e-6))
            uniform = (LOGIT_MEAN + LOGIT_DEVIATION * normal).sigmoid().to(uniform.dtype)
        return between(self.ends, uniform)

    def scales(self, time: Time) -> Mix:
        return Mix(wide(1 - time), wide(time))

    def rates(self, time: Time) -> Mix:
        return Mix(wide(-torch.ones_like(time)), wide(torch.ones_like(time)))


class Ddpm(NamedTuple):
    """x_t on a circle, signal^2 falling as a cosine (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17); the loss is the
    noise's (Ho et al. 2020, arXiv:2006.11239, eq. 14); times are continuous.

    The velocity is that by the angle (Salimans & Ho 2022, arXiv:2202.00512, section 4).
    """

    compared: Quantity = "noise"
    ends: tuple[float, float] = (0.001, 0.98)  # at 1 nothing is left of the signal, so noise would not tell the answer
    is_second_order: bool = False

    def times(self, uniform: Time) -> Time:
        return between(self.ends, uniform)

    def scales(self, time: Time) -> Mix:
        first = torch.tensor(COSINE_OFFSET / (1 + COSINE_OFFSET) * pi / 2, dtype=time.dtype, device=time.device).cos()
        signal = ((time + COSINE_OFFSET) / (1 + COSINE_OFFSET) * pi / 2).cos() / first
        return Mix(wide(signal), wide((1 - signal.square()).clamp(min=0).sqrt()))

    def rates(self, time: Time) -> Mix:
        signal, spread = self.scales(time)
        return Mix(-spread, signal)


class Noising(NamedTuple):
    """A process, and the quantity that a model says; each of the three tells the other two, given the mixture."""

    process: Process
    says: Quantity

    def mixture(self, parts: Parts, time: Time) -> Float[Tensor, "B M D"]:
        """x_t."""
        return parts.mixed(self.process.scales(time))

    def parts(self, mixture: Float[Tensor, "B M D"], said: Float[Tensor, "B M D"], time: Time) -> Parts:
        """Answer and noise, by what a model says of the mixture, which they sum up to."""
        signal, spread = self.process.scales(time)
        if self.says == "answer":
            return Parts(said, (mixture - signal * said) / spread)
        if self.says == "noise":
            return Parts((mixture - spread * said) / signal, said)
        rates = self.process.rates(time)
        return Parts(rates.noise * mixture - spread * said, signal * said - rates.answer * mixture)

    def quantity(self, parts: Parts, time: Time) -> Float[Tensor, "B M D"]:
        """What the loss compares."""
        named = {"answer": Mix(wide(torch.ones_like(time)), wide(torch.zeros_like(time))),
                 "noise": Mix(wide(torch.zeros_like(time)), wide(torch.ones_like(time))),
                 "velocity": self.process.rates(time)}  # fmt: skip
        return parts.mixed(named[self.process.compared])

    def sampled(
        self, unmix: Callable[[Tensor, Time], Parts], noise: Float[Tensor, "B M D"], steps: int
    ) -> Float[Tensor, "B M D"]:
        """The answer that noise leads to, from the latest time to an early one and then to 0: a function of the noise.

        The early one is the quantile UNTAUGHT of training's times: nearer to the data, where logit-normal ones hardly
        ever lie, a model would be asked for what it never learned.

        A step goes on with the same answer and noise: Euler's of a flow, DDIM's with eta = 0 else (Song et al. 2020,
        arXiv:2010.02502, eq. 12); Heun's where it is of second order, but for the last (Karras et al. 2022,
        arXiv:2206.00364, algorithm 1).
        """
        earliest = float(self.process.times(torch.tensor([UNTAUGHT])))
        times = torch.linspace(self.process.ends[1], earliest, steps, device=noise.device)
        times = times[:, None].expand(steps, len(noise))
        mixture = noise
        for time, following in pairwise(times):
            found = unmix(mixture, time)
            ahead = self.mixture(found, following)
            if self.process.is_second_order:
                there = unmix(ahead, following)
                rate = found.mixed(self.process.rates(time)) + there.mixed(self.process.rates(following))
                ahead = mixture + wide(following - time) / 2 * rate
            mixture = ahead
        return unmix(mixture, times[-1]).answer


def between(ends: tuple[float, float], ratio: Time) -> Time:
    """From [0, 1] to the times in training."""
    return ends[0] + (ends[1] - ends[0]) * ratio


def wide(value: Time) -> Float[Tensor, "B 1 1"]:
    """One number for all tokens and features of a sample."""
    return value[:, None, None]
