"""A window of a sound file, or of a video's sound track, becomes mono or stereo samples of one rate."""

from math import ceil, gcd, inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from einops import rearrange
from jaxtyping import Float

from mmssl.modalities.bad_sample import BadSample, damage
from mmssl.modalities.containers import MAX_SECONDS, frames_from, opened, span
from mmssl.modalities.region import Media

LIBSNDFILE = (".wav", ".flac", ".ogg", ".mp3")  # sample-exact; all else is read by FFmpeg
MAX_CHANNELS = 64
RATES_HZ = (100, 1_000_000)
BLOCK_SAMPLES = 2**18  # of each channel, read and mixed at once
REACH = 32  # samples of the lower rate that resampling looks at, at most, on each side
WARM_SECONDS = 0.25  # a decoder that begins in the middle needs so long until it is exact
GAP_SECONDS = 1 / 120  # less than that between two packets is a rounded time stamp, not silence: half a frame at 60 Hz


class Window(NamedTuple):
    """Which samples of the native rate are asked for: `count` from `first` on, with a margin on both sides."""

    first: int
    count: int
    margin: int
    rate_hz: int

    def empty(self, channels: int) -> Float[np.ndarray, "C M"]:
        """Silence of the window and its margins."""
        return np.zeros((channels, self.count + 2 * self.margin), dtype=np.float32)


def probe_audio(media: Media) -> float:
    """The length in seconds; BadSample where the file cannot be read or holds no sample."""
    if is_libsndfiles(media):
        with damage(), sound_file(media) as file:
            check(file.samplerate, file.channels, file.frames)
            return file.frames / file.samplerate
    with opened(media) as file:
        if file.sound is None:
            raise BadSample("no sound stream")
        _, seconds = span(file, file.sound)
        if seconds <= 0:
            raise BadSample("no sample")
        return seconds


def is_libsndfiles(media: Media) -> bool:
    """Whether it is a file that libsndfile reads; sound tracks in archives and tables are FFmpeg's."""
    return isinstance(media, Path) and media.suffix.lower() in LIBSNDFILE


def sound_file(media: Media) -> soundfile.SoundFile:
    """A file that libsndfile reads, open; BadSample with its reason where it cannot."""
    try:
        return soundfile.SoundFile(str(media))
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        if isinstance(media, Path) and media.is_file() and reason.startswith("File does not exist"):
            reason = "no MPEG frame in the first 64 KiB"  # what mpg123 gave up to look for
        raise BadSample(reason) from error


def decode_audio(
    media: Media, rate_hz: int, start_seconds: float, seconds: float, channels: int = 1
) -> Float[np.ndarray, "*C T"]:
    """`seconds` from `start_seconds` on, in [-1, 1], T = round(rate_hz * seconds): (T,) of one channel, the mean of
    all, or (2, T), left and right, of two (`two_channels`).

    A window that reaches beyond the sound's end (or begins before it) is filled with zeros. Raises BadSample, also
    where no sample lies in the window or one in it is not finite.
    """
    read = read_libsndfile if is_libsndfiles(media) else read_ffmpeg
    window, samples = read(media, rate_hz, start_seconds, seconds, channels)
    if not np.isfinite(samples).all():
        raise BadSample("samples that are not finite")
    with damage():
        samples = np.stack([resampled(channel, window.rate_hz, rate_hz) for channel in samples])
    begins, count = window.margin * rate_hz // window.rate_hz, round(rate_hz * seconds)
    samples = samples[:, begins : begins + count]
    samples = np.pad(samples, ((0, 0), (0, count - samples.shape[1]))).clip(-1, 1)
    return samples[0] if channels == 1 else samples


def window_of(native_hz: int, rate_hz: int, start_seconds: float, seconds: float) -> Window:
    """The window at the native rate; its margin is a whole number of samples at both rates."""
    step = native_hz // gcd(native_hz, rate_hz)
    needed = 0 if native_hz == rate_hz else REACH * native_hz / min(native_hz, rate_hz)
    return Window(round(start_seconds * native_hz), ceil(seconds * native_hz), ceil(needed / step) * step, native_hz)


def check(rate_hz: int, channels: int, count: int) -> None:
    """BadSample for a sound without samples, or beyond the limits."""
    if count <= 0:
        raise BadSample("no sample")
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise BadSample(f"a rate of {rate_hz} Hz")
    if channels > MAX_CHANNELS:
        raise BadSample(f"{channels} channels, more than {MAX_CHANNELS}")
    if count > MAX_SECONDS * rate_hz:
        raise BadSample(f"more than {MAX_SECONDS} s")


def read_libsndfile(
    media: Media, rate_hz: int, start_seconds: float, seconds: float, channels: int
) -> tuple[Window, Float[np.ndarray, "C M"]]:
    """The window and its samples at the native rate, with their margins."""
    with damage(), sound_file(media) as file:
        check(file.samplerate, file.channels, file.frames)
        window = window_of(file.samplerate, rate_hz, start_seconds, seconds)
        if not -window.count < window.first < file.frames:
            raise BadSample(f"no sample from {start_seconds:g} s on")
        samples, begins = window.empty(channels), window.first - window.margin
        first, last = max(0, begins), min(file.frames, begins + samples.shape[1])
        file.seek(first)
        for start in range(first, last, BLOCK_SAMPLES):
            count = min(BLOCK_SAMPLES, last - start)
            found = file.read(count, dtype="float32", always_2d=True)
            if len(found) < count:
                raise BadSample("truncated")
            samples[:, start - begins : start - begins + count] = MIXED[channels](found.T)
        return window, samples


def read_ffmpeg(
    media: Media, rate_hz: int, start_seconds: float, seconds: float, channels: int
) -> tuple[Window, Float[np.ndarray, "C M"]]:
    """The same by FFmpeg, on the clock of the file."""
    window, samples, position, is_heard = None, np.zeros((channels, 0), np.float32), 0, False
    for time, frame, _ in frames_from(
        media, "sound", [(start_seconds - 1.0 - WARM_SECONDS, inf)]
    ):  # no margin exceeds a second
        if window is None:
            check(frame.sample_rate, frame.layout.nb_channels, frame.samples)
            window = window_of(frame.sample_rate, rate_hz, start_seconds, seconds)
            samples = window.empty(channels)
            position = stamped = place(time, start_seconds, window)
        elif frame.sample_rate != window.rate_hz:
            raise BadSample("a change of the sample rate")
        else:
            stamped = place(time, start_seconds, window)
        if abs(stamped - position) > GAP_SECONDS * window.rate_hz:
            position = stamped
        found = MIXED[channels](channels_of(frame)).astype(np.float32)
        first, last = max(0, position), min(samples.shape[1], position + found.shape[-1])
        if first < last:
            samples[:, first:last] = found[..., first - position : last - position]
        position += found.shape[-1]
        is_heard |= max(first, window.margin) < min(last, window.margin + window.count)
        if position >= samples.shape[1]:
            break
    if window is None or not is_heard:
        raise BadSample(f"no sample from {start_seconds:g} s on")
    return window, samples


def place(time: float, start_seconds: float, window: Window) -> int:
    """Where in the window and its margins a sample of this time lies."""
    return round((time - start_seconds) * window.rate_hz) + window.margin


def channels_of(frame: Any) -> Float[np.ndarray, "K M"]:
    """The channels of a decoded frame of any sample format, in [-1, 1]."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = rearrange(values, "1 (t c) -> c t", c=frame.layout.nb_channels)
    if values.dtype == np.uint8:
        values = (values.astype(np.float32) - 128) / 128
    elif np.issubdtype(values.dtype, np.integer):
        values = values / -float(np.iinfo(values.dtype).min)
    return values


def one_channel(found: Float[np.ndarray, "K M"]) -> Float[np.ndarray, " M"]:
    """The mean of all."""
    return found.mean(axis=0)


def two_channels(found: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "2 M"]:
    """The first two, left and right, each averaged with those behind them, which both ears hear; twice the only one."""
    pair = found[[0, min(1, len(found) - 1)]]
    return (pair + found[2:].sum(axis=0)) / (1 + len(found[2:]))


MIXED = {1: one_channel, 2: two_channels}


def resampled(samples: Float[np.ndarray, " M"], native_hz: int, rate_hz: int) -> Float[np.ndarray, " R"]:
    """The sound at another rate, without delay.

    By FFmpeg's resampler: its filters are bounded, where torchaudio's take gigabytes for rates like 44,101 Hz.
    """
    if native_hz == rate_hz:
        return samples
    import av

    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate = native_hz
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    return np.concatenate([each.to_ndarray()[0] for each in (*resampler.resample(frame), *resampler.resample(None))])
