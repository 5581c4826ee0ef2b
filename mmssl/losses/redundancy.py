"""Redundancy reduction: features vary, and no two of them say the same."""

import torch
from torch import Tensor

from mmssl.losses.views import Views, pairs


def vicreg(invariance: float, variance: float, covariance: float, gamma: float = 1.0, epsilon: float = 1e-4):
    """Variance, invariance and covariance (Bardes et al. 2021, arXiv:2105.04906, eq. 1-6), over the gathered batch.

    invariance: mean squared difference of the pairs of views. variance: mean over features of max(0, gamma -
    standard deviation), mean over views. covariance: sum of the squared covariances of different features over D,
    twice its mean over views, so with two their sum. So does the authors' code; eq. 6 adds the views' variances and
    sums the invariance over features.
    """

    def criterion(queries: Views, keys: Views) -> dict[str, Tensor]:
        value, present = queries.gathered()
        difference = (value[:, None] - value[None]).square().mean(-1)
        pair = pairs(present, present)
        apart = torch.where(pair, difference, 0.0).sum((0, 1)) / pair.sum((0, 1)).clamp(min=1)
        weight = present[..., None].float()
        count = weight.sum(1, keepdim=True).clamp(min=2)
        centred = (value - (value * weight).sum(1, keepdim=True) / count) * weight
        deviation = (centred.square().sum(1) / (count[:, 0] - 1) + epsilon).sqrt()
        matrix = centred.mT @ centred / (count - 1)
        off_diagonal = matrix.square().sum((1, 2)) - matrix.diagonal(dim1=1, dim2=2).square().sum(1)
        return {
            "invariance": invariance * apart.mean(),
            "variance": variance * (gamma - deviation).clamp(min=0).mean(),
            "covariance": covariance * 2 * (off_diagonal / value.shape[-1]).mean(),
        }

    return criterion
