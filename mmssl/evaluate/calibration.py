"""Whether a probability of 0.8 is right in 8 of 10 cases."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.errors import ConfigError, NumericError
from mmssl.evaluate import finite


class Calibration(NamedTuple):
    """The expected calibration error, and the bars of its reliability diagram (0 in a bin without samples)."""

    error: float
    confidence: Float[Tensor, " bins"]
    accuracy: Float[Tensor, " bins"]
    count: Int[Tensor, " bins"]


def calibration(confidence: Float[Tensor, " N"], correct: Bool[Tensor, " N"], bins: int = 15) -> Calibration:
    """The mean over samples of |accuracy - confidence| of the bin they fall in; bins of equal width, (a, b].

    Guo et al. 2017, arXiv:1706.04599, eq. 3. `confidence` is the probability of the predicted class, `correct`
    whether it was right. NumericError where a confidence is outside [0, 1].
    """
    if bins < 1:
        raise ConfigError(f"calibration: got bins={bins}, expected at least 1")
    confidence = finite("calibration: confidence", confidence).cpu().double()
    if confidence.min() < 0 or confidence.max() > 1:
        worst = confidence[(confidence - 0.5).abs().argmax()]
        raise NumericError(f"calibration: got a confidence of {float(worst):g}, expected probabilities in [0, 1]")

    inner_edges = torch.arange(1, bins, dtype=confidence.dtype) / bins
    index = torch.bucketize(confidence, inner_edges)  # a value on an edge belongs to the bin below
    count = index.bincount(minlength=bins)

    samples = count.clamp(min=1)
    mean_confidence = index.bincount(confidence, minlength=bins) / samples
    accuracy = index.bincount(correct.cpu().double(), minlength=bins) / samples
    error = (count * (accuracy - mean_confidence).abs()).sum() / len(confidence)
    return Calibration(float(error), mean_confidence, accuracy, count)
