"""The samples of the built-in worlds: drawn when they are asked for, all present, none bad."""

import json
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from mmssl.errors import ConfigError
from mmssl.modalities.decoding import Decoding, Values, sixteen_bits

PORTION = 64  # samples that are drawn together
ENCODING = Lock()  # a tokenizer changes its own settings while it encodes

Indices = Int[np.ndarray, " n"]


class World(NamedTuple):
    """A source that a program draws: each sample is a pure function of (seed, index)."""

    modalities: tuple[str, ...]
    draw: Callable[[int, Indices, Decoding], Values]
    labels: Callable[[int, Indices], list[str]]  # for probes only
    around: Callable[[int, Indices, Decoding, float], np.ndarray] | None = None  # sounds, with what is heard around


def events_of_savanna(seed: int, indices: Indices, decoding: Decoding) -> Values:
    """A chase as its caption, a picture, a sound and a clip."""
    from mmssl import savanna

    values: Values = {}
    if decoding.tokenizer is not None:
        values["text"] = rows_of(savanna.captions(seed, indices), decoding.tokenizer, decoding.caption_tokens)
    if values.keys() != set(decoding.modalities):
        scenes = savanna.scenes(seed, indices)
        if "image" in decoding.modalities:
            values["image"] = centred(partial(savanna.pictures, scenes), decoding.image_size)
        if "video" in decoding.modalities:
            values["video"] = savanna.videos(scenes, decoding.video_size, decoding.frames, decoding.seconds)
        if "audio" in decoding.modalities:
            stereo = savanna.sounds(scenes, decoding.rate_hz, decoding.seconds)
            values["audio"] = sixteen_bits(stereo if decoding.channels == 2 else stereo.mean(axis=1))
    return values


def heard_around(seed: int, indices: Indices, decoding: Decoding, share: float) -> np.ndarray:
    """The sound of a chase as it is stored, from a share of the clip before it to as much behind it."""
    from mmssl import savanna

    scenes = savanna.scenes(seed, indices)
    found = savanna.sounds(scenes, decoding.rate_hz, decoding.seconds, around_seconds=share * decoding.seconds)
    return sixteen_bits(found if len(decoding.shapes()["audio"][1]) == 2 else found.mean(axis=1))


def centred(pictures: Callable[[int], UInt8[np.ndarray, "n 3 S S"]], sides: tuple[int, int]) -> np.ndarray:
    """Pictures of a height and width out of those of its longer side, which are square."""
    height, width = sides
    longer = max(sides)
    top, left = (longer - height) // 2, (longer - width) // 2
    return np.ascontiguousarray(pictures(longer)[:, :, top : top + height, left : left + width])


def predators(seed: int, indices: Indices) -> list[str]:
    """The predator of each sample: the habitat alone, which any colour tells, does not decide it."""
    from mmssl.savanna import event_numbers, events

    names = [event.predator for event, _ in events()]
    return [names[number] for number in event_numbers(seed, indices)]


def encounters(seed: int, indices: Indices, decoding: Decoding) -> Values:
    """A predator at the left, and what it chases at the right."""
    from mmssl.savanna.encounters import pictures

    return {"image": centred(partial(pictures, seed, indices), decoding.image_size)}


def preys(seed: int, indices: Indices) -> list[str]:
    """The prey of each sample, which neither the habitat nor the predator decides."""
    from mmssl.savanna.encounters import prey_names

    return prey_names(seed, indices)


def flying_digits(seed: int, indices: Indices, decoding: Decoding) -> Values:
    """A digit that bounces off the walls."""
    from mmssl.savanna.digits import videos

    return {"video": videos(seed, indices, decoding.video_size, decoding.frames, decoding.seconds)}


def digits(seed: int, indices: Indices) -> list[str]:
    """The digit of each sample."""
    from mmssl.savanna.digits import labels

    return labels(seed, indices)


WORLDS: dict[str, World] = {
    "savanna": World(("text", "image", "audio", "video"), events_of_savanna, predators, heard_around),
    "encounters": World(("image",), encounters, preys),
    "digits": World(("video",), flying_digits, digits),
}


def world_with(name: str, modalities: Collection[str]) -> World:
    """A built-in world; ConfigError where it lacks one of the modalities."""
    world = WORLDS[name]
    if lacks := sorted(set(modalities) - set(world.modalities)):
        expected = " or ".join(world.modalities)
        raise ConfigError(f"data.source {name}: has no {' and no '.join(lacks)}; expected a task that reads {expected}")
    return world


class WorldSamples:
    """Samples of a built-in world."""

    def __init__(self, name: str, note: dict[str, Any]) -> None:
        self.seed, self.count = note[name]
        self.world, self.source, self.num_files, self.bad = WORLDS[name], name, self.count, []
        self.content = json.dumps(note)

    def __len__(self) -> int:
        return self.count

    def path(self, index: int) -> str:
        """A name of the sample."""
        return f"{self.source}:{index}"

    def is_window(self, index: int) -> bool:
        """No sample has another window."""
        return False

    def labels(self) -> list[str]:
        """The label of each sample."""
        return self.world.labels(self.seed, np.arange(self.count))

    def captions(self, indices: Indices) -> list[str]:
        """What is said of these samples."""
        from mmssl.savanna import captions

        return captions(self.seed, indices)

    def present(self, modality: str) -> Bool[np.ndarray, " N"]:
        """Every sample has every modality."""
        return np.ones(self.count, dtype=bool)

    def tasks(self) -> Iterator[Indices]:
        """All samples in portions that are drawn together."""
        for start in range(0, self.count, PORTION):
            yield np.arange(start, min(start + PORTION, self.count))

    def decode(self, indices: Indices, decoding: Decoding) -> Iterator[tuple[int, Values]]:
        """(index, what the sample holds) of each index."""
        drawn = self.world.draw(self.seed, indices, decoding)
        for row, index in enumerate(map(int, indices)):
            yield index, {name: values[row] for name, values in drawn.items()}


def rows_of(texts: list[str], tokenizer: Path, length: int) -> Int[np.ndarray, "n {length}"]:
    """Ids of a run's words between first and last token, cut or padded to `length`."""
    return rows_in(vocabulary_at(tokenizer), texts, length)


def rows_in(words: Any, texts: list[str], length: int) -> Int[np.ndarray, "n {length}"]:
    """Ids of a `Vocabulary` between first and last token, cut or padded to `length`."""
    rows = np.full((len(texts), length), words.pad, dtype=np.int32)
    with ENCODING:
        encoded = words.encode(texts)
    for row, ids in zip(rows, encoded, strict=True):
        ids = [words.first, *ids[: length - 2], words.last]
        row[: len(ids)] = ids
    return rows


@lru_cache(maxsize=4)
def vocabulary_at(folder: Path) -> Any:
    """The run's `Vocabulary`, read once in each process."""
    from mmssl.modalities.text import load_tokenizer, vocabulary  # seconds, which only captions need

    return vocabulary(load_tokenizer(folder))
