"""A stock `transformers` checkpoint, which loads and works without mmssl."""

from pathlib import Path

from torch import nn

from mmssl.attention import use_attention
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
    use_attention(encoder.stock)  # else the packed rows of this process would leak into each other
    vocabulary.tokenizer.model_max_length = encoder.longest
    if encoder.has_types:
        vocabulary.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        vocabulary.tokenizer.init_kwargs["model_input_names"] = None  # saved with the attribute's value
    vocabulary.tokenizer.save_pretrained(folder)
    print(f"exported to {folder}: AutoModelForMaskedLM.from_pretrained({str(folder)!r})")
