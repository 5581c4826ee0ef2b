"""Methods in which a critic is the energy, taught by a generator that it judges."""

from typing import Any

from mmssl.losses.adversarial import GAMES, Loss
from mmssl.methods.hiding import Mask, Ratio, hiding
from mmssl.methods.pixels import Count, only
from mmssl.models.predictor import TransformerPredictor
from mmssl.objectives import Objective
from mmssl.objectives.adversarial import Adversarial
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
    vision = only(encoder, "image")
    width = vision.cut("image").width
    generator = TransformerPredictor(
        width, width, ["image"], layers=generator_layers, width=generator_width, heads=generator_heads,
        latent_width=latent_width,
    )  # fmt: skip
    return Adversarial(
        name="image", encoder=vision, corrupt=hiding(mask, hidden_ratio), generator=generator,
        latent_width=latent_width, game=GAMES[loss], penalty_weight=penalty_weight,
    )  # fmt: skip
