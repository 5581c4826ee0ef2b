"""The samples of one source: those of files, listed in a table, and those of the built-in worlds.

Both answer the same questions: how many, with which label, which modality is present, and what a sample holds.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mmssl.errors import ConfigError
from mmssl.folder import write_whole
from mmssl.modalities.audio import decode_audio
from mmssl.modalities.bad_sample import BadSample, Ended, Report
from mmssl.modalities.decoding import Decoding, Values, sixteen_bits
from mmssl.modalities.image import decode_image
from mmssl.modalities.media_files import MediaFile
from mmssl.modalities.media_windows import Cutting, Sample, write_samples
from mmssl.modalities.remote import is_remote
from mmssl.modalities.video import decode_clips
from mmssl.modalities.world_samples import WORLDS, WorldSamples, rows_of, world_with
from mmssl.random import hashed

LAYOUT = 4  # of a table: part of the name by which it is found again
PORTION = 64  # samples that a thread decodes before it takes others, about


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
        is_stored = sample.stored and not is_remote(sample.stored)
        return sample._replace(stored=str(self.folder / sample.stored)) if is_stored else sample

    def path(self, index: int) -> str:
        """The file of a sample."""
        return self.columns["path"][index]

    def is_window(self, index: int) -> bool:
        """Whether a sample is one of the windows of a sound or a video."""
        return self.columns["kind"][index] in ("audio", "video")

    def labels(self) -> list[str]:
        """The label of each sample, "" where it has none."""
        return list(self.columns["label"])

    def present(self, modality: str) -> Bool[np.ndarray, " N"]:
        """Which samples have the modality."""
        is_own = np.array([kind == modality for kind in self.columns["kind"]], dtype=bool)
        beside = {"audio": "sound", "text": "text", "image": "image"}.get(modality)
        return (
            is_own if beside is None else is_own | np.array([bool(each) for each in self.columns[beside]], dtype=bool)
        )

    def captions(self, indices: Int[np.ndarray, " n"]) -> list[str]:
        """What is said of these samples; of those of which nothing is said nothing."""
        return [text for text in map(self.columns["text"].__getitem__, indices) if text]

    def held_seconds(self) -> Float[np.ndarray, " N"]:
        """For how long the last frame of each sample's video is shown on, in seconds."""
        return np.array(self.columns["held_seconds"], dtype=np.float64)

    def tasks(self) -> Iterator[Int[np.ndarray, " n"]]:
        """All samples in portions that are decoded together: a long file in several, for several threads."""
        for start in range(0, len(self), PORTION):
            yield np.arange(start, min(start + PORTION, len(self)))

    def decode(self, indices: Int[np.ndarray, " n"], decoding: Decoding) -> Iterator[tuple[int, Values | BadSample]]:
        """(index, what the sample holds or why it cannot be used) of each of ascending indices."""
        for rows in self.passes(indices):
            yield from zip(rows, decoded_samples([self.sample(row) for row in rows], decoding), strict=True)

    def passes(self, indices: Int[np.ndarray, " n"]) -> Iterator[list[int]]:
        """The indices in groups of one file whose windows ascend; a manifest may name a file again and again."""
        paths, starts, rows = self.columns["path"], self.columns["start_seconds"], []
        for index in map(int, indices):
            if rows and (paths[index] != paths[rows[-1]] or starts[index] <= starts[rows[-1]]):
                yield rows
                rows = []
            rows.append(index)
        if rows:
            yield rows


def decoded_samples(samples: list[Sample], decoding: Decoding) -> Iterator[Values | BadSample]:
    """What each of the samples of one file holds, in ascending order."""
    for sample, seen in zip(samples, pictures(samples, decoding), strict=True):
        yield seen if isinstance(seen, BadSample) else with_others(sample, seen, decoding)


def pictures(samples: list[Sample], decoding: Decoding) -> Iterator[Values | BadSample]:
    """What is seen in the samples of one file, in ascending order; nothing where that is not asked for."""
    kind, media = samples[0].kind, samples[0].media()
    if kind not in decoding.modalities:
        yield from ({} for _ in samples)
        return
    if kind == "image":
        for _ in samples:
            try:
                yield {"image": decode_image(media, decoding.image_size)}
            except BadSample as error:
                yield error
    elif kind == "video":
        left = [(each.start_seconds, each.start_seconds + decoding.seconds - each.held_seconds) for each in samples]
        while left:  # one pass, begun again behind each window that cannot be used
            try:
                for clip in decode_clips(media, decoding.video_size, decoding.frames, tuple(left), decoding.seconds):
                    left.pop(0)
                    yield {"video": clip}
            except Ended as error:  # nobody opens the file for each of them
                yield from (error for _ in left)
                return
            except BadSample as error:
                left.pop(0)
                yield error
    else:
        for _ in samples:
            yield {}


def with_others(sample: Sample, seen: Values, decoding: Decoding) -> Values | BadSample:
    """The sample with its sound, the picture beside it and its caption, where it has one and it is asked for."""
    found = dict(seen)
    try:
        if sample.sound and "audio" in decoding.modalities:
            sound = decode_audio(
                sample.sound_media(), decoding.rate_hz, sample.sound_start_seconds, decoding.seconds, decoding.channels
            )
            found["audio"] = sixteen_bits(sound)
        if sample.image and "image" in decoding.modalities:
            found["image"] = decode_image(Path(sample.image), decoding.image_size)
    except BadSample as error:
        return error
    if sample.text and decoding.tokenizer is not None:
        (found["text"],) = rows_of([sample.text], decoding.tokenizer, decoding.caption_tokens)
    return found


@lru_cache(maxsize=64)
def samples_at(path: Path) -> FileSamples | WorldSamples:
    """A table of samples, read once in each process."""
    note = json.loads(path.read_text())
    world = next((name for name in WORLDS if name in note), None)
    return FileSamples(note, path.parent) if world is None else WorldSamples(world, note)


def table_of(files: list[MediaFile], source: str, cutting: Cutting, cache: Path, report: Report) -> Path:
    """The table of the samples of these files, made now unless it is there."""
    content = json.dumps([[file.identity() for file in files], cutting])
    path = cache / f"samples-{hashed(LAYOUT, source, content):016x}.json"
    if not path.exists():
        write_samples(files, path, source, cutting, report)
    return path


def world_table(name: str, seed: int, count: int, decoding: Decoding, cache: Path) -> Path:
    """The same of a built-in world; its name holds how the first sample looks and sounds. ConfigError where the world
    lacks a modality.
    """
    world = world_with(name, decoding.modalities)
    seen = decoding._replace(modalities=tuple(kind for kind in decoding.modalities if kind != "text"), tokenizer=None)
    try:
        looks = [hashed(kind, value.tobytes()) for kind, value in world.draw(seed, np.arange(1), seen).items()]
    except ValueError as error:
        raise ConfigError(f"data.source {name}: {error}") from error
    path = cache / f"samples-{hashed(LAYOUT, name, seed, count, *looks):016x}.json"
    if not path.exists():
        write_whole(path, json.dumps({name: [seed, count], "looks": looks}).encode())
    return path
