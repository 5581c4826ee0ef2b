"""Joint embeddings without negatives: the student predicts what a teacher says, and no gradient reaches the teacher."""

from functools import partial
from typing import Any

from mmssl.augment import View
from mmssl.energy import cosine
from mmssl.losses.distillation import SelfDistillation
from mmssl.losses.similarity import Similarity
from mmssl.methods.jepa import Momentum
from mmssl.methods.pixels import Count, Positive
from mmssl.methods.views import PAIR, Views, branches_of, crops, projected
from mmssl.models.projector import distillation_head, perceptron
from mmssl.objectives import EmbeddingTeacher, Itself, JointEmbedding, Objective
from mmssl.sections import CountOrZero


def byol(
    encoder: Any, modalities: Any, *, momentum: Momentum = 0.996, projector_width: Count = 4096,
    embedding_width: Count = 256, num_views: Views = 2, has_predictor: bool = True,
) -> Objective:  # fmt: skip
    """BYOL: predict what a slowly moving teacher says of the other view; no negatives (Grill et al. 2020,
    arXiv:2006.07733). `has_predictor=false` takes away what keeps it from collapse.
    """
    predictor = perceptron(embedding_width, projector_width, embedding_width) if has_predictor else None
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, projector_width, embedding_width), criterion=Similarity(),
        energy=cosine, predictor=predictor, teacher=partial(EmbeddingTeacher, momentum=momentum),
        views=(View(),) * num_views,
    )  # fmt: skip


def simsiam(
    encoder: Any, modalities: Any, *, projector_width: Count = 2048, predictor_width: Count = 512,
    stop_gradient: bool = True,
) -> Objective:  # fmt: skip
    """SimSiam: BYOL without a teacher of its own, stopping the gradient is enough (Chen & He 2021, arXiv:2011.10566).
    `stop_gradient=false` takes away what keeps it from collapse.
    """
    widths = projector_width, projector_width, projector_width
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, *widths, last_norm=True), criterion=Similarity(scale=1.0),
        energy=cosine, predictor=perceptron(projector_width, predictor_width, projector_width),
        teacher=lambda student: Itself(stop_gradient=stop_gradient), views=PAIR,
    )  # fmt: skip


def dino(
    encoder: Any, modalities: Any, *, momentum: Momentum = 0.996, student_temperature: Positive = 0.1,
    teacher_temperature: Positive = 0.04, centre_momentum: Momentum = 0.9, num_prototypes: Count = 65536,
    projector_width: Count = 2048, bottleneck_width: Count = 256, num_small: CountOrZero = 8, small_size: Count = 96,
    has_centre: bool = True,
) -> Objective:  # fmt: skip
    """DINO: the student's softmax over prototypes follows a teacher's, centred and sharpened, from small crops to large
    ones (Caron et al. 2021, arXiv:2104.14294). `has_centre=false` takes away what keeps it from collapse.
    """
    criterion = SelfDistillation(
        num_prototypes, student_temperature=student_temperature, teacher_temperature=teacher_temperature,
        centre_momentum=centre_momentum, centred=has_centre,
    )  # fmt: skip
    head = distillation_head(
        encoder.width, projector_width, projector_width, bottleneck=bottleneck_width, out=num_prototypes
    )
    return JointEmbedding(
        encoder=encoder, branches=branches_of(encoder, head), criterion=criterion, energy=criterion.energy,
        views=crops(encoder, (0.4, 1.0), num_small, small_size, (0.05, 0.4)), answers=(0, 1),
        teacher=partial(EmbeddingTeacher, momentum=momentum),
    )  # fmt: skip
