"""Spans of a row of frames that are hidden: functions (Tokens, Draw) -> (seen Tokens, hidden Place)."""

from math import ceil, floor

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmssl.corruption import Corruption, hidden_place
from mmssl.drop import between, bounded, covering_order, parted
from mmssl.errors import ConfigError
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

SPARE = 3  # times as many spans are drawn as would suffice if none overlapped


def hide_spans(start_ratio: float, length: int) -> Corruption:
    """`length` frames from each of a share of the frames on that is drawn without replacement; spans overlap (Baevski
    et al. 2020, arXiv:2006.11477, section 3.1). All frames stay; those that are hidden are 0, and padding.

    As in the authors' code a span lies whole in the row, and the number of starts is rounded up or down by chance.
    """

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        place, count = tokens.place, tokens.value.shape[1]
        most = floor(start_ratio * count) + 1
        is_start = starts(start_ratio, checked(length, count), count, draw)
        before = torch.nn.functional.pad(is_start.long().cumsum(1), (length, 0))
        is_hidden = before[:, length:] > before[:, :-length]
        frame = torch.arange(count, device=is_hidden.device)
        position = torch.where(is_hidden, frame, count).sort(1).values[:, : min(count, most * length)]
        real = position < count
        hidden = hidden_place(place, torch.where(real, position, 0), real)
        document = torch.where(is_hidden, -1, place.document)
        seen = Tokens(tokens.value.masked_fill(is_hidden[..., None], 0), place._replace(document=document))
        return seen, hidden

    return corrupt


def starts(ratio: float, length: int, count: int, draw: Draw) -> Bool[Tensor, "B N"]:
    """Which frames of each sample spans begin at: one at least."""
    number = (ratio * count + draw.uniform("mask_count", 1)).floor().clamp(min=1)
    rank = draw.uniform("mask", count - length + 1).argsort(1).argsort(1)
    return torch.nn.functional.pad(rank < number, (0, length - 1))


def drop_spans(hidden_ratio: float, length: int) -> Corruption:
    """Spans of `length` frames, anywhere in the row, until round(hidden_ratio * frames) are hidden: the last one is
    cut, from a side that is drawn. What is hidden is dropped.
    """

    def corrupt(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
        count = tokens.value.shape[1]
        order = covering_order(spans(hidden_ratio, length, count, draw), draw)
        return parted(tokens, order, bounded(hidden_ratio, count))

    return corrupt


def spans(ratio: float, length: int, count: int, draw: Draw) -> Bool[Tensor, "B K N"]:
    """Which frames each of many spans covers."""
    size = checked(length, count)
    number = SPARE * ceil(ratio * count / size)
    start: Float[Tensor, "B K"] = draw.integers("span_start", count - size + 1, number).float()
    frame = torch.arange(count, device=start.device)
    return between(frame, start, torch.full_like(start, size))


def checked(length: int, count: int) -> int:
    """The length, where a row has room for it and more; else ConfigError."""
    if length >= count:
        raise ConfigError(
            f"method.span_frames {length}: a sample has {count} frames; expected less, or a longer data.seconds"
        )
    return length
