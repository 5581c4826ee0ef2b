"""Joint-embedding predictive architectures: predict the embedding of what is hidden, not its pixels."""

from typing import Annotated, Any, Literal

from pydantic import Field

from mmssl.blocks import keep_blocks, multi_block
from mmssl.corruption import Corruption
from mmssl.energy import absolute_error, squared_error
from mmssl.losses.criterion import Criterion
from mmssl.losses.normality import SketchedNormality
from mmssl.losses.redundancy import VarianceCovariance
from mmssl.methods.hiding import Mask, hiding, seen_patches
from mmssl.methods.pixels import Count, Ratio, only
from mmssl.models.predictor import EachBlock, TransformerPredictor
from mmssl.models.target import LayersTeacher, OwnEmbeddings, Teacher
from mmssl.models.transformer import TransformerEncoder
from mmssl.models.wav2vec2 import WaveformEncoder
from mmssl.objectives import Objective, Predictive, Stream
from mmssl.objectives.predictive import Energy
from mmssl.objectives.regularizer import Regularizer, SpreadAtEachPlace
from mmssl.sections import CountOrZero, NonNegative
from mmssl.tokens import in_place
from mmssl.tubes import cuboids, hide, taking_turns

Momentum = Annotated[float, Field(ge=0, le=1)]
KeepsApart = Literal["teacher", "sigreg", "vicreg", "nothing"]
Share = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[float, Field(gt=0, le=1)]
Shares = Annotated[tuple[Ratio, ...], Field(min_length=1)]


def embedding_stream(
    encoder: TransformerEncoder | WaveformEncoder,
    name: str,
    corrupt: Corruption,
    energy: Energy,
    *,
    layers: int,
    width: int,
    heads: int,
) -> Stream:
    """One modality's hidden embeddings, predicted from the embeddings of all that is seen."""
    predictor = TransformerPredictor(
        encoder.width, encoder.width, encoder.cuts, layers=layers, width=width, heads=heads
    )
    return Stream(
        tokenize=encoder.cuts[name].tokenize, corrupt=corrupt, predictor=predictor, energy=energy, pairing=in_place
    )


def ijepa(
    encoder: Any, modalities: Any, *, mask: Literal["multiblock", Mask] = "multiblock", num_targets: Count = 4,
    block_ratio: Ratio = 0.175, hidden_ratio: Ratio = 0.5, keeps_apart: KeepsApart = "teacher", momentum: Momentum =
    0.996, regularizer_weight: NonNegative = 0.02, num_directions: Count = 256, predictor_layers: Count = 6,
    predictor_width: Count = 384, predictor_heads: Count = 6,
) -> Objective:  # fmt: skip
    """I-JEPA: predict a teacher's embeddings of hidden blocks, each by itself, from one large block around them (Assran
    et al. 2023, arXiv:2301.08243, section 3).

    `hidden_ratio` is that of the other masks. `keeps_apart` sigreg or vicreg: no teacher but the student's own
    embeddings, of which SIGReg along `num_directions` or the variance and covariance of VICReg (1 : 0.04) are kept for
    each place over the batch. With nothing they collapse.
    """
    cut = only(encoder, "image").cut("image")
    multiblock = mask == "multiblock"
    stream = embedding_stream(
        encoder, "image",
        multi_block(cut.grid, block_ratio, num_targets) if multiblock else hiding(mask, hidden_ratio, block_ratio),
        squared_error, layers=predictor_layers, width=predictor_width, heads=predictor_heads,
    )  # fmt: skip
    stream.predictor = EachBlock(stream.predictor)
    return Predictive(
        streams={"image": stream}, encoder=encoder,
        target=Teacher(encoder, momentum) if keeps_apart == "teacher" else OwnEmbeddings(encoder),
        regularizers=spread(keeps_apart, regularizer_weight, num_directions),
    )  # fmt: skip


def spread(kind: KeepsApart, weight: float, num_directions: int) -> list[Regularizer]:
    """What keeps a student's own embeddings from collapse."""
    criteria: dict[KeepsApart, Criterion] = {
        "sigreg": SketchedNormality(num_directions=num_directions),
        "vicreg": VarianceCovariance(1.0, 0.04),  # 25 : 1, as in the paper
    }
    return [SpreadAtEachPlace(criteria[kind], weight)] if kind in criteria else []


def data2vec(
    encoder: Any, modalities: Any, *, mask: Literal["kept_blocks", Mask] = "kept_blocks", hidden_ratio: Ratio = 0.8,
    kept_side: Count = 3, num_masks: Count = 16, top_layers: Count = 10, momentum: Momentum = 0.9998, last_momentum:
    Momentum = 0.99999, predictor_layers: Count = 2, predictor_width: Count = 384, predictor_heads: Count = 6,
) -> Objective:  # fmt: skip
    """data2vec 2.0: predict the mean of a teacher's layers at all but a few kept blocks, several masks for one pass of
    the teacher (Baevski et al. 2022, arXiv:2212.07525).

    Where we differ: a small transformer predicts in place of convolutions over the grid, the loss of the class token
    is left out, layers are normalised before and not after their sum, as in the stock ViT, and the momentum goes along
    half a cosine. `kept_side` is that of a block, in patches.
    """
    only(encoder, "image")
    stream = embedding_stream(
        encoder, "image",
        keep_blocks(hidden_ratio, kept_side) if mask == "kept_blocks" else hiding(mask, hidden_ratio), squared_error,
        layers=predictor_layers, width=predictor_width, heads=predictor_heads,
    )  # fmt: skip
    teacher = LayersTeacher(encoder, momentum, last_momentum, top_layers)
    return Predictive(streams={"image": stream}, encoder=encoder, target=teacher, num_masks=num_masks)


def vjepa(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.9, block_ratios: Shares = (0.15, 0.7),
    time_ratio: Whole = 1.0, seen_frames: CountOrZero = 0, num_masks: Count = 2, predictor_layers: Count = 12,
    predictor_width: Count = 384, predictor_heads: Count = 6, momentum: Momentum = 0.998,
) -> Objective:  # fmt: skip
    """V-JEPA: predict a teacher's normalised embeddings of blocks hidden through all times of a clip, by L1 (Bardes et
    al. 2024, arXiv:2404.08471, section 3).

    Each mask consists of blocks of one of `block_ratios` of a frame, by turns (short and long range), so with two masks
    a step there is one of each; both hide as many, where the paper takes 8 blocks of the one and 2 of the other kind,
    about 90 %. `time_ratio` is a block's share of the times. `seen_frames` above 0: later frames are hidden whole
    (causal, as in Assran et al. 2025, arXiv:2506.09985).
    """
    video = only(encoder, "video")
    corrupt = hide(
        taking_turns([cuboids(hidden_ratio, ratio, time_ratio) for ratio in block_ratios]),
        len(seen_patches("future", seen_frames, video.cut("video"))) if seen_frames else 0,
    )
    stream = embedding_stream(
        video, "video", corrupt, absolute_error, layers=predictor_layers, width=predictor_width, heads=predictor_heads,
    )  # fmt: skip
    teacher = Teacher(encoder, momentum)
    return Predictive(streams={"video": stream}, encoder=encoder, target=teacher, num_masks=num_masks)
