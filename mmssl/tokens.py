"""Tokens and their places: what every modality becomes before a model sees it."""

from typing import NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


class Place(NamedTuple):
    """All that a predictor is told about the answer.

    `position` is the index on the flattened grid and survives dropping and shuffling. `document` numbers the
    documents that are packed into one row (0 where a row is one sample); it is -1 where padded. Tokens see their own
    document only. Places may be asked for in `blocks` of equal size, which stand one after another; a place may be part
    of several of them.
    """

    position: Int[Tensor, "B N"]
    document: Int[Tensor, "B N"]
    grid: tuple[int, ...]  # (length,) | (rows, columns) | (times, bands) | (times, rows, columns)
    blocks: int = 1

    @property
    def valid(self) -> Bool[Tensor, "B N"]:
        """False where padded."""
        return self.document >= 0

    def times(self, count: int) -> "Place":
        """Those of the same samples `count` times, one batch after another."""
        if count == 1:
            return self
        position, document = (repeat(part, "b n -> (m b) n", m=count) for part in (self.position, self.document))
        return self._replace(position=position, document=document)


class Tokens(NamedTuple):
    """Values with their places: (B, N) ids, or (B, N, D) patches or embeddings."""

    value: Shaped[Tensor, "B N *D"]
    place: Place
    summary: Float[Tensor, "B D"] | None = None  # the class token's embedding, where the encoder has one

    def times(self, count: int) -> "Tokens":
        """Those of the same samples `count` times, one batch after another."""
        if count == 1:
            return self
        value = repeat(self.value, "b ... -> (m b) ...", m=count)
        summary = None if self.summary is None else repeat(self.summary, "b d -> (m b) d", m=count)
        return Tokens(value, self.place.times(count), summary)


def at(tokens: Tokens, place: Place) -> Shaped[Tensor, "B M *D"]:
    """The values of `tokens` at the positions of `place`; `tokens` must be whole (token k lies at position k)."""
    if tokens.value.ndim == 2:
        return tokens.value.gather(1, place.position)
    width = tokens.value.shape[-1]
    return tokens.value.gather(1, repeat(place.position, "b m -> b m d", d=width))


def joined(first: Tokens, second: Tokens) -> Tokens:
    """Both, one after the other: each token knows its place."""
    position, document = (torch.cat(pair, 1) for pair in zip(first.place[:2], second.place[:2], strict=True))
    value = torch.cat([first.value, second.value.to(first.value.dtype)], 1)
    return Tokens(value, Place(position, document, first.place.grid))


def mean_token(tokens: Tokens) -> Float[Tensor, "B D"]:
    """The mean of the valid tokens, in float32; 0 where there is none."""
    weight = tokens.place.valid[..., None].float()
    return (tokens.value.float() * weight).sum(1) / weight.sum(1).clamp(min=1)


def in_turn(tokens: Tokens, hidden: Place) -> tuple[Shaped[Tensor, "A B M *D"], Bool[Tensor, "A B M"]]:
    """For each pair (x, y) the answer to the k-th hidden place of x: what y hides in turn; both must have a k-th."""
    answer = at(tokens, hidden)
    both = hidden.valid[:, None] & hidden.valid[None]
    return answer[None].expand(len(answer), *answer.shape), both


def in_place(tokens: Tokens, hidden: Place) -> tuple[Shaped[Tensor, "A B M *D"], Bool[Tensor, "A B M"]]:
    """For each pair (x, y) the answer to the k-th hidden place of x: what y holds at that very place."""
    index = torch.arange(len(tokens.value), device=tokens.value.device)
    answer = tokens.value[index[None, :, None], hidden.position[:, None]]
    return answer, hidden.valid[:, None] & tokens.place.valid[index[None, :, None], hidden.position[:, None]]


def without(tokens: Tokens, kept: Bool[Tensor, " B"]) -> Tokens:
    """The same tokens, padding where a sample is not kept: nobody sees them, nothing is asked there."""
    document = torch.where(kept[:, None], tokens.place.document, -1)
    return tokens._replace(place=tokens.place._replace(document=document))


def take(tokens: Tokens, index: Int[Tensor, "B M"]) -> Tokens:
    """The tokens of the given indices along N, with their places."""
    place = Place(tokens.place.position.gather(1, index), tokens.place.document.gather(1, index), tokens.place.grid)
    if tokens.value.ndim == 2:
        return Tokens(tokens.value.gather(1, index), place)
    return Tokens(tokens.value.gather(1, repeat(index, "b m -> b m d", d=tokens.value.shape[-1])), place)


def within_document(place: Place) -> Int[Tensor, "B N"]:
    """The position of each token counted from the first token of its document (0 where padded)."""
    length = place.document.shape[1]
    slot = torch.arange(length, device=place.document.device).expand_as(place.document)
    is_first = torch.ones_like(place.document, dtype=torch.bool)
    is_first[:, 1:] = place.document[:, 1:] != place.document[:, :-1]
    start = torch.where(is_first, slot, 0).cummax(dim=1).values
    return torch.where(place.valid, slot - start, 0)


def coordinates(place: Place) -> Int[Tensor, "B N A"]:
    """The grid coordinates of each token, one for each axis of the grid (row-major)."""
    remaining, axes = place.position, []
    for size in reversed(place.grid):
        axes.append(remaining % size)
        remaining = remaining // size
    return rearrange(list(reversed(axes)), "a b n -> b n a")
