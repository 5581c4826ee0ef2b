"""Codes: how z is made of an encoder's embeddings, and what it costs.

The protocol is `Code`; `Autoencoding` gives what a code makes to a decoder that sees nothing else.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.models.latent import LOG_VARIANCES, Gaussian, divergence
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, mean_token

Cost = Callable[[Tokens], Float[Tensor, " B"]]


class Coded(NamedTuple):
    """z of each sample: one token of the whole picture, or one for each of its places."""

    z: Tokens  # what the decoder is given
    cost: Float[
        Tensor, " B"
    ]  # of z: a part of the energy, in the units of the code's `Output` (nats, or squared error)
    nats: Float[Tensor, " B"] | None = None  # what z tells of the sample; None where that is not known
    terms: dict[str, Float[Tensor, " B"]] = {}  # more of the loss, by their suffix; no part of the energy  # noqa: RUF012


class Code(nn.Module):
    """What every code is."""

    width: int  # of z's tokens

    def forward(self, sx: Tokens, patches: Tokens, draw: Draw | None) -> Coded:
        """z of whole samples, with gradient: drawn by `draw`, or the most likely one where it is None.

        `sx` are the encoder's embeddings of `patches`.
        """
        raise TypeError(f"{type(self).__name__} defines no forward")

    def noise_width(self, place: Place) -> int:
        """How many normal numbers a draw of the prior takes, for a sample of these places; 0 where it has none."""
        return 0

    def inferred(
        self, sx: Tokens, patches: Tokens, place: Place, noise: Float[Tensor, "B W"] | None, error: Cost
    ) -> Tokens:
        """z of samples of which only a part was encoded: that which makes `error` + cost small, without gradient.

        `sx` are the embeddings of the seen `patches`, `place` are all places, `error` says in the units of cost how far
        z is from the seen patches, `noise` chooses one of several answers (default: the most likely one).
        """
        raise TypeError(f"{type(self).__name__} defines no inference")

    def settle(self) -> None:
        """After a step: what training forwards noted is taken over."""


class GaussianCode(Code):
    """z ~ N(mean, variance), both linear in the embeddings, held near N(0, 1) (Kingma & Welling 2013, arXiv:1312.6114,
    appendix B): one z of the mean embedding, or, `spatial`, one for each place.

    cost = weight * max(0, KL - free) in nats of the whole sample. With noise, inference starts from a draw of the
    prior, which then takes the prior's mean's place in z's cost: where the decoder is linear (and the seen numbers have
    their noise added) its answers are exact draws from p(z | x) (Bardsley et al. 2014, "randomize-then-optimize").
    """

    def __init__(
        self, encoder_width: int, latent_width: int, *, spatial: bool, weight: float, free: float = 0.0, steps: int = 50
    ) -> None:
        super().__init__()
        self.width, self.spatial, self.weight, self.free, self.steps = latent_width, spatial, weight, free, steps
        self.rate = 0.5  # of Adam, in deviations of the prior; it falls to 0
        self.answer = nn.Linear(encoder_width, 2 * latent_width)
        nn.init.normal_(self.answer.weight, std=encoder_width**-0.5)
        nn.init.zeros_(self.answer.bias)

    def posterior(self, sx: Tokens) -> tuple[Gaussian, Place]:
        """q(z | x), all tokens of z in one row, and their places."""
        value, place = sx.value, sx.place
        if not self.spatial:
            value, place = mean_token(sx)[:, None], whole(place)
        mean, log_variance = rearrange(self.answer(value).float(), "b n (two z) -> two b (n z)", two=2)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCES)), place

    def tokens(self, z: Float[Tensor, "B W"], place: Place) -> Tokens:
        """A row as tokens."""
        return Tokens(rearrange(z, "b (n z) -> b n z", z=self.width), place)

    def forward(self, sx: Tokens, patches: Tokens, draw: Draw | None) -> Coded:
        q, place = self.posterior(sx)
        nats = divergence(q, Gaussian(torch.zeros_like(q.mean), torch.zeros_like(q.mean)))
        z = q.mean if draw is None else q.at(draw.normal("z", q.mean.shape[1]))
        return Coded(self.tokens(z, place), self.weight * (nats - self.free).clamp(min=0), nats)

    def noise_width(self, place: Place) -> int:
        return self.width * (place.position.shape[1] if self.spatial else 1)

    def inferred(
        self, sx: Tokens, patches: Tokens, place: Place, noise: Float[Tensor, "B W"] | None, error: Cost
    ) -> Tokens:
        q, known = self.posterior(sx)
        place = place if self.spatial else known
        centre = torch.zeros(len(q.mean), self.noise_width(place), device=q.mean.device) if noise is None else noise
        start = centre
        if noise is None:  # the encoder's guess where something is seen, the prior's elsewhere
            index = repeat(known.position, "b n -> b n z", z=self.width)
            start = self.tokens(centre, place).value.scatter(1, index, self.tokens(q.mean, known).value).flatten(1)

        def energy(z: Tensor) -> Tensor:
            return error(self.tokens(z, place)) + self.weight * 0.5 * (z - centre).square().sum(1)

        return self.tokens(descended(start, energy, self.steps, self.rate), place)


def whole(place: Place) -> Place:
    """The place of a token that stands for a whole sample."""
    return Place(torch.zeros_like(place.position[:, :1]), place.document[:, :1], (1,))


def descended(
    start: Float[Tensor, "B W"], energy: Callable[[Tensor], Tensor], steps: int, rate: float
) -> Float[Tensor, "B W"]:
    """Where so many steps of Adam down an energy lead, each sample by itself; the rate falls to 0 in a line."""
    with torch.enable_grad():
        z = start.detach().float().clone().requires_grad_()
        stepper = torch.optim.Adam([z], lr=rate, betas=(0.8, 0.9))  # it forgets soon: steps are few
        for step in range(steps):
            (z.grad,) = torch.autograd.grad(energy(z).sum(), z)
            stepper.param_groups[0]["lr"] = rate * (1 - step / steps)
            stepper.step()
    return z.detach()
