"""Masked prediction and contrast of picture and sound at once."""

from typing import Any

from mmssl.drop import drop_random
from mmssl.energy import squared_error
from mmssl.errors import ConfigError
from mmssl.methods.cross_modal import BOTH, contrast
from mmssl.methods.pixels import Count, Positive, Ratio, only
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.target import Data, NormalisedPatches
from mmssl.objectives import ContrastiveMasked, Objective, Predictive, Stream
from mmssl.sections import NonNegative
from mmssl.tokens import in_place


def cav_mae(
    encoder: Any, modalities: Any, *, video_hidden_ratio: Ratio = 0.75, audio_hidden_ratio: Ratio = 0.75,
    masked_weight: NonNegative = 1.0, contrast_weight: NonNegative = 0.01, temperature: Positive = 0.05,
    predictor_layers: Count = 8, predictor_width: Count = 512, predictor_heads: Count = 16,
    normalise_patches: bool = True,
) -> Objective:  # fmt: skip
    """CAV-MAE: patches of picture and sound from what is seen of both, and the seen of each near that of the other
    (Gong et al. 2022, arXiv:2210.07839); encoder.fused=true, encoder.separate_layers=11 of 12. A weight may be 0.

    Where we differ: clips in place of single frames, a predictor for each modality in place of one for both, contrast
    both ways.
    """
    ratios = {"video": video_hidden_ratio, "audio": audio_hidden_ratio}
    streams = {
        name: Stream(
            tokenize=only(encoder, name).cuts[name].tokenize, corrupt=drop_random(ratio),
            predictor=TransformerPredictor(
                encoder.width, encoder.cuts[name].width, BOTH, layers=predictor_layers, width=predictor_width,
                heads=predictor_heads,
            ),
            energy=squared_error, pairing=in_place,
        )
        for name, ratio in ratios.items()
    }  # fmt: skip
    if not encoder.fused:
        raise ConfigError("method cav_mae: predicts each modality from both; expected encoder.fused=true")
    return ContrastiveMasked(
        encoder=encoder,
        masked=Predictive(
            streams=streams, encoder=encoder, target=NormalisedPatches() if normalise_patches else Data()
        ),
        contrast=contrast(encoder, BOTH, temperature), weights={"masked": masked_weight, "contrast": contrast_weight},
    )  # fmt: skip
