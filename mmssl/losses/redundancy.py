"""Redundancy reduction: features vary, and no two of them say the same."""

from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, mean_of_pairs, pairs


class VarianceCovariance(Criterion):
    """The features of each view vary and do not covary (Bardes et al. 2021, arXiv:2105.04906, eq. 1-4), over the
    gathered batch.

    variance: mean over features of max(0, gamma - standard deviation), mean over views. covariance: sum of the squared
    covariances of different features over D, mean over views.
    """

    def __init__(self, variance: float, covariance: float, gamma: float = 1.0, epsilon: float = 1e-4) -> None:
        super().__init__()
        self.variance, self.covariance, self.gamma, self.epsilon = variance, covariance, gamma, epsilon

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        return self.of(queries.gathered())

    def of(self, views: Views) -> dict[str, Float[Tensor, ""]]:
        """The terms of views that are gathered."""
        value, weight = views.value, views.present[..., None].float()
        count = weight.sum(1, keepdim=True).clamp(min=2)
        centred = (value - (value * weight).sum(1, keepdim=True) / count) * weight
        deviation = (centred.square().sum(1) / (count[:, 0] - 1) + self.epsilon).sqrt()
        matrix = centred.mT @ centred / (count - 1)
        off_diagonal = matrix.square().sum((1, 2)) - matrix.diagonal(dim1=1, dim2=2).square().sum(1)
        return {
            "variance": self.variance * (self.gamma - deviation).clamp(min=0).mean(),
            "covariance": self.covariance * (off_diagonal / value.shape[-1]).mean(),
        }


class VarianceInvarianceCovariance(Criterion):
    """VICReg (Bardes et al. 2021, arXiv:2105.04906, eq. 1-6), over the gathered batch.

    invariance: mean squared difference of the pairs of views. variance and covariance: those of `VarianceCovariance`,
    the covariance twice, so with two views their sum. So does the authors' code; eq. 6 adds the views' variances and
    sums the invariance over features.
    """

    def __init__(
        self, invariance: float, variance: float, covariance: float, gamma: float = 1.0, epsilon: float = 1e-4
    ) -> None:
        super().__init__()
        self.invariance = invariance
        self.spread = VarianceCovariance(variance, 2 * covariance, gamma, epsilon)

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        views = queries.gathered()
        apart = mean_of_pairs((views.value[:, None] - views.value[None]).square().mean(-1), pairs(views, views))
        return {"invariance": self.invariance * apart.mean(), **self.spread.of(views)}


class BarlowTwins(Criterion):
    """The features of two views correlate each with itself and with no other (Zbontar et al. 2021, arXiv:2103.03230,
    eq. 1-2), the mean over the unordered pairs of views, over the gathered samples that have both.

    invariance: sum over features of (1 - C_ii)^2. redundancy: `redundancy_weight` times the sum over i != j of C_ij^2;
    at 0 features may repeat each other. `scale` multiplies both, as the authors' code does (0.024). As there, features
    are standardised by their biased variance plus 1e-5.
    """

    def __init__(self, redundancy_weight: float = 0.0051, scale: float = 1.0) -> None:
        super().__init__()
        self.redundancy_weight, self.scale = redundancy_weight, scale

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        value, present, _ = queries.gathered()
        invariance, redundancy = [], []
        for a, b in combinations(range(len(value)), 2):
            both = present[a] & present[b]
            matrix = correlation(value[a], value[b], both)
            diagonal = matrix.diagonal()
            # a pair of views that no sample has is no evidence that they differ
            invariance.append(both.any() * (1 - diagonal).square().sum())
            redundancy.append(matrix.square().sum() - diagonal.square().sum())
        return {
            "invariance": self.scale * torch.stack(invariance).mean(),
            "redundancy": self.scale * self.redundancy_weight * torch.stack(redundancy).mean(),
        }


def correlation(
    a: Float[Tensor, "B D"], b: Float[Tensor, "B D"], both: Bool[Tensor, " B"], epsilon: float = 1e-5
) -> Float[Tensor, "D D"]:
    """How each feature of a correlates with each of b, over the samples that have both."""
    weight = both[:, None].float()
    count = weight.sum().clamp(min=1)

    def standardised(view: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        centred = (view - (view * weight).sum(0) / count) * weight
        return centred * (centred.square().sum(0) / count + epsilon).rsqrt()

    # near 1 bfloat16 has steps of 0.004, so that what is left to learn would be lost
    with torch.autocast(a.device.type, enabled=False):
        return standardised(a).mT @ standardised(b) / count
