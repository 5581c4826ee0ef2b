"""Batches of decoded samples by their numbers; apart from what makes them, so that a worker starts quickly."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmssl.modalities.decoding import LOUDEST, Decoding, Values
from mmssl.modalities.media_cache import Part, read_part, replaced
from mmssl.modalities.media_samples import samples_at
from mmssl.random import permutation


@dataclass(frozen=True)
class Reader:
    """Reads every `step`-th sample by its number from all parts; small to send to a worker. Where `is_mixed`, samples
    are numbered in a random order of the seed's: the first of them are then a fair choice, whatever the paths' order.

    The answer has for each modality its name, with one view, and `X.present`; what is absent is zeros. Pictures and
    clips are uint8, sounds float32 in [-1, 1], captions ids.
    """

    parts: tuple[Part, ...]
    decoding: Decoding
    seed: int
    run: Path
    step: int = 1
    is_mixed: bool = False

    @property
    def size(self) -> int:
        """How many samples there are."""
        return -(-sum(part.count for part in self.parts) // self.step)

    @cached_property
    def order(self) -> np.ndarray:
        """The place in all parts of each sample."""
        total = sum(part.count for part in self.parts)
        places = permutation(self.seed, 0, total, "mixed") if self.is_mixed else np.arange(total)
        return places[:: self.step]

    def __call__(self, indices: np.ndarray) -> dict[str, list[Tensor]]:
        starts = np.cumsum([0, *(part.count for part in self.parts)])
        numbers = self.order[np.asarray(indices, dtype=np.int64)]
        owner = np.searchsorted(starts, numbers, side="right") - 1
        values = self.decoding.zeros(len(numbers))
        for which in np.unique(owner):
            mine = owner == which
            found_here = read_part(self.parts[which], numbers[mine] - starts[which], self.decoding, self.seed, self.run)
            for name, value in found_here.items():
                values[name][mine] = value
        return tensors(values)

    def paths(self) -> list[str]:
        """The path of each sample's file, or its name in the built-in world."""
        names = [samples_at(part.table).path(index) for part in self.parts for index in range(part.count)]
        return [names[place] for place in self.order]

    def films(self) -> list[str]:
        """The file of which each sample is a window of time; "" of what has none, as a picture with its captions."""
        tables = [(samples_at(part.table), part.count) for part in self.parts]
        names = [samples.path(i) if samples.is_window(i) else "" for samples, count in tables for i in range(count)]
        return [names[place] for place in self.order]

    def labels(self) -> list[str]:
        """The label of each sample, "" where it has none; where decoded ones replace bad ones, theirs."""
        names: list[str] = []
        for part in self.parts:
            own, others = samples_at(part.table).labels(), replaced(part.decoded)[0] if part.decoded else {}
            names += [own[others.get(index, index)] for index in range(part.count)]
        return [names[place] for place in self.order]


def tensors(values: Values) -> dict[str, list[Tensor]]:
    """Stored samples as a model takes them."""
    views = {name: torch.from_numpy(value) for name, value in values.items()}
    if "audio" in views:
        views["audio"] = views["audio"].float() / LOUDEST
    if "text" in views:
        views["text"] = views["text"].long()
    return {name: [view] for name, view in views.items()}
