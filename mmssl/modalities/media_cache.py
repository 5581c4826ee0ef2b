"""Samples are decoded once into memory-mapped files, where they fit, else each time they are read.

Decoding runs in threads: Pillow, libsndfile and FFmpeg's decoders release the GIL, a thread starts at once and writes
straight into the file, and a spawned process would first import torch for seconds.
"""

import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from PIL import Image

from mmssl.errors import CheckpointError, DataError
from mmssl.folder import write_whole
from mmssl.modalities.bad_sample import BadSample, Report, unreported
from mmssl.modalities.decoding import Decoding, Values
from mmssl.modalities.media_samples import FileSamples, samples_at
from mmssl.modalities.media_windows import limit
from mmssl.modalities.shards import Shards
from mmssl.modalities.world_samples import WorldSamples
from mmssl.random import hashed
from mmssl.runs import record_bad

LAYOUT = 2  # of the stored samples: part of the name by which they are found again
ATTEMPTS = 8  # samples tried in place of a bad one, before the first ones of all files
TELL_SECONDS = 30  # from one line on the progress of decoding to the next

Samples = FileSamples | WorldSamples


class Part(NamedTuple):
    """One side (training or held out) of a source: the table of its samples, and where they lie decoded, if they do."""

    table: Path
    decoded: Path | None
    count: int


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings are not shown: what matters of them is a limit of ours, or raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module="PIL")
        yield


def replacements(seed: int, index: int, samples: Samples) -> Iterator[int]:
    """The samples that are tried in place of a bad one: some of all, then the first of each file, from any file on.

    Of a long video that breaks off most windows are bad, and it may hold most of all: the draws alone may hit no other.
    """
    for attempt in range(1, ATTEMPTS + 1):
        yield (index + hashed("replacement", seed, index, attempt)) % len(samples)
    files = firsts(samples)
    begin = hashed("replacement", seed, index) % len(files)
    yield from files[begin:] + files[:begin]


@lru_cache(maxsize=64)
def firsts(samples: Samples) -> list[int]:
    """The first sample of each file."""
    found: dict[str, int] = {}
    for index in range(len(samples)):
        found.setdefault(samples.path(index), index)
    return list(found.values())


def decoded_path(table: Path, decoding: Decoding, seed: int) -> Path:
    """Where the decoded samples of a table lie: the name holds all that decides what they are."""
    words = (decoding.tokenizer / "tokenizer.json").read_text() if decoding.tokenizer is not None else ""
    settings = json.dumps([list(decoding[:-1]), hashed(words), seed])
    return table.parent / f"decoded-{hashed(LAYOUT, table.name, settings):016x}"


def decode_all(table: Path, decoding: Decoding, seed: int, report: Report) -> Path:
    """The folder with the decoded samples of a table, written now unless it is there: whole or not at all."""
    folder, samples = decoded_path(table, decoding, seed), samples_at(table)
    if folder.is_dir():
        return folder
    size = len(samples) * decoding.sample_bytes()
    print(
        f"note: decoding {len(samples):,} samples of {samples.source} into {folder} ({size / 1e9:.3f} GB)",
        file=sys.stderr,
    )
    expected = f"expected {size:,} free bytes, or a lower data.decoded_bytes"
    with whole_folder(folder, "decoded samples", expected) as temporary:
        write_decoded(samples, decoding, seed, temporary, report)
    return folder


@contextmanager
def whole_folder(folder: Path, content: str, expected: str) -> Iterator[Path]:
    """A folder to write into that gets its name when all is written; CheckpointError where it cannot be."""
    sweep(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was faster
                raise
    except OSError as error:
        raise CheckpointError(f"{folder}: {content} cannot be written ({error.strerror}); {expected}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what processes left that died while they wrote this folder."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        try:
            os.kill(int(left.suffix[1:]), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)


def write_decoded(samples: Samples, decoding: Decoding, seed: int, folder: Path, report: Report) -> None:
    """Decode all samples into the files of a folder; DataError where too many files are bad."""
    files = {
        name: Shards(folder, name, kind, (len(samples), *shape), is_new=True)
        for name, (kind, shape) in decoding.shapes().items()
    }
    bad: dict[int, str] = {}
    tasks = list(samples.tasks())

    def decode(indices: Int[np.ndarray, " n"]) -> None:
        for index, values in samples.decode(indices, decoding):
            if isinstance(values, BadSample):
                bad[index] = str(values)
            else:
                for name, value in values.items():
                    files[name][index] = value

    with quiet(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        told = monotonic()
        for number, _ in enumerate(pool.map(decode, tasks), start=1):
            if monotonic() - told > TELL_SECONDS:
                told = monotonic()
                print(f"note: {number / len(tasks):.0%} decoded", file=sys.stderr)
    reports = [{"path": samples.path(i), "reason": bad[i]} for i in sorted(bad)] if bad else []
    limit(samples.source, [*samples.bad, *reports], samples.num_files, report, left=len(samples) - len(bad))
    taken = {}
    for entry, index in zip(reports, sorted(bad), strict=True):
        taken[index] = next((other for other in replacements(seed, index, samples) if other not in bad), None)
        if taken[index] is None:
            report(entry)
            raise no_replacement(samples, entry)
        entry["replaced_by"] = taken[index]
        for file in files.values():
            (file[index],) = file[np.array([taken[index]])]
    for file in files.values():
        file.flush()
    write_whole(folder / "replaced.json", json.dumps({"taken": list(taken.items()), "bad": reports}).encode())


def no_replacement(samples: Samples, report: dict) -> DataError:
    """The error where a bad sample and all that were tried in its place cannot be used."""
    return DataError(
        f"{samples.source}: {report['path']} cannot be used ({report['reason']}), nor can {ATTEMPTS} other samples "
        "and the first one of each file; expected more good files"
    )


@lru_cache(maxsize=256)
def mapped(folder: Path, name: str, kind: str, shape: tuple[int, ...]) -> Shards:
    """Decoded samples of one modality, memory-mapped once in each process."""
    return Shards(folder, name, kind, shape)


@lru_cache(maxsize=64)
def replaced(decoded: Path) -> tuple[dict[int, int], list[dict]]:
    """(bad sample -> the one in its place, what was reported) of decoded samples."""
    note = json.loads((decoded / "replaced.json").read_text())
    return dict(map(tuple, note["taken"])), note["bad"]


@lru_cache(maxsize=64)
def damaged(table: Path) -> dict[int, str]:
    """The samples of a table that this process found to be bad, with the reasons: filled while it reads."""
    return {}


def read_part(part: Part, indices: Int[np.ndarray, " n"], decoding: Decoding, seed: int, run: Path) -> Values:
    """What the samples of a part hold, with `X.present` for each modality."""
    samples, taken = samples_at(part.table), indices
    if part.decoded is not None:
        values: Values = {
            name: mapped(part.decoded, name, kind, (part.count, *shape))[indices]
            for name, (kind, shape) in decoding.shapes().items()
        }
        others = replaced(part.decoded)[0]
        taken = np.array([others.get(int(index), int(index)) for index in indices], dtype=np.int64)
    else:
        values, taken = read_files(part, indices, decoding, seed, run)
    return values | {f"{name}.present": samples.present(name)[taken] for name in decoding.modalities}


def read_files(
    part: Part, indices: Int[np.ndarray, " n"], decoding: Decoding, seed: int, run: Path
) -> tuple[Values, Int[np.ndarray, " n"]]:
    """(what the samples hold, which samples were taken), decoded now."""
    samples, values, taken = samples_at(part.table), decoding.zeros(len(indices)), indices.copy()
    with quiet():
        known = damaged(part.table)  # not tried again
        found: dict[int, Values | BadSample] = {int(i): BadSample(known[i]) for i in indices if i in known}
        found |= samples.decode(np.setdiff1d(indices, list(found)).astype(np.int64), decoding)
        for row, index in enumerate(map(int, indices)):
            content = found[index]
            if isinstance(content, BadSample):
                taken[row], content = replacement(part, index, content, decoding, seed, run)
            for name, value in content.items():
                values[name][row] = value
    return values, taken


def replacement(part: Part, index: int, why: BadSample, decoding: Decoding, seed: int, run: Path) -> tuple[int, Values]:
    """(number, content) of the sample in place of a bad one, which is recorded."""
    samples, bad = samples_at(part.table), damaged(part.table)
    entry = {"path": samples.path(index), "reason": str(why)}
    for other in replacements(seed, index, samples):
        if other in bad:
            continue
        ((_, content),) = samples.decode(np.array([other]), decoding)
        if not isinstance(content, BadSample):
            record_bad(run, entry | {"replaced_by": other})
            bad[index] = str(why)
            reports = [{"path": samples.path(number), "reason": reason} for number, reason in bad.items()]
            left = part.count - len(bad)
            limit(samples.source, [*samples.bad, *reports], samples.num_files, unreported, left=left)
            return other, content
    record_bad(run, entry)
    raise no_replacement(samples, entry)
