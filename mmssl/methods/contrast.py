"""Joint embeddings of two views that negatives keep apart. `negative_weight=0` takes the negatives away."""

from functools import partial
from typing import Annotated, Any

from pydantic import Field

from mmssl.augment import View
from mmssl.energy import cosine, squared_error
from mmssl.losses.contrastive import KeyContrast, NTXent
from mmssl.losses.margin import Margin
from mmssl.losses.memory import MemoryContrast
from mmssl.losses.queue import QueueContrast
from mmssl.methods.jepa import Momentum
from mmssl.methods.pixels import Count, Positive
from mmssl.methods.views import PAIR, Views, picture_cut, projected
from mmssl.models.projector import perceptron
from mmssl.objectives import EmbeddingTeacher, JigsawBranch, JointEmbedding, Objective
from mmssl.sections import NonNegative, Ratio

Pieces = Annotated[int, Field(ge=2, le=8)]


def siamese(
    encoder: Any, modalities: Any, *, margin: Positive = 1.0, projector_width: Count = 2048,
    embedding_width: Count = 128, negative_weight: NonNegative = 1.0,
) -> Objective:  # fmt: skip
    """Siamese network: views of one picture attract, those of different ones repel up to a margin (Hadsell et al. 2006,
    eq. 4; Bromley et al. 1993).
    """
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, projector_width, embedding_width),
        criterion=Margin(margin, negative_weight), energy=squared_error, views=PAIR,
    )  # fmt: skip


def simclr(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.5, projector_width: Count = 2048,
    embedding_width: Count = 128, num_views: Views = 2, negative_weight: NonNegative = 1.0,
) -> Objective:  # fmt: skip
    """SimCLR: a picture's other view among those of all others (Chen et al. 2020, arXiv:2002.05709; temperature 0.5 as
    for CIFAR-10).
    """
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, projector_width, embedding_width, last_norm=True),
        criterion=NTXent(temperature, negative_weight), energy=cosine, views=(View(),) * num_views,
    )  # fmt: skip


def npid(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.07, memory_momentum: Ratio = 0.5,
    proximal_weight: NonNegative = 30.0, embedding_width: Count = 128, negative_weight: NonNegative = 1.0,
) -> Objective:  # fmt: skip
    """NPID: each picture is a class of its own, told by a memory of all pictures (Wu et al. 2018, arXiv:1805.01978, eq.
    2 as an exact softmax, and eq. 10).
    """
    criterion = MemoryContrast(
        temperature=temperature, momentum=memory_momentum, width=embedding_width, proximal_weight=proximal_weight,
        weights=(1.0,), negative_weight=negative_weight,
    )  # fmt: skip
    # the second view is made for energies only: the memory is the other view
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, embedding_width), criterion=criterion, energy=cosine, views=PAIR,
        asks=(0,), answers=(0,),
    )  # fmt: skip


def pirl(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.07, memory_momentum: Ratio = 0.5,
    jigsaw_weight: Ratio = 0.5, num_pieces: Pieces = 3, piece_size: Count = 64, embedding_width: Count = 128,
    negative_weight: NonNegative = 1.0,
) -> Objective:  # fmt: skip
    """PIRL: the shuffled pieces of a picture, and the picture, each near the memory of that picture (Misra & van der
    Maaten 2019, arXiv:1912.01991, eq. 5, as an exact softmax); `piece_size` in pixels.
    """
    criterion = MemoryContrast(
        temperature=temperature, momentum=memory_momentum, width=embedding_width, proximal_weight=0.0,
        weights=(jigsaw_weight, 1 - jigsaw_weight), negative_weight=negative_weight,
    )  # fmt: skip
    cut = picture_cut(encoder, "pirl", "cuts pictures into a jigsaw").sized((piece_size, piece_size))
    branch = JigsawBranch(
        name="image", tokenize=cut.tokenize, projector=perceptron(encoder.width, embedding_width),
        piece=perceptron(encoder.width, embedding_width),
        joined=perceptron(num_pieces**2 * embedding_width, embedding_width),
    )  # fmt: skip
    return JointEmbedding(
        encoder=encoder, branches={"image": branch}, criterion=criterion, energy=cosine,
        views=(View(size=piece_size, pieces=num_pieces), View()), asks=(0, 1), answers=(1,),
    )  # fmt: skip


def moco(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.07, momentum: Momentum = 0.999,
    queue_length: Count = 65536, embedding_width: Count = 128, negative_weight: NonNegative = 1.0,
) -> Objective:  # fmt: skip
    """MoCo: a view among a queue of keys from a slowly moving copy of the encoder (He et al. 2019, arXiv:1911.05722,
    algorithm 1).
    """
    return queued(encoder, (embedding_width,), temperature, momentum, queue_length, negative_weight)


def moco_v2(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.2, momentum: Momentum = 0.999,
    queue_length: Count = 65536, projector_width: Count = 2048, embedding_width: Count = 128,
    negative_weight: NonNegative = 1.0,
) -> Objective:  # fmt: skip
    """MoCo v2: MoCo with a perceptron as projector; set views.blur_ratio=0.5 and train.schedule=cosine (Chen et al.
    2020, arXiv:2003.04297).
    """
    widths = projector_width, embedding_width
    return queued(encoder, widths, temperature, momentum, queue_length, negative_weight)


def queued(
    encoder: Any, widths: tuple[int, ...], temperature: float, momentum: float, length: int, negative_weight: float
) -> Objective:
    """One view of each picture asks, a teacher answers with the other."""
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, *widths),
        criterion=QueueContrast(temperature, length, widths[-1], negative_weight), energy=cosine, views=PAIR,
        asks=(0,), answers=(1,), teacher=partial(EmbeddingTeacher, momentum=momentum, last=momentum),
    )  # fmt: skip


def moco_v3(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.2, momentum: Momentum = 0.99,
    projector_width: Count = 4096, embedding_width: Count = 256, negative_weight: NonNegative = 1.0,
) -> Objective:  # fmt: skip
    """MoCo v3: no queue but the keys of the batch, and a predictor (Chen et al. 2021, arXiv:2104.02057, algorithm 1;
    its frozen patch embedding of ViTs is left out).
    """
    widths = projector_width, projector_width, embedding_width
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, *widths, last_norm=True),
        predictor=perceptron(embedding_width, projector_width, embedding_width, last_norm=True),
        criterion=KeyContrast(temperature, 2 * temperature, negative_weight), energy=cosine,
        teacher=partial(EmbeddingTeacher, momentum=momentum), views=PAIR,
    )  # fmt: skip
