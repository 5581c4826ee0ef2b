"""Several futures: do samples of a model cover those that can happen, and nothing else?

The built-in world lists every continuation of a clip with its probability, so samples are compared with the truth.
"""

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


def matched(samples: Float[Tensor, "S D"], futures: Float[Tensor, "K D"]) -> Int[Tensor, " S"]:
    """The future that each sample shows, -1 where none; only pixels in which the futures differ are compared.

    A sample shows the nearest future if its squared distance is below NEAR of that future's to its nearest other one.
    """
    differs = (futures != futures[:1]).any(0)
    samples, futures = samples[:, differs].double(), futures[:, differs].double()
    apart = torch.cdist(futures, futures).square().fill_diagonal_(torch.inf).min(1).values
    distance = torch.cdist(samples, futures).square()
    nearest = distance.argmin(1)
    is_near = distance.gather(1, nearest[:, None])[:, 0] < NEAR * apart[nearest]
    return torch.where(is_near, nearest, -1)


def scored(samples: Float[Tensor, "S D"], futures: Float[Tensor, "K D"], probability: Float[Tensor, " K"]) -> Scored:
    """Coverage, precision and calibration of the samples of one clip whose futures are K > 1 different ones.

    The samples that show no future are a kind of their own, of true probability 0.
    """
    shown = matched(samples, futures)
    count = torch.bincount(shown + 1, minlength=len(futures) + 1).double()
    truth = torch.cat([torch.zeros(1, dtype=torch.float64), probability.double()])
    variation = 0.5 * (count / len(samples) - truth).abs().sum()
    return Scored(float((count[1:] > 0).double().mean()), float(1 - count[0] / len(samples)), float(variation))


def psnr(prediction: Float[Tensor, "*A"], truth: Float[Tensor, "*A"]) -> float:
    """Peak signal-to-noise ratio in dB of pixels in [0, 1]."""
    return float(-10 * (prediction.double() - truth.double()).square().mean().clamp(min=1e-10).log10())


def expected_coverage(probability: Float[Tensor, " K"], samples: int) -> float:
    """The coverage that draws from the truth itself reach on average."""
    return float((1 - (1 - probability.double()) ** samples).mean())
