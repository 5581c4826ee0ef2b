"""The ViT encoder of any modality, by name and numbers in the config."""

from typing import Annotated

from pydantic import Field

from mmssl.modalities.grids import Cut, Modality, Words
from mmssl.modalities.text import Vocabulary
from mmssl.models.transformer import TransformerEncoder

Count = Annotated[int, Field(ge=1)]


def vit(
    modalities: dict[str, Modality], *, layers: Count = 12, width: Count = 768, heads: Count = 12,
    intermediate: Count = 3072, patch: Count = 16, frames: Count = 2, audio_patch: tuple[Count, Count] = (16, 16),
    fused: bool = False,
) -> TransformerEncoder:  # fmt: skip
    """ViT base (Dosovitskiy et al. 2020, arXiv:2010.11929) on patches of `patch` x `patch` pixels, of `frames` frames
    in a clip, of `audio_patch` (times, bands) in a spectrogram; `fused`: modalities see each other.
    """
    patches = {"image": (patch, patch), "audio": audio_patch, "video": (frames, patch, patch)}
    cuts: dict[str, Cut | Words] = {
        name: Words(modality) if isinstance(modality, Vocabulary) else modality.cut(patches[name])
        for name, modality in modalities.items()
    }
    return TransformerEncoder(cuts, layers=layers, width=width, heads=heads, intermediate=intermediate, fused=fused)
