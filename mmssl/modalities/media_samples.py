"""The samples of one source: those of files, listed in a table, and those of the built-in world.

Both answer the same questions: how many, with which label, which modality is present, and what a sample holds.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from mmssl.config import Config
from mmssl.errors import ConfigError
from mmssl.folder import write_whole
from mmssl.modalities.audio import decode_audio
from mmssl.modalities.bad_sample import BadSample, Report
from mmssl.modalities.image import Region, decode_image
from mmssl.modalities.media_files import MediaFile, Sample, write_samples
from mmssl.modalities.video import decode_clips
from mmssl.random import hashed

TEXT_LENGTH = 16  # tokens of a caption of the built-in world, first and last included
LOUDEST = 32767  # sound is stored in 16 bits
LAYOUT = 2  # of a table: part of the name by which it is found again
PORTION = 64  # samples that a thread decodes before it takes others, about

ENCODING = Lock()  # a tokenizer changes its own settings while it encodes

Values = dict[str, np.ndarray]


class Decoding(NamedTuple):
    """What a sample becomes."""

    modalities: tuple[str, ...]
    image_size: int
    rate_hz: int
    video_size: int
    frames: int
    seconds: float
    tokenizer: Path | None = None  # folder of the tokenizer, where captions are asked for

    def shapes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape in which a sample of each modality is stored."""
        known: dict[str, tuple[str, tuple[int, ...]]] = {
            "text": ("int32", (TEXT_LENGTH,)),
            "image": ("uint8", (3, self.image_size, self.image_size)),
            "audio": ("int16", (round(self.rate_hz * self.seconds),)),
            "video": ("uint8", (self.frames, 3, self.video_size, self.video_size)),
        }
        return {name: known[name] for name in self.modalities}

    def sample_bytes(self) -> int:
        """Bytes of a stored sample."""
        return sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in self.shapes().values())

    def zeros(self, count: int) -> Values:
        """Absent samples, and that they are."""
        absent = {f"{name}.present": np.zeros(count, dtype=bool) for name in self.modalities}
        return {name: np.zeros((count, *shape), kind) for name, (kind, shape) in self.shapes().items()} | absent


def decoding_of(config: Config, modalities: tuple[str, ...], folder: Path) -> Decoding:
    """What a config asks for."""
    return Decoding(
        modalities, config.image.stored_size or config.image.size, config.audio.rate_hz, config.video.size,
        config.video.frames, config.data.seconds, folder / "tokenizer" if "text" in modalities else None,
    )  # fmt: skip


def sixteen_bits(sound: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as they are stored."""
    return np.rint(sound.clip(-1, 1) * LOUDEST).astype(np.int16)


class FileSamples:
    """The windows of files, as `write_samples` left them in a folder."""

    def __init__(self, note: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        self.source, self.num_files, self.bad, self.content = (
            note[name] for name in ("source", "files", "bad", "content")
        )
        self.columns = note["columns"]

    def __len__(self) -> int:
        return len(self.columns["path"])

    def sample(self, index: int) -> Sample:
        """One row of the table."""
        sample = Sample(*(self.columns[name][index] for name in Sample._fields))
        return sample._replace(stored=str(self.folder / sample.stored)) if sample.stored else sample

    def path(self, index: int) -> str:
        """The file of a sample."""
        return self.columns["path"][index]

    def labels(self) -> list[str]:
        """The label of each sample, "" where it has none."""
        return list(self.columns["label"])

    def present(self, modality: str) -> Bool[np.ndarray, " N"]:
        """Which samples have the modality."""
        if modality == "audio":
            return np.array([bool(sound) for sound in self.columns["sound"]], dtype=bool)
        return np.array([kind == modality for kind in self.columns["kind"]], dtype=bool)

    def tasks(self) -> Iterator[Int[np.ndarray, " n"]]:
        """All samples in portions that are decoded together: whole files."""
        portion: list[int] = []
        for _, numbers in groupby(range(len(self)), self.columns["path"].__getitem__):
            portion += numbers
            if len(portion) >= PORTION:
                yield np.array(portion)
                portion = []
        if portion:
            yield np.array(portion)

    def decode(self, indices: Int[np.ndarray, " n"], decoding: Decoding) -> Iterator[tuple[int, Values | BadSample]]:
        """(index, what the sample holds or why it cannot be used) of each of ascending indices."""
        for _, numbers in groupby(map(int, indices), self.columns["path"].__getitem__):
            rows = list(numbers)
            yield from zip(rows, decoded_samples([self.sample(row) for row in rows], decoding), strict=True)


def decoded_samples(samples: list[Sample], decoding: Decoding) -> Iterator[Values | BadSample]:
    """What each of the samples of one file holds, in ascending order."""
    for sample, seen in zip(samples, pictures(samples, decoding), strict=True):
        yield seen if isinstance(seen, BadSample) else with_sound(sample, seen, decoding)


def pictures(samples: list[Sample], decoding: Decoding) -> Iterator[Values | BadSample]:
    """What is seen in the samples of one file, in ascending order."""
    kind, path = samples[0].kind, Path(samples[0].path)
    if kind == "image":
        for sample in samples:
            picture = Region(Path(sample.stored), sample.offset, sample.size) if sample.stored else path
            try:
                yield {"image": decode_image(picture, decoding.image_size)}
            except BadSample as error:
                yield error
    elif kind == "video":
        starts = [sample.start_seconds for sample in samples]
        while starts:  # one pass, begun again behind each window that cannot be used
            try:
                for clip in decode_clips(path, decoding.video_size, decoding.frames, tuple(starts), decoding.seconds):
                    starts.pop(0)
                    yield {"video": clip}
            except BadSample as error:
                starts.pop(0)
                yield error
    else:
        for _ in samples:
            yield {}


def with_sound(sample: Sample, seen: Values, decoding: Decoding) -> Values | BadSample:
    """The sample with its sound, where it has one and sound is asked for."""
    if not sample.sound or "audio" not in decoding.modalities:
        return seen
    try:
        sound = decode_audio(Path(sample.sound), decoding.rate_hz, sample.sound_start_seconds, decoding.seconds)
    except BadSample as error:
        return error
    return {**seen, "audio": sixteen_bits(sound)}


class WorldSamples:
    """Samples of `savanna`: all present, none bad; the habitat is the label."""

    def __init__(self, note: dict[str, Any]) -> None:
        self.seed, self.count = note["savanna"]
        self.source, self.num_files, self.bad, self.content = "savanna", self.count, [], json.dumps(note)

    def __len__(self) -> int:
        return self.count

    def path(self, index: int) -> str:
        """A name of the sample."""
        return f"savanna:{index}"

    def labels(self) -> list[str]:
        """The predator of each sample: the habitat alone, which any colour tells, does not decide it."""
        from mmssl.savanna import event_numbers, events

        predators = [event.predator for event, _ in events()]
        return [predators[number] for number in event_numbers(self.seed, np.arange(self.count))]

    def present(self, modality: str) -> Bool[np.ndarray, " N"]:
        """Every sample has every modality."""
        return np.ones(self.count, dtype=bool)

    def tasks(self) -> Iterator[Int[np.ndarray, " n"]]:
        """All samples in portions that are drawn together."""
        for start in range(0, self.count, PORTION):
            yield np.arange(start, min(start + PORTION, self.count))

    def decode(self, indices: Int[np.ndarray, " n"], decoding: Decoding) -> Iterator[tuple[int, Values | BadSample]]:
        """(index, what the sample holds) of each index."""
        drawn = world(self.seed, indices, decoding)
        for row, index in enumerate(map(int, indices)):
            yield index, {name: values[row] for name, values in drawn.items()}


def world(seed: int, indices: Int[np.ndarray, " n"], decoding: Decoding) -> Values:
    """Samples of the built-in world."""
    from mmssl import savanna

    values: Values = {}
    if decoding.tokenizer is not None:
        values["text"] = rows_of(savanna.captions(seed, indices), decoding.tokenizer)
    if values.keys() != set(decoding.modalities):
        scenes = savanna.scenes(seed, indices)
        if "image" in decoding.modalities:
            values["image"] = savanna.pictures(scenes, decoding.image_size)
        if "video" in decoding.modalities:
            values["video"] = savanna.videos(scenes, decoding.video_size, decoding.frames, decoding.seconds)
        if "audio" in decoding.modalities:
            values["audio"] = sixteen_bits(savanna.sounds(scenes, decoding.rate_hz, decoding.seconds).mean(axis=1))
    return values


def rows_of(texts: list[str], tokenizer: Path) -> Int[np.ndarray, "n L"]:
    """Ids between first and last token, padded."""
    words = vocabulary_at(tokenizer)
    rows = np.full((len(texts), TEXT_LENGTH), words.pad, dtype=np.int32)
    with ENCODING:
        encoded = words.encode(texts)
    for row, ids in zip(rows, encoded, strict=True):
        ids = [words.first, *ids[: TEXT_LENGTH - 2], words.last]
        row[: len(ids)] = ids
    return rows


@lru_cache(maxsize=4)
def vocabulary_at(folder: Path) -> Any:
    """The run's `Vocabulary`, read once in each process."""
    from mmssl.modalities.text import load_tokenizer, vocabulary  # seconds, which only captions need

    return vocabulary(load_tokenizer(folder))


@lru_cache(maxsize=64)
def samples_at(path: Path) -> FileSamples | WorldSamples:
    """A table of samples, read once in each process."""
    note = json.loads(path.read_text())
    return WorldSamples(note) if "savanna" in note else FileSamples(note, path.parent)


def table_of(
    files: list[MediaFile], source: str, seconds: float, cache: Path, report: Report, *, with_sound: bool
) -> Path:
    """The table of the samples of these files, made now unless it is there."""
    content = json.dumps([[file.identity() for file in files], seconds, with_sound])
    path = cache / f"samples-{hashed(LAYOUT, source, content):016x}.json"
    if not path.exists():
        write_samples(files, path, source, seconds, report, with_sound=with_sound)
    return path


def world_table(seed: int, count: int, decoding: Decoding, cache: Path) -> Path:
    """The same of the built-in world; its name holds how the first sample looks and sounds."""
    seen = decoding._replace(modalities=tuple(name for name in decoding.modalities if name != "text"), tokenizer=None)
    try:
        looks = [hashed(name, value.tobytes()) for name, value in world(seed, np.arange(1), seen).items()]
    except ValueError as error:
        raise ConfigError(f"data.source savanna: {error}") from error
    path = cache / f"samples-{hashed(LAYOUT, 'savanna', seed, count, *looks):016x}.json"
    if not path.exists():
        write_whole(path, json.dumps({"savanna": [seed, count], "looks": looks}).encode())
    return path
