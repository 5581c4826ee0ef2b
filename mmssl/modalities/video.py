"""A window of a video becomes a clip of square pictures, chosen by their time stamps."""

from collections.abc import Iterator, Sequence
from itertools import chain
from math import inf
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mmssl.modalities.bad_sample import BadSample, Ended, damage
from mmssl.modalities.containers import frames_from, opened, span
from mmssl.modalities.image import centre
from mmssl.modalities.region import Media

UPRIGHT = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
ROUNDING_SECONDS = 1e-6  # a time that was asked for may be later by so much
WIDEST = 16  # that a pixel is, or high
LATE_SECONDS = 0.1  # that a file may end before it says, where that is more than a frame


class Clip(NamedTuple):
    """Begin and length of a file's first video and sound stream; 0 is where the earlier one begins."""

    video_seconds: float
    video_start_seconds: float
    has_sound: bool
    sound_start_seconds: float
    sound_seconds: float


def probe_video(media: Media) -> Clip:
    """What the file says about its streams; BadSample where there is no picture to see or it lasts 0 seconds."""
    with opened(media) as file:
        if file.video is None:
            raise BadSample("no video stream")
        video_start, video_seconds = span(file, file.video)
        if video_seconds <= 0:
            raise BadSample("no frame")
        sound_start, sound_seconds = (0.0, 0.0) if file.sound is None else span(file, file.sound)
        return Clip(video_seconds, video_start, sound_seconds > 0, sound_start, sound_seconds)


def decode_video(
    media: Media, size: int, frames: int, start_seconds: float, seconds: float
) -> UInt8[np.ndarray, "{frames} 3 {size} {size}"]:
    """The picture shown at the middle of each of `frames` equal parts of [start, start + seconds).

    The first picture is also shown before its time and the last one after its end, so a video of one picture repeats
    it; BadSample where all of the window lies after the end, or a picture in it is damaged.
    """
    return next(decode_clips(media, size, frames, [(start_seconds, start_seconds)], seconds))


def decode_clips(
    media: Media, size: int, frames: int, windows: Sequence[tuple[float, float]], seconds: float
) -> Iterator[UInt8[np.ndarray, "{frames} 3 {size} {size}"]]:
    """The clips of several windows (begin, end of what the file says to hold) in ascending order, in one pass.

    BadSample, too, where the frames end before the file says: a clip is filled up by its last frame on purpose only.
    """
    times = [[start + (part + 0.5) * seconds / frames for part in range(frames)] for start, _ in windows]
    shown = frames_at(media, times)
    late = max(seconds / frames, LATE_SECONDS)
    previous, picture = None, np.empty(0)
    for (start, end), asked in zip(windows, times, strict=True):
        clip = np.empty((frames, 3, size, size), dtype=np.uint8)
        for part, time in enumerate(asked):
            frame, stream, ends = next(shown)
            if ends <= start:
                raise Ended(f"no frame from {start:g} s on")
            if ends + late <= time < end:
                raise BadSample(f"no frame from {ends:g} s on, {end:g} s were expected")
            if frame is not previous:
                previous, picture = frame, picture_of(frame, size, aspect_of(stream))
            clip[part] = picture
        yield clip


def frames_at(media: Media, times: Sequence[Sequence[float]]) -> Iterator[tuple[Any, Any, float]]:
    """(frame shown, its stream, when it ends where it is the last one else infinity) at each of the ascending times of
    windows.
    """
    asked = chain.from_iterable(times)
    wanted = next(asked, None)
    begins, shown, stream = 0.0, None, None
    spans = [(window[0], window[-1] + ROUNDING_SECONDS) for window in times]
    for time, frame, stream in frames_from(media, "video", spans):
        while shown is not None and wanted is not None and wanted < time - ROUNDING_SECONDS:
            yield shown, stream, inf
            wanted = next(asked, None)
        if wanted is None:
            return
        begins, shown = time, frame
    assert shown is not None
    lasts = float((shown.duration or 0) * shown.time_base)
    while wanted is not None:
        yield shown, stream, max(begins + lasts, np.nextafter(begins, inf))
        wanted = next(asked, None)


def aspect_of(stream: Any) -> float:
    """How wide a pixel of a stream is shown, over its height: 1 where the file does not say; BadSample where that
    cannot be.
    """
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / WIDEST <= aspect <= WIDEST:
        raise BadSample(f"pixels that are {aspect:g} times as wide as high")
    return aspect


def picture_of(frame: Any, size: int, aspect: float = 1.0) -> UInt8[np.ndarray, "3 {size} {size}"]:
    """A frame, its pixels of this `aspect` (width to height), turned upright, as a square picture, cut around the
    centre; of what shrinks each pixel is a mean of the area that it covers.
    """
    if frame.is_corrupt:
        raise BadSample(f"a damaged frame at {frame.time:g} s")
    with damage():
        turn = round(frame.rotation / 90) * 90 % 360  # counter-clockwise
        width, height = frame.width * max(aspect, 1), frame.height / min(aspect, 1)
        scale = min(1, size / min(width, height))
        sides = (round(scale * width), round(scale * height))
        if scale < 1:  # at once with the change to red, green and blue: thrice as fast as all pixels, then fewer
            frame = frame.reformat(*sides, "rgb24", interpolation="AREA")
        image = frame.to_image()
        image = image if image.size == sides else image.resize(sides, Image.Resampling.BICUBIC)
        return centre(image.transpose(UPRIGHT[turn]) if turn else image, size)
