"""Damaged copies of good files, a number of each kind, read one after the other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from making_media import picture, sound, tone, video

from mmssl.modalities.audio import decode_audio, probe_audio
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.image import decode_image
from mmssl.modalities.video import decode_video, probe_video


def clip(path: Path) -> None:
    """Read a film."""
    probe_video(path)
    assert decode_video(path, 16, 4, 0.0, 1.0).shape == (4, 3, 16, 16)


def heard(path: Path) -> None:
    """Read a sound."""
    probe_audio(path)
    assert decode_audio(path, 8000, 0.0, 1.0).shape == (8000,)


def seen(path: Path) -> None:
    """Read a picture."""
    assert decode_image(path, 16).shape == (3, 16, 16)


def film(path: Path) -> Path:
    """A second with sound."""
    return video(path, range(0, 200, 8), codec="libvpx" if path.suffix == ".webm" else "libx264", sound=tone(1.0))


GOOD: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], Callable[[Path], None]]] = {
    "image": (picture, (".png", ".jpg", ".webp", ".gif", ".tiff", ".bmp"), seen),
    "audio": (lambda path: sound(path, 1.0), (".wav", ".flac", ".ogg", ".mp3"), heard),
    "video": (film, (".mp4", ".mkv", ".webm"), clip),
}
KINDS = tuple(GOOD)


def mutant(data: bytes, draw: np.random.Generator) -> bytes:
    """A copy that is truncated, zeroed, filled with noise or garbled here and there."""
    changed = np.frombuffer(data, np.uint8).copy()
    start, end = np.sort(draw.integers(0, len(changed) + 1, 2))
    kind = draw.integers(0, 4)
    if kind == 0:
        return changed[:start].tobytes()
    if kind == 1:
        changed[start:end] = 0
    elif kind == 2:
        changed[start:end] = draw.integers(0, 256, end - start)
    else:
        changed[draw.integers(0, len(changed), 12)] = draw.integers(0, 256, 12)
    return changed.tobytes()


def mutated(kind: str, folder: Path, count: int) -> tuple[int, int]:
    """(how many of `count` mutants were refused, how many read); whatever else they do is an error."""
    make, suffixes, read = GOOD[kind]
    whole = [(suffix, make(folder / f"whole{suffix}").read_bytes()) for suffix in suffixes]
    draw, refused = np.random.default_rng(count), 0
    for number in range(count):
        suffix, data = whole[number % len(whole)]
        path = folder / f"mutant{suffix}"
        path.write_bytes(mutant(data, draw))
        reason = refusal(read, path)
        assert reason is None or (reason and "\n" not in reason), path
        refused += reason is not None
    return refused, count - refused


def refusal(read: Callable[[Path], None], path: Path) -> str | None:
    """Why a file is not read, None where it is."""
    try:
        read(path)
    except BadSample as error:
        return str(error)
    return None
