"""Methods in which a critic is the energy, taught by a generator that it judges."""

from typing import Any

from mmssl.corruption import Corruption
from mmssl.losses.adversarial import GAMES, Loss
from mmssl.methods.frames import hides_frames, nearest_frame
from mmssl.methods.hiding import Mask, Predicts, Ratio, hiding
from mmssl.methods.pixels import Count, only
from mmssl.models.predictor import TransformerPredictor
from mmssl.objectives import Objective
from mmssl.objectives.adversarial import Adversarial
from mmssl.objectives.predictive import Base, nothing
from mmssl.sections import NonNegative


def gan(
    encoder: Any, modalities: Any, *, mask: Mask = "blocks", hidden_ratio: Ratio = 0.5, latent_width: Count = 128,
    loss: Loss = "non_saturating", penalty_weight: NonNegative = 10.0, generator_layers: Count = 4,
    generator_width: Count = 384, generator_heads: Count = 6,
) -> Objective:  # fmt: skip
    """Conditional generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661; given what is seen, as Mirza
    & Osindero 2014, arXiv:1411.1784, and Pathak et al. 2016, arXiv:1604.07379, here without their pixel error).

    `penalty_weight`: of R1, gamma of Mescheder et al. 2018 (arXiv:1801.04406), or with the loss `wasserstein` of the
    gradient penalty, lambda of Gulrajani et al. 2017 (arXiv:1704.00028); the norm is over the hidden patches.
    """
    sizes = {"layers": generator_layers, "width": generator_width, "heads": generator_heads}
    return adversarial(encoder, "image", hiding(mask, hidden_ratio), latent_width, loss, penalty_weight, sizes)


def frame_prediction_gan(
    encoder: Any, modalities: Any, *, predicts: Predicts = "future", seen_frames: Count = 4, latent_width: Count = 128,
    loss: Loss = "non_saturating", penalty_weight: NonNegative = 10.0, generator_layers: Count = 4,
    generator_width: Count = 384, generator_heads: Count = 6,
) -> Objective:  # fmt: skip
    """A generator continues a clip, a critic judges the whole of what is seen and what was generated (Mathieu et al.
    2015, arXiv:1511.05440, section 3.2, here without their pixel error, at one scale, and with z, so that there are
    several futures); what is generated is the change from the nearest seen frame. `penalty_weight` as in `gan`.
    """
    cut = only(encoder, "video").cut("video")
    sizes = {"layers": generator_layers, "width": generator_width, "heads": generator_heads}
    corrupt = hides_frames(cut, predicts, seen_frames)
    return adversarial(encoder, "video", corrupt, latent_width, loss, penalty_weight, sizes, base=nearest_frame(cut))


def adversarial(
    encoder: Any, name: str, corrupt: Corruption, latent_width: int, loss: Loss, penalty_weight: float,
    sizes: dict[str, Any], base: Base = nothing,
) -> Adversarial:  # fmt: skip
    """The encoder as a critic of one modality, and a generator of what is hidden of it."""
    width = only(encoder, name).cut(name).width
    return Adversarial(
        name=name, encoder=encoder, corrupt=corrupt, latent_width=latent_width, game=GAMES[loss],
        generator=TransformerPredictor(width, width, [name], latent_width=latent_width, **sizes),
        penalty_weight=penalty_weight, base=base,
    )  # fmt: skip
