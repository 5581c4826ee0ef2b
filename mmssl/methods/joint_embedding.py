"""Methods that embed two views of one picture near each other."""

from functools import partial
from typing import Annotated, Any

from pydantic import Field

from mmssl.augment import View
from mmssl.energy import cosine, squared_error
from mmssl.errors import ConfigError
from mmssl.losses.contrastive import NTXent
from mmssl.losses.redundancy import VarianceInvarianceCovariance
from mmssl.losses.similarity import Similarity
from mmssl.methods.jepa import Momentum
from mmssl.methods.pixels import Count, Positive
from mmssl.models.projector import perceptron
from mmssl.objectives import Branch, EmbeddingTeacher, JointEmbedding, Objective
from mmssl.sections import NonNegative

Views = Annotated[int, Field(ge=2)]


def picture_branch(encoder: Any, *widths: int, last_norm: bool = False) -> dict[str, Branch]:
    """Pictures through a projector of these widths; ConfigError where the task reads none."""
    if "image" not in getattr(encoder, "cuts", {}):
        raise ConfigError("method: needs pictures, and an encoder of them; expected task image_pretraining")
    projector = perceptron(encoder.width, *widths, last_norm=last_norm)
    return {"image": Branch(name="image", tokenize=encoder.cuts["image"].tokenize, projector=projector)}


def simclr(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.5, projector_width: Count = 2048,
    embedding_width: Count = 128, num_views: Views = 2,
) -> Objective:  # fmt: skip
    """SimCLR: a picture's other view among those of all others (Chen et al. 2020, arXiv:2002.05709; temperature 0.5 as
    for CIFAR-10).
    """
    return JointEmbedding(
        encoder=encoder, branches=picture_branch(encoder, projector_width, embedding_width, last_norm=True),
        criterion=NTXent(temperature), energy=cosine, views=(View(),) * num_views,
    )  # fmt: skip


def vicreg(
    encoder: Any, modalities: Any, *, invariance: NonNegative = 25.0, variance: NonNegative = 25.0,
    covariance: NonNegative = 1.0, projector_width: Count = 8192, num_views: Views = 2,
) -> Objective:  # fmt: skip
    """VICReg: equal embeddings whose features vary and do not covary (Bardes et al. 2021, arXiv:2105.04906)."""
    return JointEmbedding(
        encoder=encoder, branches=picture_branch(encoder, projector_width, projector_width, projector_width),
        criterion=VarianceInvarianceCovariance(invariance, variance, covariance), energy=squared_error,
        views=(View(),) * num_views,
    )  # fmt: skip


def byol(
    encoder: Any, modalities: Any, *, momentum: Momentum = 0.996, projector_width: Count = 4096,
    embedding_width: Count = 256, num_views: Views = 2,
) -> Objective:  # fmt: skip
    """BYOL: predict what a slowly moving teacher says of the other view; no negatives (Grill et al. 2020,
    arXiv:2006.07733).
    """
    return JointEmbedding(
        encoder=encoder, branches=picture_branch(encoder, projector_width, embedding_width), criterion=Similarity(),
        energy=cosine, predictor=perceptron(embedding_width, projector_width, embedding_width),
        teacher=partial(EmbeddingTeacher, momentum=momentum), views=(View(),) * num_views,
    )  # fmt: skip
