"""A whole sound file at its own rate, and the ranges of it that somebody wants hidden."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mmssl.errors import ConfigError, DataError
from mmssl.modalities.audio import decode_audio, is_libsndfiles, probe_audio
from mmssl.modalities.bad_sample import BadSample, damage
from mmssl.modalities.containers import opened
from mmssl.modalities.media_cache import quiet

EXPECTED = "expected seconds like 0.4-0.7, several with commas: 0.4-0.7,1.0-1.2"


class Range(NamedTuple):
    """A part of a sound, in seconds."""

    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.start:g}-{self.end:g}"


class Recording(NamedTuple):
    """All samples of a file, in [-1, 1]."""

    samples: Float[np.ndarray, "C T"]
    rate_hz: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples.shape[1] / self.rate_hz

    @property
    def is_of_16_bits(self) -> bool:
        """Whether all samples are multiples of 2^-15."""
        scaled = self.samples * np.float32(2**15)
        return bool((scaled == np.rint(scaled)).all())

    def inside(self, ranges: list[Range]) -> Bool[np.ndarray, " T"]:
        """Which samples lie in one of the ranges."""
        found = np.zeros(self.samples.shape[1], dtype=bool)
        for one in ranges:
            found[round(one.start * self.rate_hz) : round(one.end * self.rate_hz)] = True
        return found


def ranges_of(text: str) -> list[Range]:
    """`0.4-0.7,1.0-1.2` -> its ranges, in order, those that touch as one; ConfigError where it is anything else."""
    found: list[Range] = []
    for part in text.split(","):
        try:
            start, end = map(float, part.split("-"))
        except ValueError:
            raise ConfigError(f"--hide: got {text!r}; {EXPECTED}") from None
        if not 0 <= start < end < np.inf:
            raise ConfigError(f"--hide: {part.strip()} does not end after it begins; {EXPECTED}")
        found.append(Range(start, end))
    joined: list[Range] = []
    for one in sorted(found):
        if joined and one.start <= joined[-1].end:
            joined[-1] = Range(joined[-1].start, max(one.end, joined[-1].end))
        else:
            joined.append(one)
    return joined


def recording(path: str) -> Recording:
    """All of a file: wav, flac, ogg and mp3 with their channels, of others, and of videos, the mean of the channels;
    DataError where it cannot be read.
    """
    media = Path(path)
    try:
        with quiet():
            seconds = probe_audio(media)
            if is_libsndfiles(media):
                import soundfile

                with damage():
                    values, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
                samples = values.T
            else:
                with opened(media) as file:
                    rate_hz = int(file.sound.rate)
                samples = np.atleast_2d(decode_audio(media, rate_hz, 0.0, seconds))
        if not np.isfinite(samples).all():
            raise BadSample("samples that are not finite")
    except BadSample as error:
        raise DataError(f"{path} cannot be used: {error}; expected a readable sound") from error
    return Recording(np.ascontiguousarray(samples), rate_hz)


def check_inside(path: str, sound: Recording, ranges: list[Range]) -> None:
    """ConfigError where a range lies outside of the sound, or is too short to hold one of its samples."""
    for one in ranges:
        if one.end > sound.seconds + 0.5 / sound.rate_hz:
            raise ConfigError(f"--hide: {one} ends after {path}, which lasts {sound.seconds:.3g} s; expected less")
        if not sound.inside([one]).any():
            raise ConfigError(f"--hide: {one} holds no sample of {path} ({sound.rate_hz} Hz); expected more")
