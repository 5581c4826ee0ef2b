"""Methods that learn from modalities that occur together."""

from functools import partial
from typing import Any

from mmssl.augment import View
from mmssl.corruption import replace_tokens
from mmssl.energy import cosine, cross_entropy
from mmssl.errors import ConfigError
from mmssl.losses.contrastive import CrossModal
from mmssl.methods.frames import frame_prediction_latent
from mmssl.methods.pixels import Count, Positive, Ratio, only, visible_only
from mmssl.modalities.grids import Words
from mmssl.models.predictor import WordHead
from mmssl.models.projector import perceptron
from mmssl.objectives import Branch, JointEmbedding, Objective, Predictive, Stream, Together
from mmssl.sections import NonNegative


def contrast(encoder: Any, names: tuple[str, ...], temperature: float, *widths: int) -> JointEmbedding:
    """Each modality's embedding among all samples' of each other one."""
    branches = {
        name: Branch(
            name=name, tokenize=only(encoder, name).cuts[name].tokenize, projector=perceptron(encoder.width, *widths)
        )
        for name in names
    }
    return JointEmbedding(
        encoder=encoder, branches=branches, criterion=CrossModal(temperature, names), energy=cosine, views=(View(),)
    )


def audio_visual_contrastive(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.07, projector_width: Count = 512,
    embedding_width: Count = 128,
) -> Objective:  # fmt: skip
    """A clip's sound among the sounds of all other clips, and its picture among theirs (Morgado et al. 2020,
    arXiv:2004.12943, cross-modal discrimination; negatives from the batch).
    """
    return contrast(visible_only(encoder), ("video", "audio"), temperature, projector_width, embedding_width)


def multimodal(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.3, temperature: Positive = 0.1, seen_frames: Count = 4,
    latent_width: Count = 8, latent_weight: Positive = 2e-3, free_nats: NonNegative = 1.5, predictor_layers: Count = 2,
    predictor_width: Count = 128, predictor_heads: Count = 4, embedding_width: Count = 64,
    future_weight: Positive = 10.0,
) -> Objective:  # fmt: skip
    """Hidden words, several futures of a clip, and contrast between all modalities, over one encoder; `future_weight`
    brings the error of pixels to the size of the other two.
    """
    words = only(encoder, "text").cuts["text"]
    if not isinstance(words, Words):
        raise ConfigError("method multimodal: needs text as words; expected task multimodal")
    stream = Stream(
        tokenize=words.tokenize, corrupt=replace_tokens(words.vocabulary, hidden_ratio, mask_ratio=1.0),
        predictor=WordHead(encoder.embed["text"]), energy=cross_entropy,
    )  # fmt: skip
    future = partial(
        frame_prediction_latent, seen_frames=seen_frames, latent_per="clip", latent_width=latent_width, latent_layers=1
    )
    parts: dict[str, Objective] = {
        "words": Predictive(streams={"text": stream}, encoder=encoder),
        "future": future(
            encoder, modalities, latent_weight=latent_weight, free_nats=free_nats, predictor_layers=predictor_layers,
            predictor_width=predictor_width, predictor_heads=predictor_heads,
        ),
        "contrast": contrast(encoder, tuple(modalities), temperature, 2 * encoder.width, embedding_width),
    }  # fmt: skip
    return Together(encoder=encoder, parts=parts, weights={"words": 1.0, "future": future_weight, "contrast": 1.0})
