"""A stock `transformers` checkpoint, which loads and works without mmssl."""

from pathlib import Path

from torch import nn

from mmssl.errors import ConfigError
from mmssl.modalities.text import Vocabulary
from mmssl.models.encoder import TextEncoder


def export_text(encoder: nn.Module, vocabulary: Vocabulary, folder: Path) -> None:
    """The model and its tokenizer for `from_pretrained`; ConfigError where no stock class exists."""
    if not isinstance(encoder, TextEncoder):
        raise ConfigError(
            f"export: {type(encoder).__name__} has no stock class in transformers; expected a run with "
            "encoder.name bert, roberta, xlm_roberta, modernbert or pretrained"
        )
    encoder.stock.set_attn_implementation("sdpa")
    encoder.stock.save_pretrained(folder)
    vocabulary.tokenizer.model_max_length = encoder.longest
    vocabulary.tokenizer.save_pretrained(folder)
    print(f"exported to {folder}: AutoModelForMaskedLM.from_pretrained({str(folder)!r})")
