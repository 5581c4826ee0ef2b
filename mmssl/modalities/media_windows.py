"""The windows of time of sounds and videos, and the pictures, that are the samples of files."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mmssl.errors import DataError
from mmssl.modalities.audio import probe_audio
from mmssl.modalities.bad_sample import BadSample, Report, damage
from mmssl.modalities.media_files import MediaFile
from mmssl.modalities.region import Media, Region, size_of
from mmssl.modalities.remote import is_remote
from mmssl.modalities.video import Clip, probe_video
from mmssl.random import hashed

PORTION = 64  # files that a thread opens before it takes others
MAX_CAPTION_BYTES = 2**20
ROUNDING_SECONDS = 1e-3  # a window may be shorter by so much and still be whole


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
    text: str = ""  # what is said of it
    image: str = ""  # a picture beside a video

    def media(self) -> Media:
        """What a decoder of pictures and videos opens."""
        if not self.stored:
            return Path(self.path)
        return Region(self.stored if is_remote(self.stored) else Path(self.stored), self.offset, self.size)

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
    """The samples of a file with what belongs to it, and what cannot be read of all this."""
    samples, bad = windows_of(file, cutting, cache)
    bad += [{"path": path, "reason": "no such file"} for path in file.lost]
    try:
        text = file.caption if isinstance(file.caption, str) else read_caption(file.caption)
    except BadSample as error:
        text = ""
        bad.append({"path": str(file.caption), "reason": str(error)})
    if file.kind == "text" and text:
        samples = [Sample(str(file.path), "text", file.label, 0.0, "", 0.0)]
    return [sample._replace(text=text, image=str(file.picture or "")) for sample in samples], bad


def read_caption(path: Path) -> str:
    """The words of a text file, on one line; BadSample where it is no text."""
    with damage(), path.open("rb") as file:
        content = file.read(MAX_CAPTION_BYTES + 1)
    if len(content) > MAX_CAPTION_BYTES:
        raise BadSample(f"a caption of more than {MAX_CAPTION_BYTES} bytes")
    try:
        return " ".join(content.decode("utf-8-sig").replace("\0", " ").split())
    except UnicodeDecodeError as error:
        raise BadSample(f"byte {error.start} is not UTF-8 text") from error


def windows_of(file: MediaFile, cutting: Cutting, cache: Path) -> tuple[list[Sample], list[dict]]:
    """The samples of a file without captions, and what cannot be read of it or of its sound."""
    bad: list[dict] = []
    if file.kind == "text":
        return [], bad
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
    sizes = {str(file.path): size_of(file.media(path.parent)) for file in files if file.kind != "text"}
    content = [
        [
            relative[each.path],
            sizes.get(each.path, 0),
            each.start_seconds,
            bool(each.sound),
            each.text,
            bool(each.image),
        ]
        for each in samples
    ]
    columns = {name: [getattr(sample, name) for sample in samples] for name in Sample._fields}
    note = {"source": source, "files": len(files), "bad": bad, "content": f"{hashed(json.dumps(content)):016x}"}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(note | {"columns": columns}))
    temporary.replace(path)
