"""A masked autoencoder of clips as a stock `VideoMAEForPreTraining`, decoder and all; weights go both ways (Tong et al.
2022, arXiv:2203.12602).
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import PreTrainedModel, VideoMAEConfig, VideoMAEForPreTraining

from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut
from mmssl.models.autoencoder_parts import Autoencoder, parts_of
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.stock_video import LEAVES, by_our_names, is_key_bias, layer_names, videomae_sizes, weights_of
from mmssl.models.target import NormalisedChannels
from mmssl.objectives import Objective
from mmssl.weights import copy_into, tensors_of

STOCK_NAMES = {"layers": "hidden_layers", "heads": "attention_heads"}
LAST_EPSILON = 1e-5  # of the decoder's last norm, whatever that of the others


def video_autoencoder(objective: Objective) -> Autoencoder | None:
    """Its parts, if `VideoMAEForPreTraining` computes the same; else None.

    The stock loss takes the normalisation of pictures by ImageNet's means and deviations back, whatever it was: no
    matter where each channel is normalised anew, so that targets must be.
    """
    parts = parts_of(objective, "video", (NormalisedChannels,))
    if parts is None or parts.cut.size[1] != parts.cut.size[2]:
        return None
    encoder, predictor = parts.encoder, parts.predictor
    is_row = (encoder.positions, predictor.positions) == ("row", "row")
    is_bare = encoder.first is None and predictor.project.bias is None and not len(predictor.modality)
    return parts if is_row and is_bare and predictor.layers.norm.eps == LAST_EPSILON else None


@torch.no_grad()
def stock_video_autoencoder(parts: Autoencoder) -> VideoMAEForPreTraining:
    """The stock class with these weights."""
    ours = parts.predictor.layers.config
    config = VideoMAEConfig(
        **videomae_sizes(parts.encoder), decoder_hidden_size=ours.hidden_size,
        decoder_num_hidden_layers=ours.num_hidden_layers, decoder_num_attention_heads=ours.num_attention_heads,
        decoder_intermediate_size=ours.intermediate_size, norm_pix_loss=True,
    )  # fmt: skip
    made = VideoMAEForPreTraining(config)
    weights = {f"videomae.{key}": value for key, value in weights_of(parts.encoder, rotary=False).items()}
    made.load_state_dict({**weights, **decoder_weights(parts.predictor, parts.cut)})
    return made


def decoder_weights(predictor: TransformerPredictor, cut: Cut) -> dict[str, Tensor]:
    """Our predictor's weights by the stock decoder's names; a patch's numbers lie channels last there."""
    ours = tensors_of(predictor)
    names = decoder_names(len(predictor.layers.layers))
    return {
        "mask_token": ours["mask"][None, None],
        **{f"decoder.head.{leaf}": rearrange(ours[f"answer.{leaf}"], "(c n) ... -> (n c) ...", c=cut.channels)
           for leaf in LEAVES},
        **{theirs: ours[mine] for mine, theirs in names.items() if not is_key_bias(theirs)},
    }  # fmt: skip


@torch.no_grad()
def load_decoder(predictor: nn.Module, stock: PreTrainedModel, cut: Cut) -> None:
    """Let a predictor begin as a stock decoder; ConfigError or CheckpointError where that has other sizes."""
    assert isinstance(predictor, TransformerPredictor)
    name, ours = f"method.pretrained {stock.config.name_or_path}", predictor.layers.config
    asked = {"layers": ours.num_hidden_layers, "heads": ours.num_attention_heads}
    wanted = {key: getattr(stock.config, f"decoder_num_{part}") for key, part in STOCK_NAMES.items()}
    for key, mine in asked.items():
        if mine != wanted[key]:
            raise ConfigError(f"method.predictor_{key} {mine}: {name} has {wanted[key]}; expected the same")
    theirs, mine = stock.state_dict(), tensors_of(predictor)
    found = {
        "mask": theirs["mask_token"][0, 0],
        **{f"answer.{leaf}": rearrange(theirs[f"decoder.head.{leaf}"], "(n c) ... -> (c n) ...", c=cut.channels)
           for leaf in LEAVES},
        **by_our_names(decoder_names(len(predictor.layers.layers)), theirs, mine),
    }  # fmt: skip
    copy_into(predictor, found, name)


def decoder_names(layers: int) -> dict[str, str]:
    """Our name of each weight of a predictor -> the stock decoder's, but of those whose numbers lie otherwise."""
    return {
        "project.weight": "encoder_to_decoder.weight",
        **{f"layers.norm.{leaf}": f"decoder.norm.{leaf}" for leaf in LEAVES},
        **layer_names("layers.layers", "decoder.decoder_layers", layers),
    }
