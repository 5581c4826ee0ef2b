"""Files of sound and video that FFmpeg reads: opened with limits, their streams on one clock.

The clock of a file is 0 where its first stream begins, so picture and sound of one time belong together. A file is
opened as an object, never as a URL, by the demuxers of a list: no playlist, no other file, no network.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedIOBase
from itertools import chain
from typing import Any, Literal, NamedTuple

from mmssl.modalities.bad_sample import BadSample, Ended, damage
from mmssl.modalities.region import Media, Slice, bytes_of, size_of

DEMUXERS = "mov,matroska,avi,gif,ogg,mp3,wav,flac,aac"
MAX_FRAME_PIXELS = 2**26
MAX_SPAN_PIXELS = 2**34  # decoded for one clip, from its key frame on: four minutes of 1080p at 30 Hz
MAX_SECONDS = 360_000
MICROSECONDS = 1_000_000  # in which a container counts
SEEK_SECONDS = 1.0  # what lies nearer is read up to, not sought
UNKNOWN_SECONDS = 4.0  # what lies farther is sought although the file does not say that a key frame is between
EARLIER_SECONDS = (0.0, 2.0, 20.0)  # before the wanted time, where a seek led behind it
CHUNK_HEADER_BYTES = 8  # of an AVI: an index names the chunk, a packet what is in it
END_SECONDS = 10.0  # before its end a file is read for the last packet

Kind = Literal["video", "sound"]
Span = tuple[float, float]  # first and last second, on the file's clock


class CannotSeek(Exception):
    """A seek failed: not every container can."""


class Opened(NamedTuple):
    """A container, its first video stream and its sound: of the tracks of a known codec the one that is marked as the
    default, else the first; `origin` is the time in seconds that is 0 on the clock.
    """

    container: Any
    video: Any
    sound: Any
    origin: float


@contextmanager
def opened(media: Media) -> Iterator[Opened]:
    """The file, closed at the end of the block; whatever fails in it is a BadSample."""
    from av.stream import Disposition

    if size_of(media) == 0:
        raise BadSample("no byte")
    with damage(), bytes_of(media) as file, container_of(file) as container:
        pictures = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
        tracks = [each for each in container.streams.audio if each.codec_context is not None]  # that can be decoded
        tracks.sort(key=lambda each: not each.disposition & Disposition.default)
        video, sound = next(iter(pictures), None), next(iter(tracks), None)
        streams: list[Any] = [stream for stream in (video, sound) if stream is not None]
        for stream in streams:
            stream.thread_type = "NONE"  # the processes and threads above share the cores
        if (
            video is not None and not 0 < video.width * video.height <= MAX_FRAME_PIXELS
        ):  # 0 where FFmpeg found too many
            raise BadSample(f"no frame that can be read, or one of more than {MAX_FRAME_PIXELS} pixels")
        yield Opened(container, video, sound, min((begin(stream) for stream in streams), default=0.0))


def container_of(file: BufferedIOBase | Slice) -> Any:
    """The open file as FFmpeg sees it."""
    import av  # which only files of sound and video need
    from av.error import FFmpegError

    limits = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
    options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    try:
        return av.open(file, "r", container_options=limits, options=options)
    except FFmpegError as error:
        raise BadSample(f"no sound or video of a known kind, or damaged ({error.strerror})") from error


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
    near = max(0.0, (container.duration or 0) / MICROSECONDS - END_SECONDS)
    for second in (near, 0.0) if near else (0.0,):
        container.seek(int(second * MICROSECONDS))
        stamped = (packet for packet in container.demux(stream) if packet.pts is not None)
        if (last := max(stamped, key=lambda packet: packet.pts, default=None)) is not None:
            rate = getattr(stream, "average_rate", None)
            return float(
                last.pts * last.time_base + ((last.duration or 0) * last.time_base or (1 / rate if rate else 0))
            )
    return float("-inf")


def frames_from(media: Media, kind: Kind, spans: Sequence[Span]) -> Iterator[tuple[float, Any, Any]]:
    """(time on the file's clock, frame, its stream), decoded, for each of ascending spans from a frame before its
    beginning, or the first one, to one behind its end, or the last one. Frames between spans are left out as far as key
    frames allow.

    BadSample where there is no such stream and no frame, Ended where none comes later either.
    """
    left, can_seek, is_empty = deque(spans), True, True
    while left:
        with opened(media) as file:
            stream = file.video if kind == "video" else file.sound
            if stream is None:
                raise BadSample(f"no {kind} stream")
            try:
                for time, frame in walked(file, stream, left, can_seek=can_seek):
                    is_empty = False
                    yield time, frame, stream
                break
            except CannotSeek:
                can_seek = False
    if is_empty:
        raise Ended("no frame")


def walked(file: Opened, stream: Any, left: deque[Span], *, can_seek: bool) -> Iterator[tuple[float, Any]]:
    """The same of one stream; spans that are behind are taken away. CannotSeek where one has to be sought in vain."""
    frames, time = timed(file, stream), begin(stream) - file.origin
    while left:
        (start, end), decoded = left[0], 0
        if can_seek and is_sought(file, stream, time, start):
            frames = sought(file, stream, start)
        for time, frame in frames:
            decoded += frame.width * frame.height if stream.type == "video" else 0
            if decoded > MAX_SPAN_PIXELS:
                raise BadSample(f"more than {MAX_SPAN_PIXELS} pixels to decode for {end - start:g} s")
            yield time, frame
            if time > end:
                break
        else:
            return
        while left and time > left[0][1]:
            left.popleft()


def is_sought(file: Opened, stream: Any, time: float, start_seconds: float) -> bool:
    """Whether to seek from one time to a later one: where a key frame lies between, or may."""
    if start_seconds - time < SEEK_SECONDS:
        return False
    index, wanted = stream.index_entries, int((start_seconds + file.origin) / stream.time_base)
    if not len(index) or index[len(index) - 1].timestamp < wanted:
        return start_seconds - time > UNKNOWN_SECONDS or time <= begin(stream) - file.origin
    place = index.search_timestamp(wanted)
    return place >= 0 and index[place].timestamp * stream.time_base - file.origin > time


def sought(file: Opened, stream: Any, start_seconds: float) -> Iterator[tuple[float, Any]]:
    """The frames of a stream with their times, from a key frame before `start_seconds` on."""
    from av.error import FFmpegError

    missing: type[BadSample] = BadSample
    for earlier in EARLIER_SECONDS:
        second = max(start_seconds + file.origin - earlier, begin(stream))
        try:
            file.container.seek(int(second / stream.time_base), stream=stream, backward=True)
        except FFmpegError as error:
            raise CannotSeek from error
        frames = timed(file, stream)
        try:
            first = next(frames, None)
            missing = Ended if first is None else missing
        except FFmpegError:
            first = None
        if first is not None and first[0] <= start_seconds:
            return chain([first], frames)
    if len(stream.index_entries):
        raise missing(f"no frame from {start_seconds:g} s on")
    raise CannotSeek


def timed(file: Opened, stream: Any) -> Iterator[tuple[float, Any]]:
    """The frames of a stream with their times, from where it is read on."""
    origin = file.origin
    for number, packet in enumerate(file.container.demux(stream)):
        if number == 0 and stream.type == "video" and file.container.format.name == "avi":
            origin += late_seconds(stream, packet)
        for frame in packet.decode():
            if frame.time is None:
                raise BadSample("a frame without a time")
            yield frame.time - origin, frame


def late_seconds(stream: Any, packet: Any) -> float:
    """By how much the time of a packet of an AVI is too late: where frames are left out of its count, FFmpeg begins to
    count behind the wanted one after a seek; the index has the true time of each place in the file.
    """
    index = stream.index_entries
    if packet.pts is None or packet.pos is None or not len(index):
        return 0.0
    place = max(0, index.search_timestamp(packet.pts))
    while place > 0 and index[place].pos > packet.pos:
        place -= 1
    entry = index[place]
    is_its = 0 <= packet.pos - entry.pos <= CHUNK_HEADER_BYTES
    return float((packet.pts - entry.timestamp) * stream.time_base) if is_its else 0.0
