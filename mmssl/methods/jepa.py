"""Joint-embedding predictive architectures: predict the embedding of what is hidden, not its pixels."""

from typing import Annotated, Any

from pydantic import Field

from mmssl.corruption import Corruption
from mmssl.drop import drop_blocks, drop_random, one_of_two
from mmssl.energy import smooth_l1, squared_error
from mmssl.methods.pixels import Count, Ratio, only
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.target import Teacher
from mmssl.models.transformer import TransformerEncoder
from mmssl.objectives import Objective, Predictive, Stream
from mmssl.objectives.predictive import Energy
from mmssl.tokens import in_place

Momentum = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def embedding_stream(
    encoder: TransformerEncoder, name: str, corrupt: Corruption, energy: Energy, *, layers: int, width: int, heads: int
) -> Stream:
    """One modality's hidden embeddings, predicted from the embeddings of all that is seen."""
    predictor = TransformerPredictor(
        encoder.width, encoder.width, encoder.cuts, layers=layers, width=width, heads=heads
    )
    return Stream(
        tokenize=encoder.cuts[name].tokenize, corrupt=corrupt, predictor=predictor, energy=energy, pairing=in_place
    )


def ijepa(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.5, block_ratio: Ratio = 0.175, predictor_layers: Count =
    6, predictor_width: Count = 384, predictor_heads: Count = 6, momentum: Momentum = 0.996,
) -> Objective:  # fmt: skip
    """I-JEPA: predict a teacher's embeddings of hidden blocks (Assran et al. 2023, arXiv:2301.08243, section 3; the
    blocks in one pass, their union of exact size, the rest is seen).
    """
    stream = embedding_stream(
        only(encoder, "image"), "image", drop_blocks(hidden_ratio, block_ratio), squared_error,
        layers=predictor_layers, width=predictor_width, heads=predictor_heads,
    )  # fmt: skip
    return Predictive(streams={"image": stream}, encoder=encoder, target=Teacher(encoder, momentum))


def vjepa(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.9, block_ratio: Ratio = 0.15, predictor_layers: Count =
    12, predictor_width: Count = 384, predictor_heads: Count = 6, momentum: Momentum = 0.998,
) -> Objective:  # fmt: skip
    """V-JEPA: blocks hidden through all times of a clip, L1 (here Huber's) to a teacher's normalised embeddings
    (Bardes et al. 2024, arXiv:2404.08471, section 3; its short-range masks).
    """
    stream = embedding_stream(
        only(encoder, "video"), "video", drop_blocks(hidden_ratio, block_ratio), smooth_l1,
        layers=predictor_layers, width=predictor_width, heads=predictor_heads,
    )  # fmt: skip
    return Predictive(streams={"video": stream}, encoder=encoder, target=Teacher(encoder, momentum))


def audio_visual_jepa(
    encoder: Any, modalities: Any, *, video_hidden_ratio: Ratio = 0.75, audio_hidden_ratio: Ratio = 0.75,
    block_ratio: Ratio = 0.2, drop_modality: Share = 0.5, predictor_layers: Count = 6, predictor_width: Count = 384,
    predictor_heads: Count = 6, momentum: Momentum = 0.998,
) -> Objective:  # fmt: skip
    """One encoder for sound and picture predicts a teacher's embeddings of each from what is seen of both; of a share
    `drop_modality` of the samples only one is shown (Shi et al. 2022, arXiv:2201.02184, section 3.3: modality dropout).

    So each sample is a prediction within (sound -> sound), across (sound -> picture) or from both.
    """
    corrupt = {
        "video": drop_blocks(video_hidden_ratio, block_ratio),
        "audio": drop_random(audio_hidden_ratio),
    }
    streams = {
        name: embedding_stream(
            only(encoder, name), name, corrupt[name], smooth_l1,
            layers=predictor_layers, width=predictor_width, heads=predictor_heads,
        )
        for name in corrupt
    }  # fmt: skip
    return Predictive(
        streams=streams, encoder=encoder, target=Teacher(encoder, momentum), shown=one_of_two(drop_modality)
    )
