"""The ViT encoder of any modality, by name and numbers in the config."""

from functools import partial
from typing import Annotated

from pydantic import Field

from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut, Grid, Modality, Words
from mmssl.modalities.text import Vocabulary
from mmssl.models.rotary import RotaryLayers
from mmssl.models.separate import SeparateEncoder
from mmssl.models.stock_video import epsilon_of, stock_model, with_weights
from mmssl.models.transformer import Layers, TransformerEncoder
from mmssl.sections import CountOrZero

Count = Annotated[int, Field(ge=1)]


def vit(
    modalities: dict[str, Modality], *, layers: Count = 12, width: Count = 768, heads: Count = 12,
    intermediate: Count = 3072, patch: Count = 16, frames: Count = 2, audio_patch: tuple[Count, Count] = (16, 16),
    fused: bool = False, separate_layers: CountOrZero = 0,
) -> TransformerEncoder:  # fmt: skip
    """ViT base (Dosovitskiy et al. 2020, arXiv:2010.11929) on patches of `patch` x `patch` pixels, of `frames` frames
    in a clip, of `audio_patch` (times, bands) in a spectrogram; `fused`: modalities see each other.
    The first `separate_layers` are each modality's own; with all of them its encoder is its own but for the last norm.
    """
    patches = {"image": (patch, patch), "audio": audio_patch, "video": (frames, patch, patch)}
    cuts: dict[str, Cut | Words] = {
        name: Words(modality) if isinstance(modality, Vocabulary) else modality.cut(patches[name])
        for name, modality in modalities.items()
    }
    stack = partial(Layers, width=width, heads=heads, intermediate=intermediate)
    if not separate_layers:
        return TransformerEncoder(cuts, stack=partial(stack, layers=layers), width=width, fused=fused)
    if separate_layers > layers or len(modalities) < 2:
        raise ConfigError(
            f"encoder.separate_layers {separate_layers}: of {layers} layers, for {' and '.join(modalities)}; "
            "expected no more than encoder.layers, and several modalities or 0"
        )
    return SeparateEncoder(
        cuts, own=partial(stack, layers=separate_layers), stack=partial(stack, layers=layers - separate_layers),
        width=width, fused=fused,
    )  # fmt: skip


def videomae(
    modalities: dict[str, Modality], *, layers: Count = 12, width: Count = 768, heads: Count = 12,
    intermediate: Count = 3072, patch: Count = 16, frames: Count = 2, pretrained: str = "",
) -> TransformerEncoder:  # fmt: skip
    """The encoder of VideoMAE, base (Tong et al. 2022, arXiv:2203.12602): a ViT on tubelets without class token, its
    positions those of tokens in a row. `pretrained`: a stock `VideoMAE...` folder or hub name of these sizes ("":
    random weights).
    """
    cut = clips_alone(modalities, "videomae").cut((frames, patch, patch))
    stock = stock_model("VideoMAEModel", pretrained)
    stack = partial(
        Layers, layers=layers, width=width, heads=heads, intermediate=intermediate, epsilon=epsilon_of(stock)
    )
    encoder = TransformerEncoder(
        {"video": cut}, stack=stack, width=width, fused=False, positions="row", has_class_token=False
    )
    return encoder if stock is None else with_weights(encoder, stock)


def vjepa2(
    modalities: dict[str, Modality], *, layers: Count = 24, width: Count = 1024, heads: Count = 16,
    intermediate: Count = 4096, patch: Count = 16, frames: Count = 2, pretrained: str = "",
) -> TransformerEncoder:  # fmt: skip
    """The encoder of V-JEPA 2, large (Assran et al. 2025, arXiv:2506.09985): stock layers whose queries and keys are
    turned by the place of their token. `pretrained`: a stock `VJEPA2Model` folder or hub name of these sizes ("":
    random weights).
    """
    cut = clips_alone(modalities, "vjepa2").cut((frames, patch, patch))
    stock = stock_model("VJEPA2Model", pretrained)
    stack = partial(
        RotaryLayers, cut, layers=layers, width=width, heads=heads, intermediate=intermediate, epsilon=epsilon_of(stock)
    )
    encoder = TransformerEncoder(
        {"video": cut}, stack=stack, width=width, fused=False, positions="none", has_class_token=False
    )
    return encoder if stock is None else with_weights(encoder, stock)


def clips_alone(modalities: dict[str, Modality], name: str) -> Grid:
    """The clips that an encoder reads; ConfigError where it is to read anything else."""
    found = modalities.get("video")
    if not isinstance(found, Grid) or len(modalities) > 1:
        raise ConfigError(f"encoder.name {name}: reads clips alone, the task {', '.join(modalities)}; expected vit")
    return found
