"""Predict codes of what is hidden, and draw one picture of codes after another."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot
from torch.special import ndtr

from mmssl.models.target import Codes
from mmssl.objectives.base import Noise
from mmssl.objectives.predictive import Predictive
from mmssl.tokens import Place, Tokens, joined

SURE = 30.0  # the logit of a code that was drawn, above all others


class SampledCodes(Predictive):
    """F(x, y) = -log p(codes of y | x), the mean over hidden places, as if these were independent.

    They are not, so that each of several answers is drawn in `rounds`: some places, in an order that is drawn, then
    given their patches some more (Chang et al. 2022, arXiv:2202.04200, section 3.2, who take the surest places first;
    here equal shares of a random order: with as many rounds as places that is exact ancestral sampling). Nothing is
    said of bits: there is no latent variable whose capacity is limited.
    """

    target: Codes

    def __init__(self, *, target: Codes, rounds: int, **parts: Any) -> None:
        super().__init__(target=target, **parts)
        self.rounds, self.has_latent = rounds, True

    def predict(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], noise: Noise | None = None
    ) -> dict[str, Float[Tensor, "B M K"]]:
        """Logits over the codes at each place by itself; with noise those of a draw of all of them together, nearly
        all probability on one code.
        """
        if noise is None:
            return super().predict(seen, hidden)
        ((name, place),) = hidden.items()
        codes = self.drawn(name, seen, place, noise)
        return {name: SURE * one_hot(codes, self.target.tokenizer.num_codes).float()}

    def drawn(self, name: str, seen: dict[str, Tokens], place: Place, noise: Noise) -> Int[Tensor, "B M"]:
        """Codes of the hidden places, some at a time."""
        count = place.position.shape[1]
        turn, chance = ndtr(noise(2 * count).double()).split(count, 1)
        order = turn.argsort(1)
        asked = Place(place.position.gather(1, order), place.document.gather(1, order), place.grid)

        codes, known = order[:, :0], seen[name]
        for share in torch.arange(count).tensor_split(min(self.rounds, count)):
            start, end = int(share[0]), int(share[-1]) + 1
            # what is drawn is seen from now on
            sx = self.encoded({**seen, name: known}, {name: between(asked, start, count)})
            logits = self.by_name[name].predict(sx, known, between(asked, start, end))
            codes = torch.cat([codes, inverse(logits, chance[:, start:end])], 1)
            there = between(asked, 0, end)
            known = joined(seen[name], Tokens(self.target.tokenizer.patches(codes, there), there))
        return codes.gather(1, order.argsort(1))


def between(place: Place, start: int, end: int) -> Place:
    """A part of the places."""
    return Place(place.position[:, start:end], place.document[:, start:end], place.grid)


def inverse(logits: Float[Tensor, "B M K"], chance: Float[Tensor, "B M"]) -> Int[Tensor, "B M"]:
    """The first code at which the cumulative probability exceeds a number in [0, 1]."""
    cumulative = logits.double().softmax(-1).cumsum(-1)
    found = torch.searchsorted(cumulative, chance[..., None] * cumulative[..., -1:], right=True)
    return found[..., 0].clamp(max=logits.shape[-1] - 1)
