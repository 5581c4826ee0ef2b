"""The encoders of VideoMAE and V-JEPA 2 as stock classes of `transformers`: weights go both ways.

Tong et al. 2022, arXiv:2203.12602; Assran et al. 2025, arXiv:2506.09985.
"""

from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel, VideoMAEConfig, VideoMAEModel, VJEPA2Model

from mmssl.errors import ConfigError
from mmssl.models.rotary import RotaryLayers
from mmssl.models.transformer import EPSILON, Layers, TransformerEncoder
from mmssl.weights import copy_into, tensors_of

VIDEOMAE_LAYER = {  # the parts of the stock ViT layer by their names in VideoMAE's
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "layernorm_before": "layernorm_before",
    "layernorm_after": "layernorm_after",
}
LEAVES = ("weight", "bias")


def stock_model(kind: str, path: str) -> PreTrainedModel | None:
    """The stock model of a local folder or the hub (safetensors only); None where no path is given. ConfigError where
    there is none.
    """
    if not path:
        return None
    known = getattr(transformers, kind)
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        if config.model_type != known.config_class.model_type or config.hidden_act != "gelu":
            raise ValueError(f"a {config.model_type} with {getattr(config, 'hidden_act', 'no activation')}")
        found, about = known.from_pretrained(
            path, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        if about["missing_keys"]:  # which it would make up
            raise ValueError(f"without {sorted(about['missing_keys'])[0]}")
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"pretrained {path}: {str(error).splitlines()[0]}; expected a {kind} with gelu") from error
    return found


def epsilon_of(stock: PreTrainedModel | None) -> float:
    """What is added to the variances in the norms."""
    return EPSILON if stock is None else stock.config.layer_norm_eps


def stock_encoder(encoder: TransformerEncoder) -> PreTrainedModel | None:
    """`VideoMAEModel` or `VJEPA2Model` with an encoder's weights; None where neither computes the same.

    The stock `VJEPA2Model` is made without layers in its predictor, which is none of ours: call it with
    `skip_predictor=True`.
    """
    if tuple(encoder.cuts) != ("video",) or encoder.first is not None:
        return None
    if isinstance(encoder.layers, RotaryLayers):
        config = encoder.layers.config.__class__(**{**encoder.layers.config.to_dict(), "pred_num_hidden_layers": 0})
        made: PreTrainedModel = VJEPA2Model(config)
    elif encoder.positions == "row" and isinstance(encoder.layers, Layers):
        made = VideoMAEModel(VideoMAEConfig(**videomae_sizes(encoder)))
    else:
        return None
    rest = {key: value for key, value in made.state_dict().items() if key.startswith("predictor.")}
    made.load_state_dict({**weights_of(encoder, rotary=isinstance(encoder.layers, RotaryLayers)), **rest})
    return made


def videomae_sizes(encoder: TransformerEncoder) -> dict[str, Any]:
    """An encoder's part of a `VideoMAEConfig`; ConfigError where patches or pictures are not square."""
    cut, ours = encoder.cut("video"), encoder.layers.config
    if cut.size[1] != cut.size[2]:
        raise ConfigError(f"export: clips of {cut.size[1]} x {cut.size[2]} pixels; expected square ones for VideoMAE")
    return {
        "image_size": cut.size[1], "patch_size": cut.patch[1], "num_channels": cut.channels, "num_frames": cut.size[0],
        "tubelet_size": cut.patch[0], "hidden_size": ours.hidden_size, "num_hidden_layers": ours.num_hidden_layers,
        "num_attention_heads": ours.num_attention_heads, "intermediate_size": ours.intermediate_size,
        "hidden_act": ours.hidden_act, "layer_norm_eps": ours.layer_norm_eps, "use_mean_pooling": False,
    }  # fmt: skip


def weights_of(encoder: TransformerEncoder, *, rotary: bool) -> dict[str, Tensor]:
    """An encoder's weights by their stock names; the modality's vector, which all tokens get, is a part of the bias."""
    ours, cut = tensors_of(encoder), encoder.cut("video")
    names = encoder_names(len(encoder.layers.layers), rotary=rotary)
    patches = patch_name(rotary=rotary)
    weight, bias = ours["embed.video.weight"], ours["embed.video.bias"] + ours["modality.video"]
    return {
        f"{patches}.weight": weight.reshape(len(weight), cut.channels, *cut.patch),  # a patch's features lie like this
        f"{patches}.bias": bias,
        **{theirs: ours[mine] for mine, theirs in names.items() if not is_key_bias(theirs)},
    }


def with_weights(encoder: TransformerEncoder, stock: PreTrainedModel) -> TransformerEncoder:
    """The encoder with the weights of a stock model; ConfigError or CheckpointError where it has other sizes."""
    rotary = isinstance(encoder.layers, RotaryLayers)
    name = f"encoder.pretrained {stock.config.name_or_path}"
    check_sizes(encoder, stock, name)
    theirs, ours = stock.state_dict(), tensors_of(encoder)
    if not rotary and "layernorm.weight" not in theirs:
        raise ConfigError(f"{name}: use_mean_pooling true, so no last norm; expected a model from pretraining")
    patches = patch_name(rotary=rotary)
    names = encoder_names(len(encoder.layers.layers), rotary=rotary)
    found = {
        "embed.video.weight": theirs[f"{patches}.weight"].flatten(1), "embed.video.bias": theirs[f"{patches}.bias"],
        "modality.video": torch.zeros_like(ours["modality.video"]), **by_our_names(names, theirs, ours),
    }  # fmt: skip
    copy_into(encoder, found, name)
    return encoder


def by_our_names(names: dict[str, str], theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Stock weights by our names; 0 for a bias that the stock layers do without."""
    return {
        mine: theirs[key] if key in theirs else torch.zeros_like(ours[mine])
        for mine, key in names.items()
        if key in theirs or key.endswith(".bias")
    }


def check_sizes(encoder: TransformerEncoder, stock: PreTrainedModel, name: str) -> None:
    """What weights do not show: ConfigError where the stock model has other heads or cuts clips otherwise."""
    cut, ours, theirs = encoder.cut("video"), encoder.layers.config, stock.config
    asked = {
        "encoder.layers": (ours.num_hidden_layers, theirs.num_hidden_layers),
        "encoder.heads": (ours.num_attention_heads, theirs.num_attention_heads),
        "encoder.frames": (cut.patch[0], theirs.tubelet_size),
        "encoder.patch": (cut.patch[1], theirs.patch_size),
    }
    if not isinstance(encoder.layers, RotaryLayers):  # whose positions are those of any clip
        asked |= {"video.size": (cut.size[1], theirs.image_size), "video.frames": (cut.size[0], theirs.num_frames)}
    for key, (mine, wanted) in asked.items():
        if mine != wanted:
            raise ConfigError(f"{key} {mine}: {name} has {wanted}; expected the same")


def patch_name(*, rotary: bool) -> str:
    """Where a stock encoder keeps the embedding of patches."""
    return "encoder.embeddings.patch_embeddings.proj" if rotary else "embeddings.patch_embeddings.projection"


def encoder_names(layers: int, *, rotary: bool) -> dict[str, str]:
    """Our name of each weight of the layers and the last norm -> the stock one."""
    norm = "encoder.layernorm" if rotary else "layernorm"
    last = {f"layers.norm.{leaf}": f"{norm}.{leaf}" for leaf in LEAVES}
    return {**layer_names("layers.layers", "encoder.layer", layers, rotary=rotary), **last}


def layer_names(ours: str, theirs: str, layers: int, *, rotary: bool = False) -> dict[str, str]:
    """Our name of each weight of a stack of layers -> the stock one."""
    parts = (
        "norm1",
        "norm2",
        "mlp.fc1",
        "mlp.fc2",
        *(f"attention.{part}" for part in ("query", "key", "value", "proj")),
    )
    table = {part: part for part in parts} if rotary else VIDEOMAE_LAYER
    return {
        f"{ours}.{number}.{mine}.{leaf}": f"{theirs}.{number}.{part}.{leaf}"
        for number in range(layers)
        for mine, part in table.items()
        for leaf in LEAVES
    }


def is_key_bias(name: str) -> bool:
    """Whether a weight adds the same to all of a query's scores, which changes no softmax: VideoMAE has none."""
    return name.endswith("attention.attention.key.bias")
