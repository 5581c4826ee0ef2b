"""What follows a sound for an instant, told from the sound itself: linear prediction."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ORDER = 32  # earlier samples that a sample is told from, at most
SMALLEST = 1e-12  # of a power that is divided by


def runs(chosen: Bool[Tensor, " T"]) -> list[tuple[int, int]]:
    """(first, one past the last) of each run of chosen samples."""
    edges = torch.nn.functional.pad(chosen.long(), (1, 1)).diff()
    return list(zip((edges == 1).nonzero()[:, 0].tolist(), (edges == -1).nonzero()[:, 0].tolist(), strict=True))


def coefficients(past: Float[Tensor, " T"], order: int) -> tuple[Float[Tensor, " P"], Float[Tensor, ""]]:
    """(a with past[n] ~ -sum_k a[k] past[n - 1 - k], the error's deviation), by Burg's method (1975), under which no
    extrapolation grows.
    """
    ahead = behind = past.double()
    found = ahead.new_ones(1)
    for _ in range(order):
        ahead, behind = ahead[1:], behind[:-1]
        power = (ahead.square() + behind.square()).sum() + SMALLEST
        reflection = -2 * (ahead * behind).sum() / power
        longer = torch.nn.functional.pad(found, (0, 1))
        found = longer + reflection * longer.flip(0)
        ahead, behind = ahead + reflection * behind, behind + reflection * ahead
    return found[1:], ((ahead.square() + behind.square()).mean() / 2).sqrt()


def extrapolated(past: Float[Tensor, " T"], noise: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """What linear prediction of the past goes on with, driven by an error as large as that in the past: `noise` of
    deviation 1. So a tone goes on as a tone and a hiss as a hiss. Silence after too short a past.
    """
    order = min(ORDER, len(past) // 3)
    if not order:
        return torch.zeros_like(noise)
    weight, deviation = coefficients(past, order)
    weight, error = -weight.flip(0), deviation * noise.double()
    found = torch.cat([past.double()[len(past) - order :], error])
    for number in range(order, len(found)):
        found[number] += weight @ found[number - order : number]
    return found[order:].float()
