"""Pixels read off embeddings, for methods whose predictions nobody can look at.

A linear map, fitted afterwards: what it shows is what a prediction has in common with pictures, not what the model
says itself.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mmssl.batch import Batch
from mmssl.evaluate.completion import predictive
from mmssl.objectives import Objective, Predictive
from mmssl.tokens import at

NAME = "image"
PENALTY = 1e-3  # of a squared weight, for each patch that is fitted


class Readout(NamedTuple):
    """The patch that belongs to an embedding."""

    weight: Float[Tensor, "F D"]  # F = E + 1: the last row is the constant

    def __call__(self, embedding: Float[Tensor, "B M E"]) -> Float[Tensor, "B M D"]:
        return (with_one(embedding) @ self.weight).float()


def with_one(embedding: Float[Tensor, "*B E"]) -> Float[Tensor, "*B F"]:
    """In float64, with a 1 behind, so that a linear map has a constant."""
    return torch.cat([embedding.double(), torch.ones_like(embedding[..., :1], dtype=torch.float64)], -1)


def ridge(x: Float[Tensor, "N F"], y: Float[Tensor, "N D"]) -> Readout:
    """The map of the least mean squared error plus PENALTY times the squared weights, that of the constant left out."""
    penalty = torch.full((x.shape[1],), PENALTY * len(x), dtype=x.dtype, device=x.device)
    penalty[-1] = 0
    return Readout(torch.linalg.lstsq(x.T @ x + torch.diag(penalty), x.T @ y).solution)


@torch.no_grad()
def readout_of(objective: Objective, batches: Iterable[Batch]) -> Readout | None:
    """From the target's embedding of each patch to its pixels; None where predictions can be looked at as they are, or
    are no embeddings.
    """
    part = predictive(objective)
    if not isinstance(part, Predictive) or NAME not in part.answered:
        return None
    objective.eval()
    embeddings, patches = [], []
    for batch in batches:
        tokens, seen, hidden = part.corrupted(batch)
        if not patches and is_shown(part, tokens, seen, hidden):
            return None
        embeddings.append(with_one(rearrange(part.target(tokens)[NAME].value, "b n e -> (b n) e")))
        patches.append(rearrange(tokens[NAME].value, "b n d -> (b n) d").double())
    return ridge(torch.cat(embeddings), torch.cat(patches)) if patches else None


def is_shown(part: Predictive, tokens: dict, seen: dict, hidden: dict) -> bool:
    """Whether the model's own predictions can be looked at."""
    prediction, place = part.predict(seen, hidden)[NAME], hidden[NAME]
    return part.patches_of(prediction, at(tokens[NAME], place), place) is not None
