"""Latent variables: what is needed to tell the answer, beyond what is seen, under a limit of capacity."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.models.transformer import Layers, initialise, positions
from mmssl.tokens import Place, Tokens

LOG_VARIANCES = (-10.0, 10.0)  # beyond, exp overflows in half precision


class Gaussian(NamedTuple):
    """Independent normal distributions."""

    mean: Float[Tensor, "B Z"]
    log_variance: Float[Tensor, "B Z"]

    def at(self, noise: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
        """The point that lies `noise` standard deviations from the mean."""
        return self.mean + noise * (0.5 * self.log_variance).exp()


def divergence(q: Gaussian, p: Gaussian) -> Float[Tensor, " B"]:
    """KL(q || p) in nats, summed over the Z dimensions."""
    squared = (q.mean - p.mean).square() / p.log_variance.exp()
    ratio = q.log_variance - p.log_variance
    return 0.5 * (squared + ratio.exp() - ratio - 1).sum(-1)


class Reader(nn.Module):
    """A question among tokens, through layers of its own, answered by a normal distribution."""

    def __init__(self, widths: dict[str, int], *, layers: int, width: int, heads: int, latent_width: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.ModuleDict({name: nn.Linear(size, width) for name, size in widths.items()})
        self.question = nn.Parameter(0.02 * torch.randn(width))
        self.layers = Layers(layers=layers, width=width, heads=heads, intermediate=4 * width)
        self.answer = nn.Linear(width, 2 * latent_width)
        initialise(self.project)
        nn.init.normal_(self.answer.weight, std=0.02)
        nn.init.zeros_(self.answer.bias)

    def forward(self, tokens: dict[str, Tokens]) -> Gaussian:
        parts = [self.project[name](part.value) + positions(part.place, self.width) for name, part in tokens.items()]
        documents = [part.place.document for part in tokens.values()]
        parts.insert(0, self.question.expand(len(parts[0]), 1, -1).to(parts[0].dtype))
        documents.insert(0, torch.zeros_like(documents[0][:, :1]))
        value = self.layers(torch.cat(parts, 1), torch.cat(documents, 1))[:, 0]
        mean, log_variance = self.answer(value).float().chunk(2, -1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCES))


class GaussianLatent(nn.Module):
    """z ~ q(z | x, y) in training, z ~ p(z | x) afterwards; KL(q || p) is what z costs (Denton & Fergus 2018,
    arXiv:1802.07687, eq. 1-2: the learned prior).
    """

    def __init__(
        self, widths: dict[str, int], answer_width: int, *, layers: int, width: int, heads: int, latent_width: int
    ) -> None:
        super().__init__()
        self.width = latent_width
        self.prior = Reader(widths, layers=layers, width=width, heads=heads, latent_width=latent_width)
        self.posterior = Reader(
            {**widths, "answer": answer_width}, layers=layers, width=width, heads=heads, latent_width=latent_width
        )

    def forward(
        self, sx: dict[str, Tokens], answer: Float[Tensor, "B M A"], place: Place
    ) -> tuple[Gaussian, Float[Tensor, " B"]]:
        """The posterior, and its cost in nats."""
        q = self.posterior({**sx, "answer": Tokens(answer, place)})
        return q, divergence(q, self.prior(sx))
