"""Small files of pictures, sound and video whose content is known."""

import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import soundfile
from PIL import Image

SOUND_HZ = 48000


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    """A picture of noise; (width, height) in pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@lru_cache
def huge_png_bytes(side: int) -> bytes:
    """A valid 1-bit PNG of side x side pixels, in a few kilobytes."""
    packed = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(packed.compress(row) for _ in range(side)) + packed.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def huge_png(path: Path, side: int) -> Path:
    """The same as a file."""
    path.write_bytes(huge_png_bytes(side))
    return path


def odd_pictures(folder: Path) -> Path:
    """Pictures that look wrong and are not: of every mode, turned by EXIF, animated, of one pixel."""
    base = Image.open(picture(folder / "base.png"))
    for mode, suffix in (("CMYK", "jpg"), ("P", "png"), ("L", "png"), ("RGBA", "png")):
        base.convert(mode).save(folder / f"{mode}.{suffix}")
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)).save(folder / "16 bits.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    base.save(folder / "turned.jpg", exif=exif)
    base.save(folder / "animated.gif", save_all=True, append_images=[base.rotate(90)])
    picture(folder / "pixel.png", size=(1, 1))
    return folder


def tone(seconds: float, hz: float = 440.0, rate_hz: int = SOUND_HZ) -> np.ndarray:
    """A sine of amplitude 0.5."""
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def sound(path: Path, seconds: float, hz: float = 440.0, rate_hz: int = 22050, channels: int = 1) -> Path:
    """A sound file with one tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(tone(seconds, hz, rate_hz)[:, None], channels, axis=1), rate_hz)
    return path


def video(
    path: Path,
    brightness: Sequence[float],
    times: Sequence[float] | None = None,
    *,
    fps: int = 25,
    codec: str = "libx264",
    sound: np.ndarray | None = None,
    sound_start: float = 0.0,
    rotation: float = 0.0,
    frame: np.ndarray | None = None,
) -> Path:
    """Frames of 64 x 48 pixels, each of one brightness (or `frame` for all), at `times` in seconds (else at `fps`),
    with a mono sound track that begins at `sound_start`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    audio_codec = "libopus" if path.suffix == ".webm" else "aac"
    times = [number / fps for number in range(len(brightness))] if times is None else times
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(codec, rate=fps)
        pictures.width, pictures.height = 64, 48
        pictures.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        pictures.time_base = pictures.codec_context.time_base = Fraction(1, 100 if codec == "gif" else 1000)
        if rotation:
            pictures.set_display_rotation(rotation)
        track = None if sound is None else container.add_stream(audio_codec, rate=SOUND_HZ, layout="mono")
        for value, time in zip(brightness, times, strict=True):
            values = np.full((48, 64, 3), value, np.uint8) if frame is None else frame
            shown = av.VideoFrame.from_ndarray(values, format="rgb24")
            shown.pts, shown.time_base = round(time / pictures.time_base), pictures.time_base
            container.mux(pictures.encode(shown))
        container.mux(pictures.encode(None))
        if track is not None and sound is not None:
            for start in range(0, len(sound), 960):
                block = av.AudioFrame.from_ndarray(
                    sound[None, start : start + 960].astype(np.float32), format="fltp", layout="mono"
                )
                block.sample_rate, block.time_base = SOUND_HZ, Fraction(1, SOUND_HZ)
                block.pts = start + round(sound_start * SOUND_HZ)
                container.mux(track.encode(block))
            container.mux(track.encode(None))
    return path
