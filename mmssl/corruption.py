"""What is seen and what is hidden: functions (Tokens, Draw) -> (seen Tokens, hidden Place).

Hidden places have a static shape (B, M) with M = round(ratio * N); a row hides exactly round(ratio * its maskable
tokens) of them (at most so many where whole words are kept together), the rest of its places are padding (document
-1). Everything is drawn by `random.py`, keyed by sample, so masks do not depend on the batch, the worker or the
process.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

Corruption = Callable[[Tokens, Draw], tuple[Tokens, Place]]


@runtime_checkable
class Words(Protocol):
    """What a corruption must know of a vocabulary."""

    @property
    def mask(self) -> int:
        """The id of the mask token."""
        ...

    @property
    def special(self) -> Bool[Tensor, " K"]:
        """Which ids are never hidden and never drawn."""
        ...

    @property
    def starts_word(self) -> Bool[Tensor, " K"]:
        """Which ids begin a word."""
        ...


class Candidates(NamedTuple):
    """The tokens of a row that may be hidden, and the word that each belongs to."""

    maskable: Bool[Tensor, "B N"]
    word: Int[Tensor, "B N"]  # counted from 1 along the row; a word never spans two documents


Order = Callable[[Candidates, Draw], Float[Tensor, "B N"]]  # the tokens with the lowest order are hidden


def candidates(tokens: Tokens, vocabulary: Words) -> Candidates:
    """Everything but special tokens and padding may be hidden; a word begins where the vocabulary or the document
    says so.
    """
    document = tokens.place.document
    maskable = tokens.place.valid & ~vocabulary.special.to(tokens.value.device)[tokens.value]
    starts = vocabulary.starts_word.to(tokens.value.device)[tokens.value] | ~maskable
    starts[:, 1:] |= ~maskable[:, :-1] | (document[:, 1:] != document[:, :-1])
    return Candidates(maskable, starts.long().cumsum(1))


def single_tokens(candidates: Candidates, draw: Draw) -> Float[Tensor, "B N"]:
    """Each token on its own (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""
    return draw.uniform("mask", candidates.word.shape[1])


def whole_words(candidates: Candidates, draw: Draw) -> Float[Tensor, "B N"]:
    """All tokens of a word together (BERT's "whole word masking")."""
    uniform = draw.uniform("mask", candidates.word.shape[1] + 1)
    return uniform.gather(1, candidates.word)


def spans(probability: float = 0.2, longest: int = 10) -> Order:
    """Spans of whole words, lengths Geometric(probability) cut at `longest` (Joshi et al. 2019, arXiv:1907.10529,
    section 3.1).

    The last span is cut to keep the count exact, and a span ends with its document, as in the paper's code.
    """

    def order(candidates: Candidates, draw: Draw) -> Float[Tensor, "B N"]:
        length = candidates.word.shape[1]
        weights = probability * (1 - probability) ** torch.arange(longest, dtype=torch.float32)
        cumulative = (weights / weights.sum()).cumsum(0).to(candidates.word.device)
        words = 1 + torch.bucketize(draw.uniform("span_length", length), cumulative[:-1], right=True)  # (B, S)
        start = candidates.word.gather(1, draw.integers("span_start", length, length))
        word, first = candidates.word[:, None], start[..., None]
        covers = (word >= first) & (word < first + words[..., None])  # (B, S, N)
        # A special token is a word of its own between documents: a span neither begins with one nor reaches past one.
        barrier = (~candidates.maskable).long().cumsum(1)
        begins = covers.float().argmax(-1)
        covers &= candidates.maskable.gather(1, begins)[..., None]
        covers &= barrier[:, None] == barrier.gather(1, begins)[..., None]
        rank = torch.where(covers.any(1), covers.float().argmax(1), length)
        slot = torch.arange(length, device=rank.device)
        # inside a span from left to right; what no span covers comes last
        return (rank * length + slot).double() / length**2

    return order


def hide(
    candidates: Candidates, ratio: float, order: Order, draw: Draw, *, whole: bool
) -> tuple[Int[Tensor, "B M"], Bool[Tensor, "B M"]]:
    """Positions of the round(ratio * maskable) tokens with the lowest order, ascending, and which of the M entries
    are real.

    `whole`: words are taken in order up to the first that would exceed the count, so that no word is hidden in part.
    """
    maskable, word = candidates
    score = torch.where(maskable, order(candidates, draw).double(), torch.inf)
    rank = score.argsort(dim=1, stable=True)
    count = (ratio * maskable.sum(1, keepdim=True).double()).round().long()
    most = max(1, round(ratio * maskable.shape[1]))
    end = torch.arange(1, maskable.shape[1] + 1, device=maskable.device).expand_as(rank)
    if whole:
        end = end_of_word(torch.where(maskable, word, 0).gather(1, rank))
    position = torch.where(end <= count, rank, maskable.shape[1]).sort(1).values[:, :most]
    real = position < maskable.shape[1]
    return torch.where(real, position, 0), real


def end_of_word(word: Int[Tensor, "B N"]) -> Int[Tensor, "B N"]:
    """One past the last index of the run of equal numbers that each entry lies in."""
    length = word.shape[1]
    slot = torch.arange(1, length + 1, device=word.device).expand_as(word)
    is_last = torch.ones_like(word, dtype=torch.bool)
    is_last[:, :-1] = word[:, 1:] != word[:, :-1]
    return torch.where(is_last, slot, length).flip(1).cummin(1).values.flip(1)


def replace_tokens(
    vocabulary: Words, ratio: float, *, order: Order = single_tokens, mask_ratio: float = 0.8, random_ratio: float = 0.1
) -> Corruption:
    """Of the hidden tokens `mask_ratio` become the mask token, `random_ratio` a random word, the rest stay (BERT's
    80/10/10).

    Random words are drawn from the whole vocabulary but its special tokens.
    """
    ordinary = torch.nonzero(~vocabulary.special)[:, 0]

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        position, real = hide(candidates(tokens, vocabulary), ratio, order, draw, whole=order is whole_words)
        hidden = hidden_place(tokens.place, position, real)
        length = tokens.value.shape[1]
        kind = draw.uniform("replacement", length).gather(1, position)
        word = ordinary.to(position.device)[draw.integers("random_word", len(ordinary), length).gather(1, position)]
        original = tokens.value.gather(1, position)
        seen = torch.where(kind < mask_ratio + random_ratio, word, original)
        seen = torch.where(kind < mask_ratio, vocabulary.mask, seen)
        return Tokens(write(tokens.value, position, real, seen), tokens.place), hidden

    return corrupt


def random_words(vocabulary: Words) -> Callable[[Draw, int], Tensor]:
    """A function (draw, M) -> (B, M) of words drawn uniformly from the vocabulary but its special tokens."""
    ordinary = torch.nonzero(~vocabulary.special)[:, 0]
    return lambda draw, count: ordinary.to(draw.index.device)[draw.integers("negative_word", len(ordinary), count)]


def denoise_tokens(
    vocabulary: Words,
    *,
    drop_ratio: float,
    replace_ratio: float,
    shuffle_ratio: float,
    keep_ratio: float,
    distance: int,
) -> Corruption:
    """Tokens dropped (the mask token in their place), replaced, or shuffled with near ones; a share is kept; all are
    asked for.

    Shuffled tokens are sorted by (rank + uniform in [0, distance + 1)) among themselves, so none moves further than
    `distance` (Lample et al. 2017, arXiv:1711.00043, section 2.3), inside their document; lengths do not change.
    """
    ordinary = torch.nonzero(~vocabulary.special)[:, 0]
    ratio = drop_ratio + replace_ratio + shuffle_ratio + keep_ratio
    bounds = (torch.tensor([drop_ratio, replace_ratio, shuffle_ratio]) / ratio).cumsum(0)

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        position, real = hide(candidates(tokens, vocabulary), ratio, single_tokens, draw, whole=False)
        hidden = hidden_place(tokens.place, position, real)
        length, slots = tokens.value.shape[1], position.shape[1]
        original = tokens.value.gather(1, position)
        uniform = draw.uniform("noise", length).gather(1, position)
        kind = torch.bucketize(uniform, bounds.to(position.device), right=True)
        word = ordinary.to(position.device)[draw.integers("random_word", len(ordinary), length).gather(1, position)]
        # The k-th shuffled place receives the token of the k-th smallest key; keys keep documents apart.
        shuffled = (kind == 2) & real
        rank = shuffled.long().cumsum(1).double()
        key = rank + (distance + 1) * draw.uniform("shuffle", length).gather(1, position).double()
        key = torch.where(shuffled, key + hidden.document * (2.0 * (slots + distance + 1)), torch.inf)
        source = key.argsort(dim=1, stable=True).gather(1, (rank.long() - 1).clamp(min=0))
        moved = original.gather(1, source)
        seen = torch.where(kind == 1, word, torch.where(kind == 2, moved, original))
        seen = torch.where(kind == 0, vocabulary.mask, seen)
        return Tokens(write(tokens.value, position, real, seen), tokens.place), hidden

    return corrupt


def hidden_place(place: Place, position: Int[Tensor, "B M"], real: Bool[Tensor, "B M"]) -> Place:
    """The places at `position`, padding where not real."""
    return Place(position, torch.where(real, place.document.gather(1, position), -1), place.grid)


def write(
    values: Int[Tensor, "B N"], position: Int[Tensor, "B M"], real: Bool[Tensor, "B M"], new: Int[Tensor, "B M"]
) -> Int[Tensor, "B N"]:
    """`values` with `new` at the real positions."""
    trash = torch.where(real, position, values.shape[1])
    padded = torch.nn.functional.pad(values, (0, 1))
    return padded.scatter(1, trash, new)[:, :-1]
