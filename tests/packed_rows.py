"""Packed rows over a toy vocabulary, and what was hidden of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

PAD, MASK, FIRST, LAST, NUM_SPECIAL, NUM_WORDS = 0, 1, 2, 3, 4, 54


class ToyVocabulary(NamedTuple):
    """Four special tokens and fifty words; ids that are divisible by 3 continue a word."""

    special: Tensor = torch.arange(NUM_WORDS) < NUM_SPECIAL
    starts_word: Tensor = (torch.arange(NUM_WORDS) < NUM_SPECIAL) | (torch.arange(NUM_WORDS) % 3 != 0)
    mask: int = MASK


TOY = ToyVocabulary()
WHOLE = TOY._replace(starts_word=torch.ones(NUM_WORDS, dtype=torch.bool))  # every token is a word


def draws(count: int, *, seed: int = 0, epoch: int = 0) -> Draw:
    """The draws of samples 0, 1, 2 ..."""
    return Draw(seed, torch.full((count,), epoch), torch.arange(count))


def packed(rows: list[list[int]], length: int, seed: int = 0) -> Tokens:
    """Rows of documents with so many words each, between first and last token, padded to `length`."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.full((len(rows), length), PAD)
    document = torch.full((len(rows), length), -1)
    for row, lengths in enumerate(rows):
        start = 0
        for number, count in enumerate(lengths):
            body = torch.randint(NUM_SPECIAL, NUM_WORDS, (count,), generator=generator).tolist()
            ids[row, start : start + count + 2] = torch.tensor([FIRST, *body, LAST])
            document[row, start : start + count + 2] = number
            start += count + 2
    return Tokens(ids, Place(torch.arange(length).expand(len(rows), length), document, (length,)))


def hidden_mask(hidden: Place, length: int) -> Tensor:
    """Which places of each row are hidden; asserts that none is named twice and that they ascend."""
    mask = torch.zeros(len(hidden.position), length, dtype=torch.bool)
    for row, (position, valid) in enumerate(zip(hidden.position, hidden.valid, strict=True)):
        named = position[valid].tolist()
        assert named == sorted(set(named))
        mask[row, position[valid]] = True
    return mask


def within_four_sigma(count: int, total: int, probability: float) -> bool:
    """Whether a count is what independent trials would give."""
    return abs(count - total * probability) < 4 * (total * probability * (1 - probability)) ** 0.5
