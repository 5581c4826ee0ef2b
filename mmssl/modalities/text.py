"""Text: tokenizers, and what a row of packed documents means."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from mmssl.errors import ConfigError, DataError
from mmssl.tokens import Place, Tokens

Kind = Literal["wordpiece", "byte_bpe", "unigram", "word"]

BRACKETS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
ANGLES = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
WRITTEN_MASK = "[MASK]"  # what a user writes, whatever the tokenizer's own mask token is
LETTERS = 1000  # that a WordPiece vocabulary knows at most, the most frequent ones
CONTINUES, BEGINS = "##", ("Ġ", "▁")  # how tokens say that they continue, or begin, a word


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer with the ids that masks and packing need."""

    tokenizer: PreTrainedTokenizerFast
    size: int
    pad: int
    first: int  # [CLS] or <s>: every packed document begins with it
    last: int  # [SEP] or </s>
    mask: int
    unknown: int
    special: Bool[Tensor, " K"]  # never hidden, never drawn
    starts_word: Bool[Tensor, " K"]

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids without special tokens; "[SEP]" and the like, written in a text, are ordinary text."""
        self.tokenizer.backend_tokenizer.encode_special_tokens = True
        encodings = self.tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        self.tokenizer.backend_tokenizer.encode_special_tokens = False
        special = set(torch.nonzero(self.special)[:, 0].tolist()) - {self.unknown}
        return [
            encoding.ids if special.isdisjoint(encoding.ids) else self.spelled(encoding.ids, special)
            for encoding in encodings
        ]

    def spelled(self, ids: list[int], special: set[int]) -> list[int]:
        """The ids with special ones letter by letter: to a Unigram model "<s>" is a word like any other."""
        found: list[int] = []
        for number in ids:
            token = str(self.tokenizer.convert_ids_to_tokens(number))
            letters = [self.tokenizer.backend_tokenizer.token_to_id(letter) or self.unknown for letter in token]
            found += letters if number in special else [number]
        return found

    def encode_masked(self, text: str) -> list[int]:
        """Ids without first and last token; "[MASK]" (or the tokenizer's own) is the mask token."""
        text = text.replace(WRITTEN_MASK, str(self.tokenizer.mask_token))
        return self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of the ids."""
        return str(self.tokenizer.decode(ids)).strip()


def vocabulary(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    """What masks and packing must know of a tokenizer; ConfigError where it has no mask token."""
    names: dict[str, Any] = {
        "pad": tokenizer.pad_token_id, "first": tokenizer.cls_token_id, "last": tokenizer.sep_token_id,
        "mask": tokenizer.mask_token_id, "unknown": tokenizer.unk_token_id,
    }  # fmt: skip
    missing = [name for name, number in names.items() if number is None]
    if missing:
        raise ConfigError(
            f"tokenizer {tokenizer.name_or_path or 'trained'} lacks {', '.join(missing)}; expected a masked model's"
        )
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = torch.zeros(len(tokens), dtype=torch.bool)
    special[torch.tensor(tokenizer.all_special_ids)] = True
    marks_begin = any(token.startswith(BEGINS) for token in tokens)
    starts = [token.startswith(BEGINS) if marks_begin else not token.startswith(CONTINUES) for token in tokens]
    return Vocabulary(tokenizer, len(tokens), special=special, starts_word=torch.tensor(starts), **names)


def tokenize(vocabulary: Vocabulary, views: list[Tensor]) -> Tokens:
    """A packed row of ids (B, N): a document begins at every first token, padding belongs to none."""
    ids: Int[Tensor, "B N"] = views[0].long()
    document = (ids == vocabulary.first).long().cumsum(1) - 1
    document = torch.where(ids == vocabulary.pad, -1, document)
    position = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    return Tokens(ids, Place(position, document, (ids.shape[1],)))


def train_tokenizer(texts: Iterable[str], kind: Kind, size: int, *, lowercase: bool) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `size` tokens trained on the texts, which are read twice.

    The same texts give the same tokenizer, but for unigram, whose trainer sums in the order of a hash table.

    wordpiece: BERT; byte_bpe: RoBERTa, ModernBERT (never lower-cased); unigram: XLM-R (never lower-cased); word:
    whole words.
    """
    names = ANGLES if kind in ("byte_bpe", "unigram") else BRACKETS
    # the space before a mask belongs to the hidden word
    mask = AddedToken(names["mask"], lstrip=kind in ("byte_bpe", "unigram"), special=True)
    tokens: list[str | AddedToken] = [mask if name == "mask" else names[name] for name in names]
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    continued = continuations(texts, normalizer) if kind == "wordpiece" else []
    tokenizer, trainer = BUILDERS[kind](size, [*tokens, *continued])
    if kind in ("wordpiece", "word"):
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() <= len(names) + len(continued):
        raise DataError("tokenizer: the texts hold no word to train on; expected text")
    if kind == "wordpiece":
        tokenizer = without_continuations(tokenizer, tokens)
    special = [(names[name], tokenizer.token_to_id(names[name])) for name in ("cls", "sep")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{names['cls']} $A {names['sep']}",
        pair=f"{names['cls']} $A {names['sep']} $B:1 {names['sep']}:1",
        special_tokens=special,
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, mask_token=mask, clean_up_tokenization_spaces=False,
        **{f"{name}_token": token for name, token in names.items() if name != "mask"},
    )  # fmt: skip


def continuations(texts: Iterable[str], normalizer: normalizers.Normalizer) -> list[str]:
    """The letters of the texts as parts of words, most frequent first.

    The trainer numbers these in the order of a hash table, and equally frequent merges by these numbers: two
    trainings on the same texts would differ.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    letters = sorted((letter for letter in counts if letter.isalnum()), key=lambda letter: (-counts[letter], letter))
    return [CONTINUES + letter for letter in letters[:LETTERS]]


def without_continuations(tokenizer: Tokenizer, special: list[str | AddedToken]) -> Tokenizer:
    """The same tokenizer, in which the letters that continue a word are tokens like any other, not special ones."""
    found = Tokenizer(models.WordPiece(tokenizer.get_vocab(), unk_token=BRACKETS["unk"]))
    found.add_special_tokens(special)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        setattr(found, part, getattr(tokenizer, part))
    return found


def wordpiece(size: int, special: list[str | AddedToken]) -> tuple[Tokenizer, trainers.Trainer]:
    """BERT's."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=BRACKETS["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)


def byte_bpe(size: int, special: list[str | AddedToken]) -> tuple[Tokenizer, trainers.Trainer]:
    """RoBERTa's: every byte is in the vocabulary, so no text is unknown."""
    tokenizer = Tokenizer(models.BPE(unk_token=ANGLES["unk"]))
    # a space before the first word only: `ByteLevel` alone puts one after every mask, before a full stop, too
    first_space = pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="first", split=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first_space, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )


def unigram(size: int, special: list[str | AddedToken]) -> tuple[Tokenizer, trainers.Trainer]:
    """XLM-R's SentencePiece model."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token=ANGLES["unk"], show_progress=False
    )


def word(size: int, special: list[str | AddedToken]) -> tuple[Tokenizer, trainers.Trainer]:
    """One token for each word, as in Collobert & Weston."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=BRACKETS["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, trainers.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False)


BUILDERS = {"wordpiece": wordpiece, "byte_bpe": byte_bpe, "unigram": unigram, "word": word}


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerFast:
    """A tokenizer from a local folder or the hub; ConfigError where it cannot be had."""
    try:
        return AutoTokenizer.from_pretrained(name, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"tokenizer.name {name}: {reason}; expected a folder or a hub id with a tokenizer") from error


def every(count: int, total: int) -> Iterator[int]:
    """At most `count` numbers evenly spread over range(total)."""
    step = max(1, -(-total // count))
    yield from range(0, total, step)
