"""Grids whose tokens know where they lie, and the draws that hide some of them."""

from math import prod

import torch

from mmssl.random import Draw
from mmssl.tokens import Place, Tokens


def draws(count: int, seed: int = 0, epoch: int = 0) -> Draw:
    """The draws of samples 0, 1, 2 ..."""
    return Draw(seed, torch.full((count,), epoch), torch.arange(count))


def whole(count: int, grid: tuple[int, ...]) -> Tokens:
    """Tokens that hold their own position."""
    position = torch.arange(prod(grid)).expand(count, -1)
    return Tokens(position[..., None].float(), Place(position, torch.zeros_like(position), grid))
