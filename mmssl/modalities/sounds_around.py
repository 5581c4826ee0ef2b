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
        around, *known = sounds_around(self, np.asarray(indices), self.share)
        length = own["audio"][0].shape[-1]
        lead = (around.shape[-1] - length) // 2
        around[..., lead : lead + length] = own["audio"][0]  # another's where that of a damaged sample is replaced
        views = {f"audio.{side}.present": [there] for side, there in zip(("before", "after"), known, strict=True)}
        return {**own, "audio.around": [around], **views}


def hearing(reader: Reader, share: float) -> Reader:
    """The reader, with what is heard around samples where a share is asked for."""
    return AroundReader(*reader_fields(reader), share=share) if share else reader


def reader_fields(reader: Reader) -> tuple[Any, ...]:
    """What a plain reader is made of."""
    return tuple(getattr(reader, field.name) for field in fields(Reader))


def sounds_around(
    reader: Reader, indices: Int[np.ndarray, " B"], share: float = 1.0
) -> tuple[Float[Tensor, "B *T"], Bool[Tensor, " B"], Bool[Tensor, " B"]]:
    """The sounds of these samples with a share of the window before and of that behind each; whether that before is
    known, and that behind: of files where the reader has the next window, of worlds that are drawn always. What is not
    known is silence.
    """
    whole = Reader(*reader_fields(reader))
    sounds = replace(whole, decoding=reader.decoding._replace(modalities=("audio",)))
    before, after = followed(whole)
    parts, known = [], []
    for which in (before[indices], indices, after[indices]):
        found = sounds(np.where(which >= 0, which, indices))
        known.append(found["audio.present"][0] & torch.from_numpy(which >= 0))
        parts.append(torch.where(widened(known[-1], found["audio"][0]), found["audio"][0], 0.0))
    length = parts[1].shape[-1]
    lead = round(share * length)
    around = torch.cat([parts[0][..., length - lead :], parts[1], parts[2][..., :lead]], -1)
    drawn, is_drawn = drawn_around(sounds, indices, share)
    if is_drawn.any():
        around[is_drawn] = drawn
    return around, known[0] | is_drawn, known[2] | is_drawn


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
