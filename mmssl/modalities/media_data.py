"""From a config's sources of pictures, sounds, videos and the built-in worlds to batches of decoded samples."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmssl.config import Config
from mmssl.distributed import rank
from mmssl.errors import DataError
from mmssl.modalities.bad_sample import Report, unreported
from mmssl.modalities.decoding import decoding_of
from mmssl.modalities.media_cache import Part, decode_all, decoded_path, replaced
from mmssl.modalities.media_files import MediaFile, split_files
from mmssl.modalities.media_reader import Reader
from mmssl.modalities.media_samples import FileSamples, samples_at, table_of, world_table
from mmssl.modalities.media_tables import all_files
from mmssl.modalities.media_windows import Cutting
from mmssl.modalities.sounds_around import hearing
from mmssl.modalities.text import Vocabulary
from mmssl.modalities.world_samples import WORLDS, vocabulary_at
from mmssl.random import hashed
from mmssl.runs import write_json

COUNTED = 1000  # captions of a table whose length is looked at, about


class MediaData(NamedTuple):
    """All that a task of pictures, sounds and videos needs of its data."""

    train: Reader
    sizes: tuple[int, ...]  # samples of each group
    heldout: Reader
    num_heldout: int
    missing: dict[str, int]  # modality -> training samples that lack it
    fingerprint: str
    vocabulary: Vocabulary | None  # of captions, where they are asked for

    def mixed(self) -> "MediaData":
        """The same, held-out samples of files in a random order: paths are in that of their classes. Those of the
        built-in worlds are in none, and their numbers say what they show.
        """
        is_file = [isinstance(samples_at(part.table), FileSamples) for part in self.heldout.parts]
        return self._replace(heldout=replace(self.heldout, is_mixed=all(is_file)))

    def hearing(self, share: float) -> "MediaData":
        """The same, read with what is heard around each sample, a share of its window before it and behind it."""
        return self._replace(train=hearing(self.train, share), heldout=hearing(self.heldout, share))

    def summary(self) -> str:
        """One line on what was read."""
        decoding = self.train.decoding
        is_decoded = all(part.decoded for part in self.train.parts)
        size = sum(self.sizes) * decoding.sample_bytes() / 1e9
        lack = "".join(f", {count:,} without {name}" for name, count in self.missing.items() if count)
        lack += "".join(f", {line}" for line in short_videos(self.train))
        if self.vocabulary is not None and (share := cut_captions(self.train, self.vocabulary)):
            lack += f", {share:.0%} of the captions cut to data.caption_tokens={decoding.caption_tokens}"
        return (
            f"data: {sum(self.sizes):,} samples of {' and '.join(decoding.modalities)} in {len(self.sizes)} group(s)"
            f"{lack}, {self.num_heldout:,} held out; {size:.2f} GB "
            f"{'decoded on the disk' if is_decoded else 'decoded while they are read (more than data.decoded_bytes)'}"
        )


def short_videos(reader: Reader) -> Iterator[str]:
    """What became of videos that end within a window."""
    tables = [samples for part in reader.parts if isinstance(samples := samples_at(part.table), FileSamples)]
    held = np.concatenate([np.zeros(0), *(samples.held_seconds() for samples in tables)])
    skipped = sum(entry.get("skipped", False) for samples in tables for entry in samples.bad)
    if held.any():
        yield f"{(held > 0).sum():,} with their last frame shown on ({held.sum():.1f} s in all)"
    if skipped:
        yield f"{skipped:,} videos shorter than data.seconds left out"


def cutting_of(config: Config, modalities: tuple[str, ...]) -> Cutting:
    """How a config cuts files into windows of time."""
    data = config.data
    return Cutting(
        data.seconds,
        "audio" in modalities,
        data.short_videos,
        data.clips_per_file,
        config.seed if data.clips_per_file else 0,
    )


class Tables:
    """Makes the tables of samples of sources, once each, below the cache."""

    def __init__(self, config: Config, folder: Path, modalities: tuple[str, ...], report: Report) -> None:
        self.config, self.modalities, self.cache, self.report = config, modalities, folder / config.data.cache, report
        self.decoding = decoding_of(config, modalities, folder)

    def of_files(self, files: list[MediaFile], source: str) -> Path:
        """The table of these files."""
        return table_of(files, source, cutting_of(self.config, self.modalities), self.cache, self.report)

    def of_world(self, world: str, part: str, count: int) -> Path:
        """The table of samples of a built-in world that belong to training ("") or to another part."""
        seed = hashed(self.config.seed, part) if part else self.config.seed
        return world_table(world, seed, count, self.decoding, self.cache)

    def files(self, source: str) -> list[MediaFile]:
        """The files of a source, and the pictures and videos of its archives and tables."""
        files = all_files(source, self.modalities, self.config.data, self.cache)
        if "text" not in self.modalities or self.config.data.captions == "beside":
            return files
        return [file._replace(caption=file.label.replace("_", " ")) for file in files]

    def whole(self, source: str) -> Path:
        """All of a source that is there to evaluate on."""
        if source in WORLDS:
            return self.of_world(source, "heldout", self.config.data.samples)
        return self.of_files(self.files(source), source)

    def groups(self, ratio: float) -> list[tuple[Path, Path | None]]:
        """(table to train on, table held out) of each group of the mixture."""
        sources = [self.config.data.source] if isinstance(self.config.data.source, str) else self.config.data.source
        tables: list[tuple[Path, Path | None]] = []
        for source in sources:
            if source in WORLDS:
                count = self.config.data.samples
                fresh = self.of_world(source, "heldout", max(1, round(ratio * count))) if ratio else None
                tables.append((self.of_world(source, "", count), fresh))
                continue
            files = self.files(source)
            names = sorted({file.label for file in files}) if self.config.data.groups == "folder" else [None]
            for name in names:
                mine = [file for file in files if name is None or file.label == name]
                train, heldout = split_files(mine, ratio, self.config.seed)
                tables.append((self.of_files(train, source), self.of_files(heldout, source) if heldout else None))
        return tables

    def reader(self, tables: list[Path], folder: Path, *, decoded: bool, step: int = 1) -> Reader:
        """What reads these tables as one range of numbers."""
        parts = []
        for table in tables:
            place = decode_all(table, self.decoding, self.config.seed, self.report) if decoded else None
            parts.append(Part(table, place, len(samples_at(table))))
        return Reader(tuple(parts), self.decoding, self.config.seed, folder, step)

    def fit(self, tables: list[Path]) -> bool:
        """Whether the decoded samples of all tables may be kept on the disk."""
        count = sum(len(samples_at(table)) for table in tables)
        return count * self.decoding.sample_bytes() <= self.config.data.decoded_bytes


def prepare_media(
    config: Config,
    folder: Path,
    report: Report,
    modalities: tuple[str, ...],
    vocabulary: Vocabulary | None = None,
) -> MediaData:
    """Find, open and decode the config's sources; what the cache holds is used again.

    `modalities` are some of "text" (captions), "image", "audio" and "video"; captions are of the given vocabulary, else
    of the run's own, which is trained where there is none. Raises DataError where a source is missing,
    too many of its files are bad, or no sample has one of the modalities.
    """
    make = Tables(config, folder, modalities, report)
    ratio = config.data.heldout if isinstance(config.data.heldout, float) else 0.0
    groups = make.groups(ratio)
    train = [table for table, _ in groups]
    heldout = [table for _, table in groups if table is not None]
    if isinstance(config.data.heldout, str):
        heldout = [make.whole(config.data.heldout)]
    missing = {
        name: sum(int((~samples_at(table).present(name)).sum()) for table in train) for name in make.decoding.modalities
    }
    sizes = tuple(len(samples_at(table)) for table in train)
    for name, count in missing.items():
        if count == sum(sizes):
            captions = " (of x.jpg in x.txt beside it or in data.paired, or in a manifest)"
            expected = f"one at least{captions if name == 'text' else ''}"
            raise DataError(f"data.source {config.data.source}: no sample has {name}; expected {expected}")
    words = caption_words(config, folder, train, vocabulary) if "text" in modalities else None
    is_decoded = make.fit([*train, *heldout])
    readers = [make.reader(tables, folder, decoded=is_decoded) for tables in (train, heldout)]
    for reader in readers:
        tell(reader, report)
    fingerprint = f"{hashed(*(samples_at(table).content for table in train), *make.decoding[:-1]):016x}"
    data = MediaData(readers[0], sizes, readers[1], readers[1].size, missing, fingerprint, words)
    kept = {"train": train, "heldout": heldout, "decoded": is_decoded, "missing": missing, "fingerprint": fingerprint}
    write_json(folder / "data.json", {"config": origin(config, modalities)} | kept)
    return data


def origin(config: Config, modalities: tuple[str, ...]) -> dict[str, Any]:
    """All of a config that decides which samples come out."""
    sections = {name: getattr(config, name).model_dump(mode="json") for name in ("data", "image", "audio", "video")}
    return {"seed": config.seed, "modalities": list(modalities), **sections}


def tell(reader: Reader, report: Report) -> None:
    """Report the bad files that were found when the samples were made ready, and say how many samples others stand in
    for, each time anew.
    """
    for part in reader.parts:
        samples, (taken, bad) = samples_at(part.table), replaced(part.decoded) if part.decoded else ({}, [])
        for entry in (*samples.bad, *bad):
            report(entry)
        if taken and rank() == 0:  # all processes are told, one speaks
            print(
                f"note: {len(taken):,} of {len(samples):,} samples of {samples.source} cannot be decoded: others stand "
                "in their place (bad_samples.jsonl names each file)", file=sys.stderr,
            )  # fmt: skip


class Captions:
    """The captions of a table of samples, as a data set of texts answers with them."""

    def __init__(self, table: Path) -> None:
        self.samples = samples_at(table)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows: slice) -> dict[str, list[str]]:
        return {"text": self.samples.captions(np.arange(len(self))[rows])}


def caption_words(config: Config, folder: Path, train: list[Path], given: Vocabulary | None) -> Vocabulary:
    """The run's tokenizer: saved with the run, else the one given or named, else trained on the captions: "as_encoder"
    means whole words of a built-in world, which are few, and WordPiece of files.
    """
    from mmssl.modalities.text_data import ready_vocabulary  # seconds, which only captions need

    if given is not None and not (folder / "tokenizer" / "tokenizer.json").exists():
        given.tokenizer.save_pretrained(folder / "tokenizer")
    kind = config.tokenizer.kind
    if kind == "as_encoder":
        kind = "wordpiece" if any(isinstance(samples_at(table), FileSamples) for table in train) else "word"
    chosen = config.model_copy(update={"tokenizer": config.tokenizer.model_copy(update={"kind": kind})})
    return ready_vocabulary(chosen, folder, [Captions(table) for table in train])


def cut_captions(reader: Reader, words: Vocabulary) -> float:
    """The share of captions that have more tokens than are kept, of some at even distances."""
    found: list[str] = []
    for part in reader.parts:
        samples = samples_at(part.table)
        found += samples.captions(np.arange(0, len(samples), max(1, len(samples) // COUNTED)))
    lengths = np.array([len(ids) + 2 for ids in words.encode(found)])
    return float((lengths > reader.decoding.caption_tokens).mean()) if len(found) else 0.0


def reopen_media(config: Config, folder: Path, modalities: tuple[str, ...]) -> MediaData | None:
    """The samples of a run as `prepare_media` left them, without the sources; None where they are gone or the config
    changed.
    """
    path = folder / "data.json"
    note: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"config": None}
    if note["config"] != origin(config, modalities):
        return None
    make = Tables(config, folder, modalities, unreported)
    # the folder may have been moved, with its cache
    train, heldout = ([make.cache / Path(table).name for table in note[side]] for side in ("train", "heldout"))
    needed = [*train, *heldout]
    if make.decoding.tokenizer is not None:
        needed = [make.decoding.tokenizer / "tokenizer.json", *needed]
    if not all(table.exists() for table in needed):
        return None
    if note["decoded"] and not all(
        decoded_path(table, make.decoding, config.seed).is_dir() for table in (*train, *heldout)
    ):
        return None
    readers = [make.reader(tables, folder, decoded=note["decoded"]) for tables in (train, heldout)]
    words = None if make.decoding.tokenizer is None else vocabulary_at(make.decoding.tokenizer)
    sizes = tuple(part.count for part in readers[0].parts)
    return MediaData(readers[0], sizes, readers[1], readers[1].size, note["missing"], note["fingerprint"], words)
