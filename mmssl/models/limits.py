"""Limits of the capacity of z beside noise: few dimensions, or sparsity; each with a prior of what z is likely.

LeCun 2022, "A path towards autonomous machine intelligence", section 4, names four: noise (`latent.GaussianLatent`),
low dimension, sparsity, and discrete values (`discrete.DiscreteLatent`).
"""

from math import log, pi
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from mmssl.models.latent import EnergyOf, Inferred, Question, Seen, descended
from mmssl.tokens import Place, Tokens

COMPONENTS = 8  # of the prior: at most so many kinds of answers are told apart by it
LARGEST_LOG_VARIANCE = 4.0  # of a component of the prior
PRIOR_WEIGHT = 0.01  # of the prior's likelihood in the loss: it shares no weight with the rest


class Mixture(NamedTuple):
    """Mixtures of K independent normal distributions."""

    logits: Float[Tensor, "B K"]
    mean: Float[Tensor, "B K Z"]
    log_variance: Float[Tensor, "B K Z"]

    def log_probability(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
        """Of the density at z, in nats."""
        squared = (z[:, None] - self.mean).square() / self.log_variance.exp()
        each = -0.5 * (squared + self.log_variance + log(2 * pi)).sum(-1)
        return (log_softmax(self.logits, -1) + each).logsumexp(-1)

    def at(self, noise: Float[Tensor, "B W"]) -> Float[Tensor, "B Z"]:
        """A draw: the first number chooses the component, the other Z the point in it."""
        index = chosen(self.logits, torch.special.ndtr(noise[:, :1]))
        row = torch.arange(len(index), device=index.device)
        return self.mean[row, index] + noise[:, 1:] * (0.5 * self.log_variance[row, index]).exp()

    def likeliest(self) -> Float[Tensor, "B Z"]:
        """The mean of the component with the most weight."""
        row = torch.arange(len(self.logits), device=self.logits.device)
        return self.mean[row, self.logits.argmax(-1)]


class MixturePrior(nn.Module):
    """p(z | x), read off what is seen (Bishop 1994, "Mixture density networks"); no component is narrower than the
    channel's noise.
    """

    def __init__(
        self, widths: dict[str, int], *, layers: int, width: int, heads: int, latent_width: int, deviation: float
    ) -> None:
        super().__init__()
        self.latent_width, self.narrowest = latent_width, 2 * log(deviation)
        out = COMPONENTS * (1 + 2 * latent_width)
        self.question = Question(widths, layers=layers, width=width, heads=heads, out=out)
        # components begin at different points, else they would stay the same
        with torch.no_grad():
            nn.init.normal_(self.question.answer.bias[COMPONENTS : COMPONENTS * (1 + latent_width)], std=0.5)

    def forward(self, sx: Seen) -> Mixture:
        logits, rest = self.question(sx).tensor_split([COMPONENTS], -1)
        mean, log_variance = rearrange(rest, "b (two k z) -> two b k z", two=2, k=COMPONENTS)
        return Mixture(logits, mean, log_variance.clamp(self.narrowest, LARGEST_LOG_VARIANCE))


class NoisyLatent(nn.Module):
    """z = a point that the posterior names, plus noise of a fixed deviation: without it any real number would tell all.

    What z tells is at most E[log q(z | x, y) - log p(z | x)] nats, q = N(point, deviation^2), p a learned mixture,
    which is fitted to z and gives no gradient to anything else.
    """

    bound: float = torch.inf  # of the point's coordinates

    def __init__(
        self, widths: dict[str, int], answer_width: int, *, layers: int, width: int, heads: int, latent_width: int,
        deviation: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width = self.noise_width = latent_width
        self.prior_width, self.deviation = 1 + latent_width, deviation
        sizes = {"layers": layers, "width": width, "heads": heads}
        self.posterior = Question({**widths, "answer": answer_width}, out=latent_width, **sizes)
        self.prior = MixturePrior(widths, latent_width=latent_width, deviation=deviation, **sizes)

    def point(self, value: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
        """The point that the posterior's answer stands for."""
        return value

    def cost(self, point: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
        """What a point costs, in the energy's units."""
        return torch.zeros_like(point[:, 0])

    def forward(self, sx: Seen, answer: Float[Tensor, "B M A"], place: Place, noise: Tensor | None = None) -> Inferred:
        point = self.point(self.posterior({**sx, "answer": Tokens(answer, place)}))
        shift = torch.zeros_like(point) if noise is None else noise
        z = point + self.deviation * shift
        told = -0.5 * (shift.square() + 2 * log(self.deviation) + log(2 * pi)).sum(-1)
        expected = self.prior(detached(sx)).log_probability(z.detach())
        return Inferred(z, self.cost(point), told - expected, {"prior": -PRIOR_WEIGHT * expected})

    def drawn(self, sx: Seen, noise: Float[Tensor, "B W"] | None = None) -> Float[Tensor, "B Z"]:
        prior = self.prior(sx)
        return prior.likeliest() if noise is None else prior.at(noise)

    def minimum(self, energy: EnergyOf, sx: Seen, found: Inferred, steps: int) -> Float[Tensor, " B"]:
        return descended(lambda z: energy(z) + self.cost(z), found.z, steps, self.bound)

    def settle(self) -> None:
        """It notes nothing."""


class NarrowLatent(NoisyLatent):
    """Few dimensions: z in [-1, 1]^Z, so that Z limits what it can tell."""

    bound = 1.0

    def point(self, value: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
        return value.tanh()


class SparseLatent(NoisyLatent):
    """Sparsity: cost(z) = weight * sum |z|, in units of the noise's deviation (Olshausen & Field 1996). The noise keeps
    z from being made small, and its weights in the predictor large, at no cost.
    """

    def __init__(self, *arguments: object, weight: float, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.weight = weight

    def cost(self, point: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
        return self.weight / self.deviation * point.abs().sum(-1)


def chosen(logits: Float[Tensor, "B K"], point: Float[Tensor, "B 1"]) -> Int[Tensor, " B"]:
    """The index that each uniform number in [0, 1] falls on."""
    return (logits.softmax(-1).cumsum(-1) < point).sum(-1).clamp(max=logits.shape[1] - 1)


def detached(sx: Seen) -> Seen:
    """What is seen, without gradient."""
    return {name: tokens._replace(value=tokens.value.detach()) for name, tokens in sx.items()}
