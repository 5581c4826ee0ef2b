"""Redundancy reduction: features vary, and no two of them say the same."""

from jaxtyping import Float, Int
from torch import Tensor

from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, mean_of_pairs, pairs


class VarianceInvarianceCovariance(Criterion):
    """VICReg (Bardes et al. 2021, arXiv:2105.04906, eq. 1-6), over the gathered batch.

    invariance: mean squared difference of the pairs of views. variance: mean over features of max(0, gamma -
    standard deviation), mean over views. covariance: sum of the squared covariances of different features over D,
    twice its mean over views, so with two their sum. So does the authors' code; eq. 6 adds the views' variances and
    sums the invariance over features.
    """

    def __init__(
        self, invariance: float, variance: float, covariance: float, gamma: float = 1.0, epsilon: float = 1e-4
    ) -> None:
        super().__init__()
        self.invariance, self.variance, self.covariance = invariance, variance, covariance
        self.gamma, self.epsilon = gamma, epsilon

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        views = queries.gathered()
        value = views.value
        apart = mean_of_pairs((value[:, None] - value[None]).square().mean(-1), pairs(views, views))
        weight = views.present[..., None].float()
        count = weight.sum(1, keepdim=True).clamp(min=2)
        centred = (value - (value * weight).sum(1, keepdim=True) / count) * weight
        deviation = (centred.square().sum(1) / (count[:, 0] - 1) + self.epsilon).sqrt()
        matrix = centred.mT @ centred / (count - 1)
        off_diagonal = matrix.square().sum((1, 2)) - matrix.diagonal(dim1=1, dim2=2).square().sum(1)
        return {
            "invariance": self.invariance * apart.mean(),
            "variance": self.variance * (self.gamma - deviation).clamp(min=0).mean(),
            "covariance": self.covariance * 2 * (off_diagonal / value.shape[-1]).mean(),
        }
