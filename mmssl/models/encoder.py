"""Text encoders: stock masked language models of `transformers` on packed rows, and the window network of 2008."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from mmssl.attention import Packing, use_attention
from mmssl.dropout import use_dropout
from mmssl.errors import ConfigError
from mmssl.modalities.text import Kind, Vocabulary
from mmssl.tokens import Place, Tokens, at, mean_token, within_document

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]

HEADS: dict[str, Callable[[Any], nn.Module]] = {  # where each stock class keeps its vocabulary head
    "bert": lambda stock: stock.cls,
    "roberta": lambda stock: stock.lm_head,
    "xlm-roberta": lambda stock: stock.lm_head,
    "modernbert": lambda stock: nn.Sequential(stock.head, stock.decoder),
}


class TextEncoder(nn.Module):
    """A stock `...ForMaskedLM`; its base model runs on packed rows, and it is exported as it is."""

    def __init__(self, stock: PreTrainedModel, separator: int) -> None:
        super().__init__()
        if stock.config.model_type not in HEADS:
            raise ConfigError(
                f"encoder: {stock.config.model_type} has no known vocabulary head; known: {', '.join(HEADS)}"
            )
        use_dropout(stock)
        self.stock = use_attention(stock)
        self.separator = separator
        self.width: int = stock.config.hidden_size
        rotary = stock.config.model_type == "modernbert"
        is_roberta = "roberta" in stock.config.model_type
        # RoBERTa counts positions from padding_idx + 1
        self.first_position = stock.config.pad_token_id + 1 if is_roberta else 0
        self.longest = stock.config.max_position_embeddings - self.first_position
        self.has_types = not rotary and stock.config.type_vocab_size == 2

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        ids, place, _ = seen["text"]
        arguments = {"token_type_ids": self.token_types(ids, place)} if self.has_types else {}
        hidden = self.stock.base_model(
            input_ids=ids,
            position_ids=within_document(place) + self.first_position,
            packing=Packing(place.document),
            **arguments,
        ).last_hidden_state
        return {"text": Tokens(hidden, place)}

    def token_types(self, ids: Int[Tensor, "B N"], place: Place) -> Int[Tensor, "B N"]:
        """1 for the second part of a document (what follows its first separator), else 0."""
        separators = (ids == self.separator).long()
        before = separators.cumsum(1) - separators
        start = (torch.arange(ids.shape[1], device=ids.device) - within_document(place)).clamp(min=0)
        return ((before - before.gather(1, start) > 0) & place.valid).long()


class VocabularyHead(nn.Module):
    """The stock vocabulary head, run on hidden places only: (B, M, K) logits."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.head = HEADS[encoder.stock.config.model_type](encoder.stock)

    def forward(self, sx: dict[str, Tokens], place: Place) -> Float[Tensor, "B M K"]:
        return self.head(at(sx["text"], place))


class WindowEncoder(nn.Module):
    """A lookup table of word vectors; the network of a window of `size` words lies in `WindowScorer`."""

    def __init__(self, vocabulary: Vocabulary, width: int, size: int, hidden: int) -> None:
        super().__init__()
        self.width, self.size, self.hidden = width, size, hidden
        self.words = nn.Embedding(vocabulary.size, width)

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        return {"text": Tokens(self.words(seen["text"].value), seen["text"].place)}


class Judged(NamedTuple):
    """The energies of K answers to each of P questions about a sample."""

    energy: Float[Tensor, "B P K"]
    valid: Bool[Tensor, "B P"]  # which questions there are
    embedding: Float[Tensor, "B D"]  # of what is seen, with the first answer where both are read together


class WindowScorer(nn.Module):
    """score = u . hardtanh(sum over the window of W_o word(p + o) + b), Collobert et al. 2011, eq. 5, 8, 9."""

    def __init__(self, encoder: WindowEncoder) -> None:
        super().__init__()
        self.words = encoder.words
        self.reach = encoder.size // 2
        self.padding = nn.Parameter(torch.zeros(encoder.width))
        self.context = nn.Linear(2 * self.reach * encoder.width, encoder.hidden)
        self.centre = nn.Linear(encoder.width, encoder.hidden, bias=False)
        self.score = nn.Linear(encoder.hidden, 1, bias=False)

    def forward(self, sx: dict[str, Tokens], place: Place) -> Float[Tensor, "B M K"]:
        """The score of every word of the vocabulary at each place."""
        context = self.of_context(sx["text"], place)[:, :, None]
        scores = [
            self.score(nn.functional.hardtanh(context + self.centre(part)))[..., 0]
            for part in self.words.weight.split(512)
        ]
        return torch.cat(scores, dim=-1)

    def of_words(self, sx: dict[str, Tokens], place: Place, words: Int[Tensor, "B M K"]) -> Float[Tensor, "B M K"]:
        """The score of the given words at each place."""
        context = self.of_context(sx["text"], place)[:, :, None]
        return self.score(nn.functional.hardtanh(context + self.centre(self.words(words))))[..., 0]

    def judged(self, encoder: nn.Module, seen: Tokens, hidden: Place, answers: list[Int[Tensor, "B M"]]) -> Judged:
        """A question for each hidden place: does the word fit its window?"""
        sx = encoder({"text": seen})
        energy = -self.of_words(sx, hidden, torch.stack(answers, -1))
        return Judged(energy, hidden.valid, mean_token(sx["text"]))

    def pairs(self, encoder: nn.Module, seen: Tokens, hidden: Place, answers: Tokens) -> Float[Tensor, "A B"]:
        """The mean energies of (the windows of the row, the words of the column), each in turn."""
        answer = at(answers, hidden)  # (B, M)
        words = answer.T[None].expand(len(answer), -1, -1)  # row i, place m: the m-th answers of all samples
        energy = -self.of_words(encoder({"text": seen}), hidden, words)  # (B, M, B)
        valid = hidden.valid[:, :, None] & hidden.valid.T[None]
        return torch.where(valid, energy, 0.0).sum(1) / valid.sum(1).clamp(min=1)

    def of_context(self, tokens: Tokens, place: Place) -> Float[Tensor, "B M H"]:
        """What the words around each place contribute; a learnt vector stands beyond the document's ends."""
        length = tokens.value.shape[1]
        parts = []
        for offset in (*range(-self.reach, 0), *range(1, self.reach + 1)):
            position = (place.position + offset).clamp(0, length - 1)
            inside = (place.position + offset == position) & (
                tokens.place.document.gather(1, position) == place.document
            )
            near = Place(position, place.document, place.grid)
            parts.append(torch.where(inside[..., None], at(tokens, near), self.padding))
        return self.context(torch.cat(parts, dim=-1))


def longest(encoder: nn.Module, row_length: int) -> int:
    """The most tokens of a text that an encoder takes: its positions, or where it has no such limit the row's
    length.
    """
    return encoder.longest if isinstance(encoder, TextEncoder) else row_length


def shared(
    vocabulary: Vocabulary, layers: int, width: int, heads: int, intermediate: int, **more: Any
) -> dict[str, Any]:
    """The sizes and ids that all stock configs name alike, and `more`."""
    if width % heads:
        raise ConfigError(f"encoder.width {width} cannot be split into encoder.heads {heads}; expected a multiple")
    return {
        "vocab_size": vocabulary.size, "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
        "intermediate_size": intermediate, "pad_token_id": vocabulary.pad, "bos_token_id": vocabulary.first,
        "eos_token_id": vocabulary.last, "cls_token_id": vocabulary.first, "sep_token_id": vocabulary.last, **more,
    }  # fmt: skip


def bert(
    vocabulary: Vocabulary, *, layers: Count = 12, width: Count = 768, heads: Count = 12, intermediate: Count = 3072,
    dropout: Share = 0.1, max_positions: Count = 512,
) -> TextEncoder:  # fmt: skip
    """BERT base (Devlin et al. 2018, arXiv:1810.04805)."""
    config = BertConfig(**shared(
        vocabulary, layers, width, heads, intermediate, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, max_position_embeddings=max_positions,
    ))  # fmt: skip
    return TextEncoder(BertForMaskedLM(config), vocabulary.last)


def roberta(
    vocabulary: Vocabulary, *, layers: Count = 12, width: Count = 768, heads: Count = 12, intermediate: Count = 3072,
    dropout: Share = 0.1, max_positions: Count = 512,
) -> TextEncoder:  # fmt: skip
    """RoBERTa base (Liu et al. 2019, arXiv:1907.11692)."""
    config = RobertaConfig(**shared(
        vocabulary, layers, width, heads, intermediate, hidden_dropout_prob=dropout, type_vocab_size=1,
        attention_probs_dropout_prob=dropout, max_position_embeddings=max_positions + vocabulary.pad + 1,
    ))  # fmt: skip
    return TextEncoder(RobertaForMaskedLM(config), vocabulary.last)


def xlm_roberta(
    vocabulary: Vocabulary, *, layers: Count = 12, width: Count = 768, heads: Count = 12, intermediate: Count = 3072,
    dropout: Share = 0.1, max_positions: Count = 512,
) -> TextEncoder:  # fmt: skip
    """XLM-R base (Conneau et al. 2019, arXiv:1911.02116)."""
    config = XLMRobertaConfig(**shared(
        vocabulary, layers, width, heads, intermediate, hidden_dropout_prob=dropout, type_vocab_size=1,
        attention_probs_dropout_prob=dropout, max_position_embeddings=max_positions + vocabulary.pad + 1,
    ))  # fmt: skip
    return TextEncoder(XLMRobertaForMaskedLM(config), vocabulary.last)


def modernbert(
    vocabulary: Vocabulary, *, layers: Count = 22, width: Count = 768, heads: Count = 12, intermediate: Count = 1152,
    dropout: Share = 0.0, max_positions: Count = 8192, local_attention: Count = 128, global_every: Count = 3,
) -> TextEncoder:  # fmt: skip
    """ModernBERT base: rotary positions, GeGLU, every third layer global (Warner et al. 2024, arXiv:2412.13663)."""
    config = ModernBertConfig(**shared(
        vocabulary, layers, width, heads, intermediate, max_position_embeddings=max_positions,
        local_attention=local_attention, global_attn_every_n_layers=global_every, embedding_dropout=dropout,
        mlp_dropout=dropout, attention_dropout=dropout,
    ))  # fmt: skip
    return TextEncoder(ModernBertForMaskedLM(config), vocabulary.last)


def window(vocabulary: Vocabulary, *, width: Count = 50, size: Count = 11, hidden: Count = 100) -> WindowEncoder:
    """The window network of Collobert & Weston (2008; sizes of the 2011 paper, section 4.4)."""
    if size % 2 == 0:
        raise ConfigError(f"encoder.size {size} has no centre word; expected an odd number")
    return WindowEncoder(vocabulary, width, size, hidden)


def pretrained(vocabulary: Vocabulary, *, path: str) -> TextEncoder:
    """A stock masked language model from a local folder or the hub (safetensors only); name its tokenizer, too."""
    try:
        stock = AutoModelForMaskedLM.from_pretrained(path, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"encoder.path {path}: {str(error).splitlines()[0]}; expected a masked language model"
        ) from error
    if stock.config.vocab_size < vocabulary.size:
        raise ConfigError(
            f"encoder.path {path} has {stock.config.vocab_size} words, the tokenizer {vocabulary.size}; "
            "expected the encoder's own tokenizer"
        )
    return TextEncoder(stock, vocabulary.last)


TEXT_ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "bert": bert,
    "roberta": roberta,
    "xlm_roberta": xlm_roberta,
    "modernbert": modernbert,
    "window": window,
    "pretrained": pretrained,
}
TOKENIZER_KINDS: dict[str, Kind] = {  # what `tokenizer.kind: as_encoder` means
    "bert": "wordpiece",
    "roberta": "byte_bpe",
    "xlm_roberta": "unigram",
    "modernbert": "byte_bpe",
    "window": "wordpiece",
    "pretrained": "wordpiece",
}
