"""What a denoising autoencoder is shown: all of a sample, some or all of its numbers noisy; all of it is asked for.

Functions (Tokens, Draw) -> (noisy Tokens, all places), after Vincent et al. 2010 (JMLR 11, section 3.3). Counts are
exact: every sample has as many noisy numbers, and each is drawn by `random.py`, keyed by sample.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmssl.corruption import Corruption
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

Spoil = Callable[[Float[Tensor, "B N D"], Draw], Float[Tensor, "B N D"]]


def masking_noise(ratio: float) -> Corruption:
    """round(ratio * numbers) single numbers become 0, whichever they are (Vincent et al. 2008, section 2.3)."""
    return noisy(lambda value, draw: torch.where(chosen(value, ratio, draw), 0.0, value))


def gaussian_noise(deviation: float) -> Corruption:
    """Normal noise of this deviation, in the input's units, upon every number."""
    return noisy(lambda value, draw: value + deviation * draw.normal("corruption", *value.shape[1:]))


def salt_and_pepper_noise(ratio: float, lowest: float, highest: float) -> Corruption:
    """round(ratio * numbers) single numbers become the lowest or the highest there is, by a fair coin."""

    def spoil(value: Float[Tensor, "B N D"], draw: Draw) -> Float[Tensor, "B N D"]:
        coin = torch.where(draw.uniform("salt", *value.shape[1:]) < 0.5, lowest, highest)
        return torch.where(chosen(value, ratio, draw), coin, value)

    return noisy(spoil)


def signal_to_noise(low: float, high: float) -> Corruption:
    """Normal noise upon every number, at a signal-to-noise ratio drawn for each sample uniformly from `low` to `high`
    decibels; the signal's power is the variance of all its numbers. What has no variance stays as it is.
    """

    def spoil(value: Float[Tensor, "B N D"], draw: Draw) -> Float[Tensor, "B N D"]:
        ratio = low + (high - low) * draw.uniform("signal_to_noise", 1, 1)
        deviation = value.float().std((1, 2), keepdim=True, correction=0) * 10 ** (-ratio / 20)
        return value + deviation * draw.normal("corruption", *value.shape[1:])

    return noisy(spoil)


def noisy(spoil: Spoil) -> Corruption:
    """All tokens are seen, noisy, and all are asked for."""

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        return Tokens(spoil(tokens.value, draw), tokens.place), tokens.place

    return corrupt


def chosen(value: Float[Tensor, "B N D"], ratio: float, draw: Draw) -> Bool[Tensor, "B N D"]:
    """Exactly round(ratio * numbers) of each sample's numbers, each set of them equally likely."""
    order = draw.uniform("corruption", value[0].numel()).argsort(dim=1, stable=True)
    first = order[:, : round(ratio * order.shape[1])]
    return torch.zeros_like(order, dtype=torch.bool).scatter(1, first, True).reshape(value.shape)
