"""Several answers: do samples cover those that there can be, and nothing else?"""

from math import comb, floor
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEAR = 0.2  # of the squared distance to the nearest other future: the mean of two lies at 0.25, so it is neither


class Scored(NamedTuple):
    """What is said of the samples of one clip."""

    coverage: float  # share of the futures that a sample shows
    precision: float  # share of the samples that show a future
    total_variation: float  # between the samples' frequencies and the true probabilities


def nearness(
    samples: Float[Tensor, "S D"], futures: Float[Tensor, "K D"]
) -> tuple[Int[Tensor, " S"], Float[Tensor, " S"]]:
    """The future nearest to each sample, and the squared distance to it as a share of that future's to its nearest
    other one; only pixels in which the futures differ are compared.
    """
    differs = (futures != futures[:1]).any(0)
    samples, futures = samples[:, differs].double(), futures[:, differs].double()
    apart = torch.cdist(futures, futures).square().fill_diagonal_(torch.inf).min(1).values
    distance = torch.cdist(samples, futures).square()
    nearest = distance.argmin(1)
    return nearest, distance.gather(1, nearest[:, None])[:, 0] / apart[nearest]


def matched(
    samples: Float[Tensor, "S D"], futures: Float[Tensor, "K D"], mean: Float[Tensor, " D"] | None = None
) -> Int[Tensor, " S"]:
    """The future that each sample shows, -1 where none: the nearest one if the share of `nearness` is below NEAR, and
    if the sample is nearer to it than to a mean of all, where one is given.
    """
    nearest, share = nearness(samples, futures)
    is_shown = share < NEAR
    if mean is not None:
        own, others = (samples.double() - futures[nearest].double()).square(), (samples - mean).double().square()
        is_shown &= own.sum(1) < others.sum(1)
    return torch.where(is_shown, nearest, -1)


def scored(
    samples: Float[Tensor, "S D"], futures: Float[Tensor, "K D"], probability: Float[Tensor, " K"],
    mean: Float[Tensor, " D"] | None = None,
) -> Scored:  # fmt: skip
    """Coverage, precision and calibration of the samples of one clip whose futures are K > 1 different ones.

    The samples that show no future are a kind of their own, of true probability 0.
    """
    shown = matched(samples, futures, mean)
    count = torch.bincount(shown + 1, minlength=len(futures) + 1).double()
    truth = torch.cat([torch.zeros(1, dtype=torch.float64), probability.double()])
    variation = 0.5 * (count / len(samples) - truth).abs().sum()
    return Scored(float((count[1:] > 0).double().mean()), float(1 - count[0] / len(samples)), float(variation))


def expected_coverage(probability: Float[Tensor, " K"], samples: int) -> float:
    """The coverage that draws from the truth itself reach on average."""
    return float((1 - (1 - probability.double()) ** samples).mean())


def expected_total_variation(probability: Float[Tensor, " K"], samples: int) -> float:
    """The total variation between the frequencies of draws from the truth itself and the truth, on average: half the
    sum of the mean absolute deviations of binomial counts, 2 m C(n, m) p^m (1 - p)^(n - m + 1) with m = floor(n p) + 1
    (de Moivre 1730; Diaconis & Zabell 1991, "Closed form summation for classical distributions", eq. 1.1).
    """
    deviations = []
    for p in probability.double().tolist():
        above = min(floor(samples * p) + 1, samples)  # of p = 1 the last factor is 0
        deviations.append(2 * above * comb(samples, above) * p**above * (1 - p) ** (samples - above + 1))
    return sum(deviations) / (2 * samples)
