"""A masked autoencoder of pictures as a stock `ViTMAEForPreTraining`, decoder and all (He et al. 2021,
arXiv:2111.06377).
"""

from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from mmssl.models.autoencoder_parts import Autoencoder, parts_of
from mmssl.models.export import export_encoder, image_processor, renamed, sizes, stock_weights, waveform_extractor
from mmssl.models.stock_speech import stock_pretraining
from mmssl.models.target import Data, NormalisedPatches
from mmssl.models.transformer import position_table
from mmssl.models.video_autoencoder import stock_video_autoencoder, video_autoencoder
from mmssl.objectives import Objective, QuantisedFrames


def export_objective(objective: Objective, folder: Path) -> None:
    """A masked autoencoder for `AutoModelForPreTraining.from_pretrained`: `ViTMAEForPreTraining`, and an image
    processor, or `VideoMAEForPreTraining`; wav2vec 2.0 as `Wav2Vec2ForPreTraining`, and a feature extractor; of every
    other objective the encoder alone, as `export_encoder` does.

    The loss and logits are ours for the same mask (its `noise` or `bool_masked_pos`), the features of a patch in the
    stock order. Which objective is one is told by its parts; the stock classes know square pictures only.
    """
    parts, of_clips = autoencoder(objective), video_autoencoder(objective)
    if parts is not None:
        stock_autoencoder(parts).save_pretrained(folder)
        image_processor(parts.cut.size).save_pretrained(folder)
    elif of_clips is not None:
        stock_video_autoencoder(of_clips).save_pretrained(folder)
    elif isinstance(objective, QuantisedFrames):
        stock_pretraining(objective).save_pretrained(folder)
        waveform_extractor(objective.encoder.cuts["audio"].rate_hz).save_pretrained(folder)
    else:
        export_encoder(objective.encoder, folder)
        return
    print(f"exported to {folder}: AutoModelForPreTraining.from_pretrained({str(folder)!r})")


def autoencoder(objective: Objective) -> Autoencoder | None:
    """Its parts, if `ViTMAEForPreTraining` computes the same; else None."""
    parts = parts_of(objective, "image", (Data, NormalisedPatches))
    if parts is None:
        return None
    height, width = parts.cut.size
    # the stock class has no patches of other pictures than square ones, and positions of a width that 4 divides
    return None if height != width or parts.encoder.width % 4 or parts.predictor.width % 4 else parts


@torch.no_grad()
def stock_autoencoder(parts: Autoencoder) -> ViTMAEForPreTraining:
    """The stock class with these weights."""
    encoder, predictor, cut = parts.encoder, parts.predictor, parts.cut
    decoder = {f"decoder_{name}": size for name, size in sizes(predictor.layers.config).items()}
    config = ViTMAEConfig(
        **sizes(encoder.layers.config), **decoder, hidden_act=encoder.layers.config.hidden_act,
        layer_norm_eps=encoder.layers.config.layer_norm_eps, image_size=cut.size[0], patch_size=cut.patch[0],
        num_channels=cut.channels, mask_ratio=mask_ratio(parts.num_hidden, cut.grid[0] * cut.grid[1]),
        norm_pix_loss=parts.is_normalised,
    )  # fmt: skip
    made = ViTMAEForPreTraining(config)
    weights = {f"vit.{key}": value for key, value in stock_weights(encoder, cut).items()}
    made.load_state_dict({**weights, **{f"decoder.{key}": value for key, value in decoder_weights(parts).items()}})
    return made


def mask_ratio(num_hidden: int, count: int) -> float:
    """One with which the stock class, which rounds down what is seen, hides so many of `count` patches."""
    ratio = num_hidden / count
    return ratio if int(count * (1 - ratio)) == count - num_hidden else (num_hidden - 0.5) / count


def decoder_weights(parts: Autoencoder) -> dict[str, Tensor]:
    """Our predictor's weights by the stock decoder's names; the modality's vector, which all seen patches get but not
    the class token, is a part of the bias and taken off the class token's position.
    """
    predictor, modality = parts.predictor, parts.predictor.modality["image"]
    table = position_table(parts.cut.grid, predictor.width, modality.device)
    order = {"c": parts.cut.channels, "p": parts.cut.patch[0]}
    return {
        "decoder_embed.weight": predictor.project.weight,
        "decoder_embed.bias": predictor.project.bias + modality,
        "mask_token": predictor.mask[None, None],
        "decoder_pos_embed": torch.cat([-modality[None], table])[None],
        **renamed(predictor.layers.layers, "decoder_layers"),
        **renamed(predictor.layers.norm, "decoder_norm"),
        "decoder_pred.weight": rearrange(predictor.answer.weight, "(c p q) d -> (p q c) d", **order),
        "decoder_pred.bias": rearrange(predictor.answer.bias, "(c p q) -> (p q c)", **order),
    }
