"""A window of a video becomes a clip of square pictures, chosen by their time stamps."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from mmssl.modalities.bad_sample import BadSample, damage
from mmssl.modalities.containers import frames_from, opened, span
from mmssl.modalities.image import centre

UPRIGHT = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


class Clip(NamedTuple):
    """Begin and length of a file's first video and sound stream; 0 is where the earlier one begins."""

    video_seconds: float
    video_start_seconds: float
    has_sound: bool
    sound_start_seconds: float
    sound_seconds: float


def probe_video(path: Path) -> Clip:
    """What the file says about its streams; BadSample where there is no picture to see or it lasts 0 seconds."""
    with opened(path) as file:
        if file.video is None:
            raise BadSample("no video stream")
        video_start, video_seconds = span(file, file.video)
        if video_seconds <= 0:
            raise BadSample("no frame")
        sound_start, sound_seconds = (0.0, 0.0) if file.sound is None else span(file, file.sound)
        return Clip(video_seconds, video_start, sound_seconds > 0, sound_start, sound_seconds)


def decode_video(
    path: Path, size: int, frames: int, start_seconds: float, seconds: float
) -> UInt8[np.ndarray, "{frames} 3 {size} {size}"]:
    """The picture shown at the middle of each of `frames` equal parts of [start, start + seconds).

    The first picture is also shown before its time and the last one after its end, so a video of one picture repeats
    it; BadSample where all of the window lies after the end, or a picture in it is damaged.
    """
    return next(decode_clips(path, size, frames, [start_seconds], seconds))


def decode_clips(
    path: Path, size: int, frames: int, starts: Sequence[float], seconds: float
) -> Iterator[UInt8[np.ndarray, "{frames} 3 {size} {size}"]]:
    """The clips of several windows in ascending order, in one pass over the file."""
    times = [start + (part + 0.5) * seconds / frames for start in starts for part in range(frames)]
    shown = frames_at(path, times)
    previous, picture = None, np.empty(0)
    for start in starts:
        clip = np.empty((frames, 3, size, size), dtype=np.uint8)
        for part in range(frames):
            frame, ends = next(shown)
            if ends <= start:
                raise BadSample(f"no frame from {start:g} s on")
            if frame is not previous:
                previous, picture = frame, picture_of(frame, size)
            clip[part] = picture
        yield clip


def frames_at(path: Path, times: Sequence[float]) -> Iterator[tuple[Any, float]]:
    """(frame shown, when it ends where it is the last one else infinity) at each of ascending times."""
    asked = iter(times)
    wanted = next(asked, None)
    begins, shown = 0.0, None
    for time, frame in frames_from(path, "video", times[0]):
        while shown is not None and wanted is not None and wanted < time:
            yield shown, float("inf")
            wanted = next(asked, None)
        if wanted is None:
            return
        begins, shown = time, frame
    assert shown is not None
    lasts = float((shown.duration or 0) * shown.time_base)
    while wanted is not None:
        yield shown, max(begins + lasts, np.nextafter(begins, np.inf))
        wanted = next(asked, None)


def picture_of(frame: Any, size: int) -> UInt8[np.ndarray, "3 {size} {size}"]:
    """A frame, turned upright, as a square picture."""
    if frame.is_corrupt:
        raise BadSample(f"a damaged frame at {frame.time:g} s")
    with damage():
        image = frame.to_image()
        turn = round(frame.rotation / 90) * 90 % 360  # counter-clockwise
        return centre(image.transpose(UPRIGHT[turn]) if turn else image, size)
