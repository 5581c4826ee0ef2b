"""Predictive models with a latent variable: one prediction for each z, and a limit of what z can tell."""

from typing import Any, Literal

from mmssl.corruption import Corruption
from mmssl.energy import squared_error
from mmssl.methods.frames import hides_frames
from mmssl.methods.hiding import Mask, Ratio, hiding
from mmssl.methods.jepa import Momentum
from mmssl.methods.pixels import Count, Positive, only
from mmssl.models.discrete import DiscreteLatent
from mmssl.models.latent import GaussianLatent, Latent
from mmssl.models.limits import NarrowLatent, SparseLatent
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.target import Teacher
from mmssl.models.transformer import TransformerEncoder
from mmssl.objectives import LatentStream, Objective, Predictive
from mmssl.objectives.predictive import Energy
from mmssl.sections import CountOrZero, NonNegative
from mmssl.tokens import in_place

Limit = Literal["noise", "dimension", "sparsity", "codes"]


def latent_stream(
    encoder: TransformerEncoder, name: str, corrupt: Corruption, answer_width: int, latent: Latent,
    sizes: dict[str, Any], inference_steps: int = 0, energy: Energy = squared_error,
) -> LatentStream:  # fmt: skip
    """What is hidden of one modality, predicted from what is seen and z."""
    predictor = TransformerPredictor(encoder.width, answer_width, encoder.cuts, latent_width=latent.width, **sizes)
    return LatentStream(
        tokenize=encoder.cuts[name].tokenize, corrupt=corrupt, predictor=predictor, energy=energy,
        pairing=in_place, latent=latent, inference_steps=inference_steps,
    )  # fmt: skip


def limited(
    limit: Limit, reads: tuple[dict[str, int], int], *, limit_weight: float, free_nats: float, num_codes: int,
    noise_deviation: float, **sizes: int,
) -> Latent:  # fmt: skip
    """z of embeddings with one of the limits of capacity; `reads` are the widths of what is seen and of the answer."""
    made = {
        "noise": lambda: GaussianLatent(*reads, weight=limit_weight, free=free_nats, **sizes),
        "dimension": lambda: NarrowLatent(*reads, deviation=noise_deviation, **sizes),
        "sparsity": lambda: SparseLatent(*reads, weight=limit_weight, deviation=noise_deviation, **sizes),
        "codes": lambda: DiscreteLatent(*reads, num_codes=num_codes, **sizes),
    }
    return made[limit]()


def conditional_vae(
    encoder: Any, modalities: Any, *, mask: Mask = "blocks", hidden_ratio: Ratio = 0.5, latent_width: Count = 16,
    kl_weight: NonNegative = 1e-3, free_nats: NonNegative = 0.0, latent_layers: Count = 2, predictor_layers: Count = 4,
    predictor_width: Count = 384, predictor_heads: Count = 6, inference_steps: CountOrZero = 0,
) -> Objective:  # fmt: skip
    """Conditional VAE: hidden patches from seen ones and z, whose prior sees what the prediction sees (Sohn, Lee & Yan
    2015, "Learning structured output representation using deep conditional generative models", eq. 4). `kl_weight` is
    of KL in nats against the mean squared error of hidden numbers: 2 deviation^2 / numbers is the bound of a normal
    output; 0 takes the limit away.
    """
    only(encoder, "image")
    sizes = {"layers": predictor_layers, "width": predictor_width, "heads": predictor_heads}
    width = encoder.cuts["image"].width
    latent = GaussianLatent(
        {"image": encoder.width}, width, latent_width=latent_width, weight=kl_weight, free=free_nats,
        **{**sizes, "layers": latent_layers},
    )  # fmt: skip
    stream = latent_stream(encoder, "image", hiding(mask, hidden_ratio), width, latent, sizes, inference_steps)
    return Predictive(streams={"image": stream}, encoder=encoder)


def jepa_with_latent(
    encoder: Any, modalities: Any, *, mask: Mask = "blocks", hidden_ratio: Ratio = 0.5, limit: Limit = "noise",
    latent_width: Count = 16, limit_weight: NonNegative = 1e-2, free_nats: NonNegative = 0.0, num_codes: Count = 16,
    noise_deviation: Positive = 0.1, latent_layers: Count = 1, inference_steps: CountOrZero = 0,
    predictor_layers: Count = 6, predictor_width: Count = 384, predictor_heads: Count = 6, momentum: Momentum = 0.996,
) -> Objective:  # fmt: skip
    """JEPA with z: predict a teacher's embeddings of what is hidden from those of what is seen and a latent variable
    (LeCun 2022, "A path towards autonomous machine intelligence", section 4), without negatives.

    `limit` is z's limit of capacity: "noise" (`limit_weight` times KL in nats beyond `free_nats` from a learned prior),
    "dimension" (`latent_width` numbers in [-1, 1]), "sparsity" (`limit_weight` times the sum of |z|), both under noise
    of `noise_deviation`, or "codes" (one of `num_codes`). `inference_steps` of descent (0: none) look for the free
    energy min over z from the amortised z; among codes any number looks at all.
    """
    only(encoder, "image")
    sizes = {"layers": predictor_layers, "width": predictor_width, "heads": predictor_heads}
    latent = limited(
        limit, ({"image": encoder.width}, encoder.width), limit_weight=limit_weight, free_nats=free_nats,
        num_codes=num_codes, noise_deviation=noise_deviation, latent_width=latent_width,
        **{**sizes, "layers": latent_layers},
    )  # fmt: skip
    corrupt = hiding(mask, hidden_ratio)
    stream = latent_stream(encoder, "image", corrupt, encoder.width, latent, sizes, inference_steps)
    return Predictive(streams={"image": stream}, encoder=encoder, target=Teacher(encoder, momentum))


def vjepa_with_latent(
    encoder: Any, modalities: Any, *, seen_frames: Count = 4, limit: Limit = "noise", latent_width: Count = 16,
    limit_weight: NonNegative = 1e-2, free_nats: NonNegative = 0.0, num_codes: Count = 16,
    noise_deviation: Positive = 0.1, latent_layers: Count = 1, inference_steps: CountOrZero = 0,
    predictor_layers: Count = 6, predictor_width: Count = 384, predictor_heads: Count = 6, momentum: Momentum = 0.998,
) -> Objective:  # fmt: skip
    """JEPA with z of a clip: a teacher's embeddings of all frames after the first `seen_frames`, predicted from those
    of these frames and a latent variable, one for the whole future (LeCun 2022, "A path towards autonomous machine
    intelligence", section 4).

    Limits of z as in `jepa_with_latent`.
    """
    corrupt = hides_frames(only(encoder, "video").cut("video"), "future", seen_frames)
    sizes = {"layers": predictor_layers, "width": predictor_width, "heads": predictor_heads}
    latent = limited(
        limit, ({"video": encoder.width}, encoder.width), limit_weight=limit_weight, free_nats=free_nats,
        num_codes=num_codes, noise_deviation=noise_deviation, latent_width=latent_width,
        **{**sizes, "layers": latent_layers},
    )  # fmt: skip
    stream = latent_stream(encoder, "video", corrupt, encoder.width, latent, sizes, inference_steps)
    return Predictive(streams={"video": stream}, encoder=encoder, target=Teacher(encoder, momentum))
