"""Files of sound and video that FFmpeg reads: opened with limits, their streams on one clock.

The clock of a file is 0 where its first stream begins, so picture and sound of one time belong together. A file is
opened as an object, never as a URL, by the demuxers of a list: no playlist, no other file, no network.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
from av.error import FFmpegError
from av.stream import Disposition

from mmssl.modalities.bad_sample import BadSample, damage

DEMUXERS = "mov,matroska,avi,gif,ogg,mp3,wav,flac,aac"
MAX_FRAME_PIXELS = 2**26
MAX_SECONDS = 360_000
SEEK_SECONDS = 1.0  # nearer to its beginning a stream is read from there
END_SECONDS = 10.0  # before its end a file is read for the last packet

Kind = Literal["video", "sound"]


class Opened(NamedTuple):
    """A container and its first video and sound stream; `origin` is the time in seconds that is 0 on the clock."""

    container: Any
    video: Any
    sound: Any
    origin: float


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """The file, closed at the end of the block; whatever fails in it is a BadSample."""
    limits = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
    options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    with damage(), path.open("rb") as file, av.open(file, "r", container_options=limits, options=options) as container:
        pictures = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
        video, sound = next(iter(pictures), None), next(iter(container.streams.audio), None)
        streams: list[Any] = [stream for stream in (video, sound) if stream is not None]
        for stream in streams:
            stream.thread_type = "NONE"  # the processes and threads above share the cores
        if video is not None and video.width * video.height > MAX_FRAME_PIXELS:
            raise BadSample(f"{video.width} x {video.height} pixels, more than {MAX_FRAME_PIXELS}")
        yield Opened(container, video, sound, min((begin(stream) for stream in streams), default=0.0))


def begin(stream: Any) -> float:
    """When a stream begins, in seconds of its container."""
    return float((stream.start_time or 0) * stream.time_base)


def span(file: Opened, stream: Any) -> tuple[float, float]:
    """(begin on the file's clock, length) of a stream in seconds; (0, 0) where it has no packet.

    From the header; a file whose header does not say is read from shortly before its end, without decoding.
    """
    begins = begin(stream)
    if stream.duration:
        seconds = float(stream.duration * stream.time_base)
    else:
        seconds = last_end(file.container, stream) - begins
    if seconds > MAX_SECONDS:
        raise BadSample(f"{seconds:.0f} s, more than {MAX_SECONDS}")
    return (begins - file.origin, seconds) if seconds > 0 else (0.0, 0.0)


def last_end(container: Any, stream: Any) -> float:
    """When the last packet of a stream ends, in seconds of its container; -infinity where there is none."""
    near = max(0.0, (container.duration or 0) / av.time_base - END_SECONDS)
    for second in (near, 0.0) if near else (0.0,):
        container.seek(int(second * av.time_base))
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        if packets:
            last = max(packets, key=lambda packet: packet.pts)
            rate = getattr(stream, "average_rate", None)
            return float(
                last.pts * last.time_base + ((last.duration or 0) * last.time_base or (1 / rate if rate else 0))
            )
    return float("-inf")


def frames_from(path: Path, kind: Kind, start_seconds: float) -> Iterator[tuple[float, Any]]:
    """(time on the file's clock, frame), decoded, from a frame before `start_seconds` on or from the first one.

    BadSample where there is no such stream and no frame.
    """
    for seeks in (True, False):
        with opened(path) as file:
            stream = file.video if kind == "video" else file.sound
            if stream is None:
                raise BadSample(f"no {kind} stream")
            if seeks and start_seconds + file.origin - begin(stream) < SEEK_SECONDS:
                continue
            frames = timed(file, stream, start_seconds if seeks else None)
            try:
                first = next(frames, None)
            except FFmpegError:
                if seeks:  # not every container can seek
                    continue
                raise
            if seeks and (first is None or first[0] > start_seconds):
                continue
            if first is None:
                raise BadSample("no frame")
            yield first
            yield from frames
            return


def timed(file: Opened, stream: Any, start_seconds: float | None) -> Iterator[tuple[float, Any]]:
    """The frames of a stream with their times, from a key frame before `start_seconds` on (None: from the first)."""
    if start_seconds is not None:
        file.container.seek(int((start_seconds + file.origin) / stream.time_base), stream=stream, backward=True)
    for frame in file.container.decode(stream):
        if frame.time is None:
            raise BadSample("a frame without a time")
        yield frame.time - file.origin, frame
