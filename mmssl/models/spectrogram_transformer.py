"""The Audio Spectrogram Transformer (Gong et al. 2021, arXiv:2104.01778), and as the stock `ASTModel`: weights go both
ways.

Its patches are squares that share nothing, so that a part of them can be hidden and predicted: the stock class with
`frequency_stride` and `time_stride` of a whole patch. The published weights step by 10 of 16: they cannot be loaded.
"""

from functools import partial
from typing import Annotated

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor
from transformers import ASTConfig, ASTModel, PreTrainedModel

from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut, Grid, Modality
from mmssl.models.stock_video import epsilon_of, stock_model
from mmssl.models.transformer import Layers, TransformerEncoder
from mmssl.weights import copy_into, tensors_of

Count = Annotated[int, Field(ge=1)]
ORDER = "(t f) d -> (f t) d"  # of places: ours to the stock ones


def ast(
    modalities: dict[str, Modality], *, layers: Count = 12, width: Count = 768, heads: Count = 12,
    intermediate: Count = 3072, patch: Count = 16, pretrained: str = "",
) -> TransformerEncoder:  # fmt: skip
    """AST base on patches of `patch` columns x `patch` bands, two tokens before them and a learnt position for each, so
    that all spectrograms have one size. `pretrained`: a stock `ASTModel` folder or hub name of these sizes whose
    patches do not overlap ("": random weights, positions that begin as sines and cosines).
    """
    grid = modalities.get("audio")
    if set(modalities) != {"audio"} or not isinstance(grid, Grid):
        raise ConfigError(f"encoder ast: reads sounds alone, the task reads {', '.join(modalities)}; expected vit")
    cut, stock = grid.cut((patch, patch)), stock_model("ASTModel", pretrained)
    stack = partial(
        Layers, layers=layers, width=width, heads=heads, intermediate=intermediate, epsilon=epsilon_of(stock)
    )
    encoder = TransformerEncoder(
        {"audio": cut}, stack=stack, width=width, fused=False, positions="none", num_class_tokens=2,
        learns_positions=True,
    )  # fmt: skip
    return encoder if stock is None else with_weights(encoder, cut, stock)


def stock_spectrogram_encoder(encoder: TransformerEncoder) -> ASTModel | None:
    """`ASTModel` with an encoder's weights; None where it does not compute the same: its patches are squares of one
    channel, with two tokens before them. ConfigError where only the channels are in the way.
    """
    if tuple(encoder.cuts) != ("audio",) or encoder.num_first != 2 or not isinstance(encoder.layers, Layers):
        return None
    cut, ours = encoder.cut("audio"), encoder.layers.config
    if cut.channels != 1:
        raise ConfigError(f"export: spectrograms of {cut.channels} channels, ASTModel reads one; expected mono sounds")
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
    config = ASTConfig(
        **{name: getattr(ours, name) for name in (*sizes, "layer_norm_eps")}, max_length=cut.size[0],
        num_mel_bins=cut.size[1], patch_size=cut.patch[0], time_stride=cut.patch[0], frequency_stride=cut.patch[0],
    )  # fmt: skip
    made = ASTModel(config)
    made.load_state_dict(stock_weights(encoder, cut))
    return made


def stock_weights(encoder: TransformerEncoder, cut: Cut) -> dict[str, Tensor]:
    """An encoder's weights by their stock names; a patch's features are its columns, then its bands, the kernel's the
    other way round, and so are the places.
    """
    ours = tensors_of(encoder)
    side = {"p": cut.patch[0]}
    first, places = ours["first"], ours["modality.audio"]
    rest = {key: value for key, value in ours.items() if key.startswith("layers.")}
    return {
        "embeddings.cls_token": first[None, :1],
        "embeddings.distillation_token": first[None, 1:],
        "embeddings.position_embeddings": torch.cat([torch.zeros_like(first), rearrange(places, ORDER, t=cut.grid[0])])[
            None
        ],
        "embeddings.patch_embeddings.projection.weight": rearrange(
            ours["embed.audio.weight"], "d (p q) -> d 1 q p", **side
        ),
        "embeddings.patch_embeddings.projection.bias": ours["embed.audio.bias"],
        **{stock_name(key): value for key, value in rest.items()},
    }


def stock_name(name: str) -> str:
    """That of a weight of our stack of layers: the stock layer is that of the stock ViT."""
    return name.removeprefix("layers.") if name.startswith("layers.layers.") else f"layernorm.{name.split('.')[-1]}"


def with_weights(encoder: TransformerEncoder, cut: Cut, stock: PreTrainedModel) -> TransformerEncoder:
    """The encoder with the weights of a stock model; ConfigError or CheckpointError where it has other sizes. What the
    stock model adds to its first two tokens becomes a part of them; a bias that it does without is 0.
    """
    name = f"encoder.pretrained {stock.config.name_or_path}"
    check_sizes(encoder, cut, stock, name)
    theirs, ours = stock.state_dict(), tensors_of(encoder)
    first = torch.cat([theirs["embeddings.cls_token"], theirs["embeddings.distillation_token"]], 1)[0]
    positions = theirs["embeddings.position_embeddings"][0]
    found = {
        "first": first + positions[:2],
        "modality.audio": rearrange(positions[2:], "(f t) d -> (t f) d", t=cut.grid[0]),
        "embed.audio.weight": rearrange(
            theirs["embeddings.patch_embeddings.projection.weight"], "d 1 q p -> d (p q)"
        ),
        "embed.audio.bias": theirs["embeddings.patch_embeddings.projection.bias"],
    }  # fmt: skip
    for key, value in ours.items():
        if key.startswith("layers."):
            is_left_out = key.endswith("_proj.bias") and stock_name(key) not in theirs
            found[key] = torch.zeros_like(value) if is_left_out else theirs[stock_name(key)]
    copy_into(encoder, found, name)
    return encoder


def check_sizes(encoder: TransformerEncoder, cut: Cut, stock: PreTrainedModel, name: str) -> None:
    """What weights do not show: ConfigError where the stock model cuts spectrograms otherwise or has other heads."""
    theirs, ours, side = stock.config, encoder.layers.config, stock.config.patch_size
    if (theirs.frequency_stride, theirs.time_stride) != (side, side):
        raise ConfigError(
            f"{name}: patches of {side} that overlap (frequency_stride {theirs.frequency_stride}, time_stride "
            f"{theirs.time_stride}); expected strides of a whole patch, so that patches can be hidden"
        )
    asked = {
        "encoder.layers": (ours.num_hidden_layers, theirs.num_hidden_layers),
        "encoder.width": (ours.hidden_size, theirs.hidden_size),
        "encoder.heads": (ours.num_attention_heads, theirs.num_attention_heads),
        "encoder.patch": (cut.patch[0], side),
        "data.seconds / audio.hop_seconds": (cut.size[0], theirs.max_length),
        "audio.bands": (cut.size[1], theirs.num_mel_bins),
    }
    for key, (mine, wanted) in asked.items():
        if mine != wanted:
            raise ConfigError(f"{key} {mine}: {name} has {wanted}; expected the same")
