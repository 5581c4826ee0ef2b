"""What is heard before and behind the windows of samples, where that is known."""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.modalities.decoding import LOUDEST
from mmssl.modalities.media_reader import Reader
from mmssl.modalities.media_samples import FileSamples, samples_at

STEPS = 1000  # of a window: windows that follow each other do so to one of these


@dataclass(frozen=True)
class AroundReader(Reader):
    """Reads what is heard around samples, too: "audio.around" begins a `share` of the window before it and ends as much
    behind it; "audio.before.present" and "audio.after.present" say where that is known.
    """

    share: float = 0.0

    def __call__(self, indices: np.ndarray) -> dict[str, list[Tensor]]:
        own = super().__call__(indices)
        around, *known = sounds_around(self, np.asarray(indices), self.share, own["audio"][0])
        views = {f"audio.{side}.present": [there] for side, there in zip(("before", "after"), known, strict=True)}
        return {**own, "audio.around": [around], **views}


def hearing(reader: Reader, share: float) -> Reader:
    """The reader, with what is heard around samples where a share is asked for."""
    return AroundReader(*reader_fields(reader), share=share) if share else reader


def reader_fields(reader: Reader) -> tuple[Any, ...]:
    """What a plain reader is made of."""
    return tuple(getattr(reader, field.name) for field in fields(Reader))


def sounds_around(
    reader: Reader, indices: Int[np.ndarray, " B"], share: float = 1.0, own: Float[Tensor, "B *N"] | None = None
) -> tuple[Float[Tensor, "B *T"], Bool[Tensor, " B"], Bool[Tensor, " B"]]:
    """The sounds of these samples (`own`, where they are read already) with a share of the window before and of that
    behind each; whether that before is known, and that behind: of files where the reader has the next window, of worlds
    that are drawn always. What is not known is silence.
    """
    whole = Reader(*reader_fields(reader))
    sounds = replace(whole, decoding=reader.decoding._replace(modalities=("audio",)))
    middle = sounds(indices)["audio"][0] if own is None else own
    before, has_before, after, has_after = (
        found for neighbours in followed(whole) for found in beside(sounds, neighbours[indices], middle)
    )
    length = middle.shape[-1]
    lead = round(share * length)
    around = torch.cat([before[..., length - lead :], middle, after[..., :lead]], -1)
    drawn, is_drawn = drawn_around(sounds, indices, share)
    if is_drawn.any():
        around[is_drawn] = drawn
    return around, has_before | is_drawn, has_after | is_drawn


def beside(
    sounds: Reader, which: Int[np.ndarray, " B"], like: Float[Tensor, "B *T"]
) -> tuple[Float[Tensor, "B *T"], Bool[Tensor, " B"]]:
    """(the sounds of these samples, silence where there is none, which are there); -1 is no sample."""
    found, there = torch.zeros_like(like), torch.from_numpy(which >= 0)
    if there.any():
        read = sounds(which[which >= 0])
        present = read["audio.present"][0]
        found[there] = torch.where(widened(present, read["audio"][0]), read["audio"][0], 0.0)
        there[there.clone()] = present
    return found, there


def widened(mask: Bool[Tensor, " B"], sound: Float[Tensor, "B *T"]) -> Bool[Tensor, "B *_"]:
    """A mask of samples beside their sounds."""
    return mask.reshape(-1, *[1] * (sound.ndim - 1))


def drawn_around(
    sounds: Reader, indices: Int[np.ndarray, " B"], share: float
) -> tuple[Float[Tensor, "M *T"], Bool[Tensor, " B"]]:
    """(the sounds of a world that draws what is around them, of which samples)."""
    starts = np.cumsum([0, *(part.count for part in sounds.parts)])
    places = sounds.order[indices]
    owner = np.searchsorted(starts, places, side="right") - 1
    found, is_drawn = {}, np.zeros(len(indices), dtype=bool)
    for which, part in enumerate(sounds.parts):
        samples, mine = samples_at(part.table), owner == which
        if mine.any() and not isinstance(samples, FileSamples) and samples.world.around is not None:
            drawn = samples.world.around(samples.seed, places[mine] - starts[which], sounds.decoding, share)
            found |= dict(zip(np.flatnonzero(mine).tolist(), drawn, strict=True))
            is_drawn |= mine
    values = np.array([found[row] for row in sorted(found)])
    return torch.from_numpy(values).float() / LOUDEST, torch.from_numpy(is_drawn)


@lru_cache(maxsize=8)
def followed(reader: Reader) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Of each sample the one whose sound ends where its own begins, and the one whose sound begins where its own ends;
    -1 where the reader has none.
    """
    keys: list[tuple[str, int]] = []
    for part in reader.parts:
        samples = samples_at(part.table)
        if isinstance(samples, FileSamples):
            times = np.round(np.array(samples.columns["sound_start_seconds"]) / reader.decoding.seconds * STEPS)
            keys += zip(samples.columns["sound"], times.astype(int).tolist(), strict=True)
        else:
            keys += [("", 0)] * part.count
    mine = [keys[place] for place in reader.order]
    number = {key: index for index, key in enumerate(mine) if key[0]}
    beside = [[number.get((sound, time + step), -1) for sound, time in mine] for step in (-STEPS, STEPS)]
    before, after = (np.array(found, dtype=np.int64) for found in beside)
    return before, after
