"""Which pictures, sounds and videos a source holds, and the windows of time that are its samples."""

import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from mmssl.errors import DataError
from mmssl.modalities.audio import probe_audio
from mmssl.modalities.bad_sample import BadSample, Report
from mmssl.modalities.region import Media, Region, size_of
from mmssl.modalities.video import Clip, probe_video
from mmssl.random import hashed
from mmssl.sources import first_folder, identity

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".m4a"}
VIDEOS = {".mp4", ".webm", ".avi", ".mov", ".mkv", ".gif", ".m4v"}
PORTION = 64  # files that a thread opens before it takes others
ROUNDING_SECONDS = 1e-3  # a window may be shorter by so much and still be whole


class MediaFile(NamedTuple):
    """A file, its path below the source, its first sub-folder, what is read of it, and the sound that belongs to it.

    Of what lies in an archive or a table `path` is only a name (`archive.tar:member`, `table.parquet:row`).
    """

    path: Path
    relative: str
    label: str
    kind: str  # "image", "audio" or "video"
    sound: Path | None  # of data.paired
    is_paired: bool  # then a sound track of its own does not count
    stored: str = ""  # the file of several in which it lies, absolute or relative to the cache; "": in its own
    offset: int = 0  # of its first byte there
    size: int = 0  # in bytes, there

    def identity(self) -> list:
        """What tells its content and that of its sound from another without reading them."""
        return [
            self.relative,
            self.kind,
            self.is_paired,
            *(self.stored, self.offset, self.size),
            *identity(self.on_disk()),
        ]

    def media(self, cache: Path) -> Media:
        """What a decoder opens."""
        return Region(cache / self.stored, self.offset, self.size) if self.stored else self.path

    def on_disk(self) -> list[Path]:
        """The files that hold it and its sound, but not one below the cache, whose name says what it was made of."""
        own = Path(self.stored) if self.stored else self.path
        is_cached = self.stored and not own.is_absolute()
        return [*([] if is_cached else [own]), *([self.sound] if self.sound else [])]


class Sample(NamedTuple):
    """A window of a file: where it begins on the file's clock, and the sound of the same time ("" where none)."""

    path: str
    kind: str
    label: str
    start_seconds: float
    sound: str
    sound_start_seconds: float
    stored: str = ""  # as of MediaFile
    offset: int = 0
    size: int = 0
    held_seconds: float = 0.0  # at its end, in which the last frame of a video is shown on

    def media(self) -> Media:
        """What a decoder of pictures and videos opens."""
        return Region(Path(self.stored), self.offset, self.size) if self.stored else Path(self.path)

    def sound_media(self) -> Media:
        """What a decoder of sounds opens."""
        return self.media() if self.sound == self.path else Path(self.sound)


class Cutting(NamedTuple):
    """How files are cut into windows of time."""

    seconds: float
    with_sound: bool
    short_videos: str = "hold"  # or "skip", as data.short_videos
    clips_per_file: int = 0
    seed: int = 0


def kinds(modalities: tuple[str, ...], *, paired: bool) -> dict[str, str]:
    """Suffix -> what is read of such a file. Videos alone are sounds, too, where only sound is asked for."""
    found: dict[str, str] = {}
    if "audio" in modalities and not paired:
        found |= dict.fromkeys(VIDEOS - {".gif"} if modalities == ("audio",) else (), "audio")
        found |= dict.fromkeys(SOUNDS, "audio")
    if "image" in modalities:
        found |= dict.fromkeys(IMAGES, "image")
    if "video" in modalities:
        found |= dict.fromkeys(VIDEOS, "video")  # a .gif, too
    return found


def found(source: str, modalities: tuple[str, ...], paired: str) -> list[MediaFile]:
    """The files of a folder (with all below it), glob or single file, by path; hidden ones are left out, those of other
    kinds are counted in a line on stderr. DataError where there is nothing to read.
    """
    suffixes = kinds(modalities, paired=bool(paired))
    root, paths = listed(source)
    sounds = sounds_by_name(paired) if paired else {}
    counts = counted(path for path in paths if path.suffix.lower() not in suffixes)
    files = []
    for path in paths:
        kind, relative = suffixes.get(path.suffix.lower()), path.relative_to(root)
        if kind is not None:
            sound = sounds.get(relative.with_suffix("").as_posix())
            label = first_folder(relative)
            files.append(MediaFile(path, relative.as_posix(), label, kind, sound, bool(paired)))
    if not files:
        containers = " or, of pictures, .parquet, .tar" if "image" in modalities else ""
        expected = f"expected {', '.join(sorted(suffixes))}{containers}"
        raise DataError(f"{source} has nothing to read ({counts or 'no file'}); {expected}")
    if counts:
        print(f"note: {source}: ignored {counts}", file=sys.stderr)
    return files


def counted(paths: Iterable[Path]) -> str:
    """How many files there are of each suffix."""
    counts = Counter(path.suffix.lower() for path in paths)
    return ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(counts.items()))


def listed(source: str) -> tuple[Path, list[Path]]:
    """(what the paths of files are relative to, the visible files of a source in order)."""
    root, paths = visible(source)
    return root, sorted({path for path in paths if path.is_file()})


def visible(source: str) -> tuple[Path, Iterator[Path]]:
    """(what paths are relative to, the visible files and folders of a source as they come)."""
    path = Path(source).expanduser()
    if path.is_file():
        return path.parent, iter([path])
    if path.is_dir():
        root, matches = path, path.rglob("*")
    elif glob.has_magic(source):
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        matches = map(Path, glob.iglob(str(path), recursive=True))
    else:
        raise DataError(
            f"no such file or folder: {source}; expected a folder, file, glob, hub id owner/name or savanna"
        )
    return root, (path for path in matches if not is_hidden(path.relative_to(root)))


def is_hidden(path: PurePath) -> bool:
    """Whether a part of the path begins with a dot."""
    return any(part.startswith(".") and part != ".." for part in path.parts)


def sounds_by_name(folder: str) -> dict[str, Path]:
    """The sounds below a folder, each by its path there without the suffix."""
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"data.paired: no such folder: {folder}; expected a folder of sounds")
    _, paths = listed(str(root))
    sounds = [path for path in paths if path.suffix.lower() in SOUNDS]
    if not sounds:
        raise DataError(f"data.paired: {folder} has no sound; expected {', '.join(sorted(SOUNDS))}")
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in reversed(sounds)}


def split_files(files: list[MediaFile], ratio: float, seed: int) -> tuple[list[MediaFile], list[MediaFile]]:
    """(files to train on, about `ratio` of them held out), decided by a hash of the path below the source.

    With a ratio above 0 and two files or more, neither side is empty; a single file is trained on.
    """
    if len(files) < 2:
        return files, []
    share = np.array([hashed(seed, "heldout", file.relative) / 2**63 for file in files])
    is_heldout = share < ratio
    if ratio > 0:
        if not is_heldout.any():
            is_heldout = share == share.min()
        if is_heldout.all():
            is_heldout = share < share.max()
    return [file for file, out in zip(files, is_heldout) if not out], [f for f, out in zip(files, is_heldout) if out]


def windows(length: float, seconds: float) -> int:
    """How many consecutive windows a length has: one at least, and the last at least half full."""
    count = int((length + ROUNDING_SECONDS) // seconds)
    count += length - count * seconds >= seconds / 2 - ROUNDING_SECONDS
    return max(1, count)


def starts(count: int, relative: str, cutting: Cutting) -> list[float]:
    """Where the windows that are read of so many begin, in seconds: all, or one of each of `clips_per_file` equal parts
    of them, which the seed and the path decide.
    """
    most = cutting.clips_per_file
    if not 0 < most < count:
        return [number * cutting.seconds for number in range(count)]
    edges = [part * count // most for part in range(most + 1)]
    drawn = (hashed(cutting.seed, "clip", relative, part) for part in range(most))
    return [(low + draw % (high - low)) * cutting.seconds for low, high, draw in zip(edges, edges[1:], drawn)]


def samples_of(file: MediaFile, cutting: Cutting, cache: Path) -> tuple[list[Sample], list[dict]]:
    """The samples of a file, and what cannot be read of it or of its sound."""
    bad: list[dict] = []
    path, sound, media = str(file.path), str(file.sound or ""), file.media(cache)
    paired_seconds = 0.0
    if sound and cutting.with_sound:
        try:
            paired_seconds = probe_audio(Path(sound))
        except BadSample as error:
            bad.append({"path": sound, "reason": str(error)})
    try:
        if file.kind == "image":
            place = (file.stored, file.offset, file.size)
            return [Sample(path, "image", file.label, 0.0, sound if paired_seconds else "", 0.0, *place)], bad
        if file.kind == "audio":
            count = windows(probe_audio(media), cutting.seconds)
            found = starts(count, file.relative, cutting)
            return [Sample(path, "audio", file.label, start, path, start) for start in found], bad
        clip = probe_video(media)
    except BadSample as error:
        return [], [*bad, {"path": path, "reason": str(error)}]
    if file.is_paired:
        clip = clip._replace(
            has_sound=paired_seconds > 0, sound_start_seconds=clip.video_start_seconds, sound_seconds=paired_seconds
        )
    else:
        sound = path
    samples = list(video_samples(file, clip, sound, cutting))
    if not samples:
        reason = f"{clip.video_seconds:.3g} s, shorter than data.seconds ({cutting.seconds:g})"
        bad.append({"path": path, "reason": reason, "skipped": True})
    return samples, bad


def video_samples(file: MediaFile, clip: Clip, sound: str, cutting: Cutting) -> Iterator[Sample]:
    """The windows of a video, each with the sound of the same time where there is some; what is shorter than a window
    is filled up by its last frame or left out, as data.short_videos says.
    """
    path, seconds = str(file.path), cutting.seconds
    if cutting.short_videos == "skip":
        count = int((clip.video_seconds + ROUNDING_SECONDS) // seconds)
    else:
        count = windows(clip.video_seconds, seconds)
    for offset in starts(count, file.relative, cutting):
        start = clip.video_start_seconds + offset
        begins, ends = clip.sound_start_seconds, clip.sound_start_seconds + clip.sound_seconds
        is_heard = (
            cutting.with_sound and clip.has_sound and begins < start + seconds and start < ends - ROUNDING_SECONDS
        )
        held = offset + seconds - clip.video_seconds
        yield Sample(
            path, "video", file.label, start, sound if is_heard else "", start if sound == path else offset,
            file.stored, file.offset, file.size, held if held > ROUNDING_SECONDS else 0.0,
        )  # fmt: skip


def limit(source: str, bad: Sequence[dict], num_files: int, report: Report, *, left: int) -> None:
    """DataError where more files are bad than max(16, 1 %), or no sample is left; then all are reported before. Videos
    that are too short are not bad: the config says that they are left out.
    """
    is_left_out = [entry.get("skipped", False) and left > 0 for entry in bad]
    bad = [entry for entry, out in zip(bad, is_left_out, strict=True) if not out]
    count, most = len({entry["path"] for entry in bad}), max(16, num_files // 100)
    if bad and (left == 0 or count > most):
        for entry in bad:
            report(entry)
        raise DataError(
            f"{source}: {count} of {num_files} files cannot be used, the first is {bad[0]['path']} "
            f"({bad[0]['reason']}); expected at least one good file and no more than {most} bad ones"
        )


def write_samples(files: list[MediaFile], path: Path, source: str, cutting: Cutting, report: Report) -> None:
    """Open every file once and write the samples to `path`, whole or not at all; DataError as `limit` says."""

    def opened(start: int) -> list[tuple[list[Sample], list[dict]]]:
        return [samples_of(file, cutting, path.parent) for file in files[start : start + PORTION]]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        probed = [pair for pairs in pool.map(opened, range(0, len(files), PORTION)) for pair in pairs]
    samples = [sample for some, _ in probed for sample in some]
    bad = [entry for _, entries in probed for entry in entries]
    limit(source, bad, len(files), report, left=len(samples))
    relative = {str(file.path): file.relative for file in files}
    sizes = {str(file.path): size_of(file.media(path.parent)) for file in files}
    content = [[relative[each.path], sizes[each.path], each.start_seconds, bool(each.sound)] for each in samples]
    columns = {name: [getattr(sample, name) for sample in samples] for name in Sample._fields}
    note = {"source": source, "files": len(files), "bad": bad, "content": f"{hashed(json.dumps(content)):016x}"}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(note | {"columns": columns}))
    temporary.replace(path)
