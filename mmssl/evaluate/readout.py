"""Pixels read off embeddings, for methods whose predictions nobody can look at.

A linear map, fitted afterwards to frozen features: what it shows is what a prediction has in common with pictures,
clips or spectrograms, not what the model says itself.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mmssl.batch import Batch
from mmssl.evaluate.completion import cut_of, predictive
from mmssl.objectives import Objective, Predictive
from mmssl.tokens import Place, Tokens, at

Tokenized = dict[str, Tokens]
PENALTY = 1e-3  # of a squared weight, for each patch that is fitted


class Readout(NamedTuple):
    """The patch that belongs to an embedding."""

    weight: Float[Tensor, "F D"]  # F = E + 1: the last row is the constant

    def __call__(self, embedding: Float[Tensor, "B M E"]) -> Float[Tensor, "B M D"]:
        return (with_one(embedding) @ self.weight).float()


def with_one(embedding: Float[Tensor, "*B E"]) -> Float[Tensor, "*B F"]:
    """In float64, with a 1 behind, so that a linear map has a constant."""
    return torch.cat([embedding.double(), torch.ones_like(embedding[..., :1], dtype=torch.float64)], -1)


class Normal(NamedTuple):
    """The normal equations of a linear map x -> y, summed over patches, so that memory does not grow with them."""

    squares: Float[Tensor, "F F"]
    products: Float[Tensor, "F D"]
    patches: int

    def plus(self, other: "Normal | None") -> "Normal":
        """Those of the patches of both."""
        if other is None:
            return self
        return Normal(self.squares + other.squares, self.products + other.products, self.patches + other.patches)


def normal(x: Float[Tensor, "N F"], y: Float[Tensor, "N D"]) -> Normal:
    """Those of some patches."""
    return Normal(x.T @ x, x.T @ y, len(x))


def ridge(sums: Normal) -> Readout:
    """The map of the least mean squared error plus PENALTY times the squared weights, that of the constant left out."""
    penalty = torch.full_like(sums.squares[0], PENALTY * sums.patches)
    penalty[-1] = 0
    return Readout(torch.linalg.lstsq(sums.squares + torch.diag(penalty), sums.products).solution)


@torch.no_grad()
def readouts_of(objective: Objective, batches: Iterable[Batch]) -> dict[str, Readout]:
    """Of each modality from the target's embedding of a patch to the patch itself; without those whose predictions can
    be looked at as they are, or are no embeddings.
    """
    part = predictive(objective)
    if not isinstance(part, Predictive):
        return {}
    objective.eval()
    sums: dict[str, Normal] = {}
    for batch in batches:
        tokens, seen, hidden = part.corrupted(batch)
        names = sums or [name for name in hidden if needs_decoder(part, name, tokens, seen, hidden)]
        if not names:
            return {}
        target = part.target(tokens)
        for name in names:
            x = with_one(rearrange(target[name].value, "b n e -> (b n) e"))
            y = rearrange(tokens[name].value, "b n d -> (b n) d").double()
            sums[name] = normal(x, y).plus(sums.get(name))
    return {name: ridge(found) for name, found in sums.items()}


def needs_decoder(part: Predictive, name: str, tokens: Tokenized, seen: Tokenized, hidden: dict[str, Place]) -> bool:
    """Whether what the model predicts of a modality cannot be looked at as it is."""
    if cut_of(part, name) is None:
        return False
    prediction, place = part.predict(seen, hidden)[name], hidden[name]
    return part.patches_of(prediction, at(tokens[name], place), place) is None
