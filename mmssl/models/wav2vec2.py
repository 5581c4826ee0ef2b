"""The stock wav2vec 2.0 on waveforms: convolutions over samples, then layers over frames (Baevski et al. 2020,
arXiv:2006.11477).
"""

from math import prod
from typing import Annotated, Any, Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, linear
from transformers import PreTrainedModel, Wav2Vec2Config, Wav2Vec2Model
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2FeedForward

from mmssl.attention import Packing, use_attention
from mmssl.dropout import use_dropout
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Modality, Waveform
from mmssl.models.stock_video import stock_model
from mmssl.models.transformer import answers_of
from mmssl.tokens import Place, Tokens
from mmssl.weights import copy_into, tensors_of

Count = Annotated[int, Field(ge=1)]
Counts = Annotated[list[Count], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Style = Literal["base", "large"]
NAMES = {  # our part -> the stock one
    "front.conv_layers.": "feature_extractor.conv_layers.", "front.projection.": "feature_projection.",
    "context.stock.": "encoder.",
}  # fmt: skip


class Frames(NamedTuple):
    """What the convolutions make of waveforms, a frame for each `hop` samples."""

    features: Tokens  # layer-normalised: what a quantiser reads
    projected: Tokens  # of the layers' width: what they read


class Convolution(nn.Module):
    """A stock convolutional layer with its norm and GELU, as a matrix product of overlapping windows: frames stay rows
    of features, so that a norm over features reads memory in order.
    """

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.conv: nn.Conv1d = stock.conv  # type: ignore[assignment]
        self.layer_norm: nn.LayerNorm | nn.GroupNorm | None = getattr(stock, "layer_norm", None)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B N D"]:
        size, step = self.conv.kernel_size[0], self.conv.stride[0]
        count = (x.shape[1] - size) // step + 1
        if size == step:  # windows that do not overlap need no copy
            windows = rearrange(x[:, : count * step], "b (n k) c -> b n (k c)", k=size)
        else:
            windows = rearrange(x.unfold(1, size, step), "b n c k -> b n (k c)")
        weight = rearrange(self.conv.weight, "d c k -> d (k c)")
        return gelu(self.normalised(linear(windows, weight, self.conv.bias)))

    def normalised(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Each frame over its features, or each feature over time, where the stock layer does."""
        norm = self.layer_norm
        if norm is None:
            return x
        with torch.autocast(x.device.type, enabled=False):  # its statistics are computed in float32 in any type
            if isinstance(norm, nn.LayerNorm):
                return layer_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)
            variance, mean = torch.var_mean(x.float(), 1, keepdim=True, correction=0)
            scale = (variance + norm.eps).rsqrt() * norm.weight
            return torch.addcmul((norm.bias - mean * scale).to(x.dtype), x, scale.to(x.dtype))


class Front(nn.Module):
    """Samples -> frames: the convolutions, a norm, a projection."""

    def __init__(self, stock: Wav2Vec2Model) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(Convolution(layer) for layer in stock.feature_extractor.conv_layers)
        self.projection = stock.feature_projection

    def forward(self, samples: Tokens, gradient: float = 1.0) -> Frames:
        """`gradient` scales what the convolutions learn by."""
        x = samples.value
        for layer in self.conv_layers:
            x = layer(x)
        if gradient != 1 and x.requires_grad:
            x.register_hook(lambda g: g * gradient)
        projected, features = self.projection(x)
        position = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        place = Place(position, samples.place.document[:, :1].expand_as(position), (x.shape[1],))
        return Frames(Tokens(features, place), Tokens(projected, place))


class Context(nn.Module):
    """Frames, or those of them that are seen, through a convolution that tells where they lie, and the layers."""

    def __init__(self, stock: Wav2Vec2Model) -> None:
        super().__init__()
        self.stock: Any = stock.encoder
        self.is_stable: bool = stock.config.do_stable_layer_norm  # norms before, not after, attention and perceptron

    @property
    def layers(self) -> nn.ModuleList:
        """Those of the transformer."""
        return self.stock.layers

    @property
    def num_layers(self) -> int:
        """How many there are."""
        return len(self.layers)

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        ((name, tokens),) = seen.items()
        x = tokens.value + self.positions(tokens)
        x = self.stock.dropout(x if self.is_stable else self.stock.layer_norm(x))
        packing = Packing(tokens.place.document)
        for layer in self.layers:
            x = layer(x, packing=packing)
        return {name: Tokens(self.stock.layer_norm(x) if self.is_stable else x, tokens.place)}

    def positions(self, tokens: Tokens) -> Float[Tensor, "B N D"]:
        """The relative positions of each frame; frames that are not there are 0 to the convolution."""
        count = tokens.place.grid[0]
        if tokens.value.shape[1] == count:
            return self.stock.pos_conv_embed(tokens.value)
        index = tokens.place.position[..., None].expand_as(tokens.value)
        whole = tokens.value.new_zeros(len(index), count, index.shape[2]).scatter(1, index, tokens.value)
        return self.stock.pos_conv_embed(whole).gather(1, index)

    def added(self, name: str, tokens: Tokens) -> list[Float[Tensor, "B N D"]]:
        """What the perceptron of each layer adds to the frames, from first to last layer."""
        parts = [part for part in self.layers.modules() if isinstance(part, Wav2Vec2FeedForward)]
        return answers_of(parts, lambda: self({name: tokens}))

    def after(self, tokens: Tokens, layer: int) -> Float[Tensor, "B N D"]:
        """The frames after so many layers."""
        return answers_of([self.layers[layer - 1]], lambda: self({"audio": tokens}))[0]


class WaveformEncoder(nn.Module):
    """Tokens are samples; the answer has a token for each frame. It must see all of them."""

    def __init__(self, stock: Wav2Vec2Model, waveform: Waveform) -> None:
        super().__init__()
        config = stock.config
        self.cuts, self.width, self.config = {"audio": waveform}, int(config.hidden_size), config
        self.hop = prod(config.conv_stride)  # samples from one frame to the next
        self.reach = 1  # samples that a frame sees
        for size, step in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
            self.reach = (self.reach - 1) * step + size
        if waveform.length < self.reach + self.hop:
            raise ConfigError(
                f"data.seconds: {waveform.length} samples; expected {self.reach + self.hop} at least, for two frames"
            )
        use_dropout(stock)
        use_attention(stock)
        self.front, self.context = Front(stock), Context(stock)

    def frames(self, length: int) -> int:
        """Frames that so many samples become."""
        return (length - self.reach) // self.hop + 1

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        return self.context({"audio": self.front(seen["audio"]).projected})


def wav2vec2(
    modalities: dict[str, Modality], *, layers: Count = 12, width: Count = 768, heads: Count = 12,
    intermediate: Count = 3072, conv_widths: Counts = [512] * 7,
    conv_sizes: Counts = [10, 3, 3, 3, 3, 2, 2], conv_steps: Counts = [5, 2, 2, 2, 2, 2, 2],  # noqa: B006
    position_size: Count = 128, position_groups: Count = 16, style: Style = "base", dropout: Share = 0.1,
    pretrained: str = "",
) -> WaveformEncoder:  # fmt: skip
    """wav2vec 2.0, base (Baevski et al. 2020, arXiv:2006.11477, section 4.2), without its layer drop: a frame each 20
    ms of 16 kHz, by convolutions of `conv_sizes` frames every `conv_steps`.

    `style` base: the first convolution is normalised over time, layers after what they add; large: each convolution
    over its features, layers before. `pretrained`: a stock `Wav2Vec2...` folder or hub name of these sizes ("": random
    weights).
    """
    waveform = modalities.get("audio")
    if len(modalities) > 1 or not isinstance(waveform, Waveform):
        raise ConfigError(
            f"encoder.name wav2vec2: reads waveforms alone, the task {', '.join(modalities)}; "
            "expected audio.form=waveform and a task of sounds, or encoder.name vit"
        )
    if not len(conv_widths) == len(conv_sizes) == len(conv_steps):
        lengths = len(conv_widths), len(conv_sizes), len(conv_steps)
        raise ConfigError(f"encoder.conv_widths, conv_sizes, conv_steps: {lengths} of them; expected as many of each")
    for key, parts in {"heads": heads, "position_groups": position_groups}.items():
        if width % parts:
            raise ConfigError(f"encoder.width {width} cannot be split into encoder.{key} {parts}; expected a multiple")
    config = Wav2Vec2Config(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=intermediate,
        conv_dim=conv_widths, conv_kernel=conv_sizes, conv_stride=conv_steps, num_conv_pos_embeddings=position_size,
        num_conv_pos_embedding_groups=position_groups, **styled(style), hidden_dropout=dropout,
        attention_dropout=dropout, activation_dropout=0.0, feat_proj_dropout=dropout, layerdrop=0.0,
    )  # fmt: skip
    encoder = WaveformEncoder(Wav2Vec2Model(config), waveform)
    stock = stock_model("Wav2Vec2Model", pretrained)
    return encoder if stock is None else with_weights(encoder, stock)


def styled(style: Style) -> dict[str, Any]:
    """What distinguishes the paper's large models, by the keys of the stock config."""
    is_large = style == "large"
    return {
        "feat_extract_norm": "layer" if is_large else "group", "conv_bias": is_large, "do_stable_layer_norm": is_large,
    }  # fmt: skip


SIZES = {  # keys of the stock config that weights do not show, or not clearly -> ours
    "num_hidden_layers": "layers", "num_attention_heads": "heads", "conv_kernel": "conv_sizes",
    "conv_stride": "conv_steps", "feat_extract_norm": "style", "do_stable_layer_norm": "style",
}  # fmt: skip


def with_weights(encoder: WaveformEncoder, stock: PreTrainedModel) -> WaveformEncoder:
    """The encoder with the weights of a stock model; ConfigError or CheckpointError where it has other sizes."""
    name = f"encoder.pretrained {stock.config.name_or_path}"
    for theirs, ours in SIZES.items():
        wanted, mine = (getattr(config, theirs) for config in (stock.config, encoder.config))
        if (list(wanted) if isinstance(wanted, (list, tuple)) else wanted) != mine:
            raise ConfigError(f"encoder.{ours}: {theirs} {mine}; {name} has {wanted}; expected the same")
    weights = stock.state_dict()
    copy_into(encoder, {key: weights[stock_name(key)] for key in tensors_of(encoder)}, name)
    return encoder


def stock_name(key: str) -> str:
    """The stock name of one of our weights."""
    mine, theirs = next(pair for pair in NAMES.items() if key.startswith(pair[0]))
    return theirs + key.removeprefix(mine)


def stock_weights(encoder: WaveformEncoder) -> dict[str, Tensor]:
    """An encoder's weights by their stock names."""
    return {stock_name(key): tensor for key, tensor in tensors_of(encoder).items()}


def stock_encoder(encoder: WaveformEncoder) -> Wav2Vec2Model:
    """`Wav2Vec2Model` with an encoder's weights, without an embedding of masks."""
    values = {**encoder.config.to_dict(), "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    made = Wav2Vec2Model(Wav2Vec2Config(**values))
    made.load_state_dict(stock_weights(encoder))
    return made
