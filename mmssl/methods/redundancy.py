"""Joint embeddings that stay apart because their features must vary and may not say the same."""

from typing import Any

from mmssl.augment import View
from mmssl.energy import cosine, squared_error
from mmssl.losses.normality import PredictionAndNormality
from mmssl.losses.redundancy import BarlowTwins, VarianceInvarianceCovariance
from mmssl.losses.whitening import WhitenedError
from mmssl.methods.pixels import Count
from mmssl.methods.views import PAIR, Views, crops, projected
from mmssl.objectives import JointEmbedding, Objective
from mmssl.sections import CountOrZero, NonNegative, Ratio


def barlow_twins(
    encoder: Any, modalities: Any, *, redundancy_weight: NonNegative = 0.0051, projector_width: Count = 8192
) -> Objective:
    """Barlow Twins: the cross-correlation of two views' features is the identity (Zbontar et al. 2021,
    arXiv:2103.03230). `redundancy_weight=0` lets all features say the same.
    """
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, projector_width, projector_width, projector_width),
        criterion=BarlowTwins(redundancy_weight), energy=cosine, views=PAIR,
    )  # fmt: skip


def vicreg(
    encoder: Any, modalities: Any, *, invariance: NonNegative = 25.0, variance: NonNegative = 25.0,
    covariance: NonNegative = 1.0, projector_width: Count = 8192, num_views: Views = 2,
) -> Objective:  # fmt: skip
    """VICReg: equal embeddings whose features vary and do not covary (Bardes et al. 2021, arXiv:2105.04906).
    `variance=0 covariance=0` takes away what keeps it from collapse.
    """
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, projector_width, projector_width, projector_width),
        criterion=VarianceInvarianceCovariance(invariance, variance, covariance), energy=squared_error,
        views=(View(),) * num_views,
    )  # fmt: skip


def w_mse(
    encoder: Any, modalities: Any, *, projector_width: Count = 1024, embedding_width: Count = 64, whiten: bool = True
) -> Objective:
    """W-MSE: views are compared after the batch is whitened (Ermolov et al. 2021, arXiv:2007.06346). `whiten=false`
    takes away what keeps it from collapse.
    """
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, projector_width, embedding_width),
        criterion=WhitenedError(sub_batch=2 * embedding_width, whiten=whiten), energy=cosine, views=PAIR,
    )  # fmt: skip


def lejepa(
    encoder: Any, modalities: Any, *, normality_weight: Ratio = 0.02, num_directions: Count = 1024,
    projector_width: Count = 2048, embedding_width: Count = 128, num_small: CountOrZero = 6, small_size: Count = 96,
) -> Objective:  # fmt: skip
    """LeJEPA: views predict the mean of the large ones, and embeddings are normally distributed along every direction
    (Balestriero & LeCun 2025, arXiv:2511.08544: SIGReg). `normality_weight=0` takes away what keeps it from collapse.
    """
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, projector_width, projector_width, embedding_width),
        criterion=PredictionAndNormality(normality_weight, num_directions), energy=squared_error,
        views=crops(encoder, (0.3, 1.0), num_small, small_size, (0.05, 0.3)), answers=(0, 1),
    )  # fmt: skip
