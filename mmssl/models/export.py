"""A stock `transformers` checkpoint, which loads and works without mmssl."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    RegNetModel,
    ResNetModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
    VivitConfig,
    VivitModel,
    Wav2Vec2FeatureExtractor,
)

from mmssl.attention import use_attention
from mmssl.augment import DEVIATION, MEAN
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut
from mmssl.modalities.text import Vocabulary
from mmssl.models.convnet import ConvolutionalEncoder
from mmssl.models.encoder import TextEncoder
from mmssl.models.spectrogram_transformer import stock_spectrogram_encoder
from mmssl.models.stock_video import stock_encoder
from mmssl.models.transformer import TransformerEncoder, position_table
from mmssl.models.wav2vec2 import WaveformEncoder
from mmssl.models.wav2vec2 import stock_encoder as stock_waveform_encoder


def export_text(encoder: nn.Module, vocabulary: Vocabulary, folder: Path) -> None:
    """The model and its tokenizer for `from_pretrained`; ConfigError where no stock class exists."""
    if not isinstance(encoder, TextEncoder):
        raise ConfigError(
            f"export: {type(encoder).__name__} has no stock class in transformers; expected a run with "
            "encoder.name bert, roberta, xlm_roberta, modernbert or pretrained"
        )
    encoder.stock.set_attn_implementation("sdpa")
    encoder.stock.save_pretrained(folder)
    use_attention(encoder.stock)  # else the packed rows of this process would leak into each other
    vocabulary.tokenizer.model_max_length = encoder.longest
    if encoder.has_types:
        vocabulary.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        vocabulary.tokenizer.init_kwargs["model_input_names"] = None  # saved with the attribute's value
    vocabulary.tokenizer.save_pretrained(folder)
    print(f"exported to {folder}: AutoModelForMaskedLM.from_pretrained({str(folder)!r})")


def export_encoder(encoder: nn.Module, folder: Path) -> None:
    """An encoder of pictures, spectrograms or clips for `AutoModel.from_pretrained`: `ViTModel` (a spectrogram is a
    picture of one channel, times x bands), `VivitModel`, `VideoMAEModel`, `VJEPA2Model` (call it with
    `skip_predictor=True`), `ResNetModel` or `RegNetModel`, for waveforms `Wav2Vec2Model`; for pictures an image
    processor, for waveforms a feature extractor.

    The last hidden states after the class token, or the feature map, are our tokens; `pooler_output` of a transformer
    is the class token. Of spectrograms, encoder.name ast becomes `ASTModel`, whose patches are our tokens with bands
    before times, behind two more tokens, and which reads our spectrograms: its feature extractor makes others, so none
    is written. A vit has one class token and patches that need not be square, which `ASTModel` cannot compute: it stays
    a `ViTModel`. ConfigError where no stock class computes the same: several modalities in one encoder, words in
    it, and convolutions whose first layers are not the stock ones.
    """
    cut = None
    if isinstance(encoder, WaveformEncoder):
        model = stock_waveform_encoder(encoder)
        waveform_extractor(encoder.cuts["audio"].rate_hz).save_pretrained(folder)
    elif isinstance(encoder, ConvolutionalEncoder):
        model, cut = stock_convolutional(encoder), encoder.cuts["image"]
    else:
        model, cut = stock_transformer(encoder)
    model.save_pretrained(folder)
    if cut is not None and cut.name == "image":
        image_processor(cut.size).save_pretrained(folder)
    print(f"exported to {folder}: AutoModel.from_pretrained({str(folder)!r})")


def waveform_extractor(rate_hz: int) -> Wav2Vec2FeatureExtractor:
    """What normalises a waveform as ours are."""
    return Wav2Vec2FeatureExtractor(sampling_rate=rate_hz, do_normalize=True)


def stock_convolutional(encoder: ConvolutionalEncoder) -> ResNetModel | RegNetModel:
    """The stock ResNet or RegNet with these weights; ConfigError where its stem is another."""
    made = type(encoder.stock)(encoder.stock.config)  # type: ignore[arg-type]
    stem = [module.embedder.embedder.convolution for module in (made, encoder.stock)]
    if stem[0].stride != stem[1].stride:
        size, step = stem[0].kernel_size[0], stem[0].stride[0]
        raise ConfigError(
            "export: encoder.small_stem has a convolution of 3 x 3 and stride 1, the stem of the stock "
            f"{type(made).__name__} one of {size} x {size} and stride {step}; "
            "expected a run with encoder.small_stem=false"
        )
    made.load_state_dict(encoder.stock.state_dict())
    return made


@torch.no_grad()
def stock_transformer(encoder: nn.Module) -> tuple[PreTrainedModel, Cut]:
    """The stock vision transformer with these weights, and what it reads; ConfigError where there is none."""
    if not isinstance(encoder, TransformerEncoder):
        raise ConfigError(
            f"export: {type(encoder).__name__} has no stock class in transformers; "
            "expected encoder.name vit, resnet or regnet_y"
        )
    video = stock_encoder(encoder)
    if video is not None:
        return video, encoder.cut("video")
    spectrogram = stock_spectrogram_encoder(encoder)
    if spectrogram is not None:
        return spectrogram, encoder.cut("audio")
    cut, *others = encoder.cuts.values()
    if others or not isinstance(cut, Cut):
        raise ConfigError(
            f"export: an encoder of {', '.join(encoder.cuts)} has no stock class in transformers; "
            "expected one of image, audio or video alone"
        )
    made = stock_class(encoder, cut)
    made.load_state_dict({**stock_weights(encoder, cut), **pooler(encoder.width)})
    return made, cut


def stock_weights(encoder: TransformerEncoder, cut: Cut) -> dict[str, Tensor]:
    """The encoder's weights by their names in the stock vision transformers."""
    return {
        **embeddings(encoder, cut),
        **renamed(encoder.layers.layers, "layers"),
        **renamed(encoder.layers.norm, "layernorm"),
    }


def renamed(module: nn.Module, name: str) -> dict[str, Tensor]:
    """A module's weights, as those of a part with this name."""
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}


def stock_class(encoder: TransformerEncoder, cut: Cut) -> ViTModel | VivitModel:
    """A model of the right shape, its weights not set."""
    ours = encoder.layers.config
    shape = {
        **sizes(ours), "hidden_act": ours.hidden_act, "layer_norm_eps": ours.layer_norm_eps,
        "num_channels": cut.channels, "pooler_act": "linear",
    }  # fmt: skip
    if cut.name == "video":
        size = side(cut.size[1:])
        return VivitModel(VivitConfig(image_size=size, num_frames=cut.size[0], tubelet_size=list(cut.patch), **shape))
    return ViTModel(ViTConfig(image_size=side(cut.size), patch_size=side(cut.patch), **shape))


def sizes(config: ViTConfig) -> dict[str, Any]:
    """Those of a stack of layers, by their names in the configs of `transformers`."""
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    return {name: getattr(config, name) for name in names}


def side(lengths: Sequence[int]) -> int | list[int]:
    """One number where all are the same."""
    return lengths[0] if len(set(lengths)) == 1 else list(lengths)


def embeddings(encoder: TransformerEncoder, cut: Cut) -> dict[str, Tensor]:
    """Our Linear on patches as a convolution, our positions with the modality's vector as a table."""
    linear, first = encoder.embed[cut.name], encoder.first
    assert isinstance(linear, nn.Linear)
    assert first is not None
    kernel = linear.weight.reshape(encoder.width, cut.channels, *cut.patch)  # a patch's features are in this order
    table = position_table(cut.grid, encoder.width, first.device) + encoder.modality[cut.name]
    return {
        "embeddings.cls_token": first[None, None],
        "embeddings.position_embeddings": torch.cat([torch.zeros_like(table[:1]), table])[None],
        "embeddings.patch_embeddings.projection.weight": kernel,
        "embeddings.patch_embeddings.projection.bias": linear.bias,
    }


def pooler(width: int) -> dict[str, Tensor]:
    """One that hands the class token on, so that `AutoModel` finds a weight for all that it makes."""
    return {"pooler.dense.weight": torch.eye(width), "pooler.dense.bias": torch.zeros(width)}


def image_processor(size: Sequence[int]) -> ViTImageProcessor:
    """Shorter side resized, centre cut out, normalised: as `mmssl.modalities.image` and `mmssl.augment` do for pictures
    at least as oblong as `size`; it has no way to enlarge others, whose missing borders it makes black.
    """
    height, width = size
    return ViTImageProcessor(
        size={"shortest_edge": min(size)}, do_center_crop=True, crop_size={"height": height, "width": width},
        resample=3, image_mean=[MEAN] * 3, image_std=[DEVIATION] * 3,
    )  # fmt: skip
