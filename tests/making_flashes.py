"""Films in which a flash and a click happen at the same time, whatever the container, the rate and what begins late."""

from collections.abc import Collection, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from making_media import SOUND_HZ

CLICK = np.float32(0.9) * np.ones(48, np.float32)  # a millisecond
FORMATS = {  # what is in which container; sounds of AVI that a decoder delays, and the file does not say so, are not
    "mp4": ("libx264", "aac"),
    "mov": ("mpeg4", "aac"),
    "mkv": ("libx264", "aac"),
    "webm": ("libvpx", "libopus"),
    "avi": ("mpeg4", "pcm_s16le"),
}


def flashes(
    path: Path, times: Sequence[float], flashed: Collection[int], seconds: float, *, sound_start: float = 0.0,
    gap: tuple[float, float] = (0.0, 0.0), tracks: int = 1, heard: int = 0, base: Fraction | None = None,
) -> Path:  # fmt: skip
    """Frames at these times, white where `flashed`, with a click at the time of each flash in the track `heard`, which
    is marked as the default where it is not the first; the sound goes from `sound_start` on to `seconds`, but for
    packets within `gap`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    codec, sound_codec = FORMATS[path.suffix[1:]]
    base = base or Fraction(1, 60000 if codec == "libx264" else 1000)
    with av.open(str(path), "w") as container:
        pictures: Any = container.add_stream(codec, rate=25 if base.numerator == 1 and base < 1 / 100 else 1 / base)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        pictures.time_base = pictures.codec_context.time_base = base
        pictures.codec_context.gop_size = 12
        sounds: list[Any] = [container.add_stream(sound_codec, rate=SOUND_HZ, layout="mono") for _ in range(tracks)]
        if heard:
            sounds[heard].disposition = Disposition.default
        packets = []
        for number, time in enumerate(times):
            values = np.full((32, 32, 3), 255 if number in flashed else 0, np.uint8)
            frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            frame.pts, frame.time_base = round(time / base), base
            packets += pictures.encode(frame)
        packets += pictures.encode(None)
        for number, track in enumerate(sounds):
            clicks = [times[each] - sound_start for each in sorted(flashed)] if number == heard else []
            packets += [
                packet
                for packet in sounded(track, clicked(clicks, seconds - sound_start), sound_start)
                if not gap[0] <= float(packet.pts * packet.time_base) < gap[1]
            ]
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
    return path


def clicked(clicks: Sequence[float], seconds: float) -> np.ndarray:
    """Silence with a click at each of these seconds."""
    sound = np.zeros(round(seconds * SOUND_HZ), np.float32)
    for click in clicks:
        if 0 <= (place := round(click * SOUND_HZ)) < len(sound):
            sound[place : place + len(CLICK)] = CLICK[: len(sound) - place]
    return sound


def sounded(track: Any, sound: np.ndarray, start: float) -> list[Any]:
    """The packets of a sound that begins at `start`."""
    kind, packets = track.codec_context.format.name, []
    for begin in range(0, len(sound), 960):
        block = sound[None, begin : begin + 960]
        block = np.round(block * 32767).astype(np.int16) if kind.startswith("s16") else block
        frame = av.AudioFrame.from_ndarray(block, format=kind, layout="mono")
        frame.sample_rate, frame.time_base = SOUND_HZ, Fraction(1, SOUND_HZ)
        frame.pts = begin + round(start * SOUND_HZ)
        packets += track.encode(frame)
    return packets + track.encode(None)
