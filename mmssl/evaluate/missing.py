"""A missing segment of a sound, filled in by a model: what is hidden is not looked at anywhere.

Hidden samples become silence first; then all patches are hidden in which a column of the spectrogram hears one of them.
So the model's own grid says how much more than the segment is hidden from it. The prediction is turned into sound by
`mmssl.griffin_lim`; in what is written all samples outside of the segment are those of the file.
"""

from collections.abc import Iterator
from math import ceil, floor, gcd, inf
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from mmssl.batch import Batch
from mmssl.drop import keep_times
from mmssl.errors import ConfigError
from mmssl.evaluate.completion import Completed, completed, cut_of, predictive
from mmssl.griffin_lim import continued, touched_frames
from mmssl.inputs import Inputs
from mmssl.modalities.audio import REACH, resampled
from mmssl.modalities.grids import Cut
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.recording import Range, Recording
from mmssl.spectrogram import LogMel
from mmssl.tokens import Place, Tokens

NAME = "audio"
EDGE = 0.125  # of a window, in which only its own range is filled
LEAST_COMMON_HZ = 50  # instants a second that two rates share, that windows begin at them


class Window(NamedTuple):
    """A part of a sound as long as a run's samples, with what a model says of its hidden places."""

    start_seconds: float
    found: Completed  # of one sound; `original` is what the file holds
    heard: list[Float[Tensor, " T"]]  # each prediction as a sound, at the run's rate, its known samples as they are


class Gaps(NamedTuple):
    """A recording, the same with silence where it is hidden, and which samples these are."""

    whole: Recording
    plain: Recording
    hidden: Bool[np.ndarray, " T"]


class Grain(NamedTuple):
    """What decides where a window begins: instants at which both rates have a sample, the time of a patch, and how far
    from its middle a column hears.
    """

    step_seconds: float
    patch_seconds: float
    reach_seconds: float


class Filled(NamedTuple):
    """A recording with each of the predictions in its hidden ranges."""

    sounds: list[Recording]
    windows: list[Window]
    is_of_16_bits: bool  # what is seen of the recording


def filled_in(
    objective: Objective, inputs: Inputs, sound: Recording, ranges: list[Range], *, samples: int, number: int = 0
) -> Filled:
    """Each range filled in within a window of data.seconds around it; `number` is that of the sample whose draws are
    taken. ConfigError where the method predicts no spectrogram, or all of a window is hidden.
    """
    cut, hidden = cut_to_fill(objective), sound.inside(ranges)
    plain = sound._replace(samples=np.where(hidden, np.float32(0), sound.samples))
    gaps = Gaps(sound, plain, hidden)
    windows: list[Window] = []
    sounds: list[Float[np.ndarray, "C T"]] = []
    grain = Grain(
        common_step(sound.rate_hz, inputs.log_mel.rate_hz), cut.patch[0] * inputs.config.audio.hop_seconds,
        reach_of(inputs.log_mel, sound.rate_hz) / 2 / inputs.log_mel.rate_hz,
    )  # fmt: skip
    for start, mine in windows_of(sound.seconds, ranges, inputs.config.data.seconds, grain):
        window = one_window(objective, inputs, gaps, start, samples, number + len(windows))
        sounds = sounds or [plain.samples.copy() for _ in window.heard]
        for whole, heard in zip(sounds, window.heard, strict=True):
            put(whole, sound.rate_hz, heard, inputs.config.audio.rate_hz, start, sound.inside(mine))
        windows.append(window)
    return Filled([plain._replace(samples=whole) for whole in sounds], windows, plain.is_of_16_bits)


def cut_to_fill(objective: Objective) -> Cut:
    """How the part that predicts cuts spectrograms; ConfigError where there is none whose predictions can be heard."""
    part = predictive(objective)
    cut = None if part is None or NAME not in part.answered else cut_of(part, NAME)
    if cut is None:
        raise ConfigError(
            f"predict --hide: {type(objective).__name__} hides no part of a spectrogram; expected a run of a method "
            "like audio_mae on audio.form spectrogram"
        )
    return cut


def common_step(native_hz: int, rate_hz: int) -> float:
    """Seconds from one instant at which both rates have a sample to the next; a sample where that takes long."""
    common = gcd(native_hz, rate_hz)
    return 1 / (common if common >= LEAST_COMMON_HZ else native_hz)


def windows_of(length: float, ranges: list[Range], seconds: float, grain: Grain) -> Iterator[tuple[float, list[Range]]]:
    """(start, the ranges that are filled there): the whole of a sound that is no longer than a window, else a window
    with the first range that is left near its middle, and others that lie well within it. It begins so that what is
    hidden begins with a patch.
    """
    left = list(ranges)
    while left:
        centred = (left[0].start + left[0].end - seconds) / 2
        begins = left[0].start - grain.reach_seconds
        start = begins - round((begins - centred) / grain.patch_seconds) * grain.patch_seconds
        if left[0].end + grain.reach_seconds > start + seconds:
            start = centred  # there is hardly room for what is hidden
        latest = ceil(max(0.0, length - seconds) / grain.step_seconds - 1e-6)
        start = min(max(0, floor(start / grain.step_seconds + 1e-6)), latest) * grain.step_seconds
        low = start + EDGE * seconds if start > 0 else 0.0
        high = start + (1 - EDGE) * seconds if start + seconds < length else inf
        mine = [one for one in left if low <= one.start and one.end <= high] or left[:1]
        left = [one for one in left if one not in mine]
        yield start, mine


def one_window(objective: Objective, inputs: Inputs, gaps: Gaps, start: float, samples: int, number: int) -> Window:
    """One window of a sound without and with what is hidden of it, filled in."""
    config, log_mel, native_hz, cut = inputs.config, inputs.log_mel, gaps.whole.rate_hz, cut_to_fill(objective)
    rate, seconds = config.audio.rate_hz, config.data.seconds
    plain, whole = (heard_from(one, rate, start, seconds) for one in (gaps.plain, gaps.whole))
    is_hidden = nearest_samples(gaps.hidden, native_hz, rate, start, len(plain))
    times = hidden_times(log_mel, is_hidden, cut, native_hz)
    if len(times) == cut.grid[0]:
        raise ConfigError(
            f"--hide: nothing is left to see of the {seconds:g} s from {start:.3g} s on, which the run sees at once "
            f"(in {cut.grid[0]} pieces); expected shorter ranges, or a run of longer data.seconds"
        )
    index, device = torch.tensor([number]), next(objective.parameters()).device
    # a run of several channels hears the mean of all in each of them
    sound = plain[None] if cut.channels == 1 else repeat(plain, "t -> 1 c t", c=cut.channels)
    batch = Batch({NAME: [sound]}, Draw(config.seed, torch.zeros_like(index), index)).to(device)
    hide = keep_times([time for time in range(cut.grid[0]) if time not in times])
    found = completed(objective, inputs.only(NAME)(batch), samples=samples, hide=hide, told=interpolated).get(NAME)
    if found is None:
        raise ConfigError(
            f"predict --hide: {type(objective).__name__} of method {config.method.name} predicts embeddings, which "
            "nobody can hear; expected a method that predicts spectrograms, like audio_mae"
        )
    columns = log_mel(plain[None])[0]
    there = ~touched_columns(log_mel, is_hidden, native_hz)[: len(columns), None]
    said = [torch.where(there, columns, one[0].cpu()) for one in map(mean_of_channels, found.samples)]
    heard = [continued(log_mel, one, plain, is_hidden) for one in said]
    shown = found._replace(
        original=log_mel(whole[None]), samples=[one[None] for one in said], seen=mean_of_channels(found.seen),
        is_hidden=mean_of_channels(found.is_hidden.float()) > 0,
    )  # fmt: skip
    return Window(start, shown, heard)


def mean_of_channels(spectrogram: Float[Tensor, "1 *C frames bands"]) -> Float[Tensor, "1 frames bands"]:
    """Of a spectrogram of one channel itself."""
    return reduce(spectrogram, "b c l f -> b l f", "mean") if spectrogram.ndim > 3 else spectrogram


def heard_from(sound: Recording, rate_hz: int, start: float, seconds: float) -> Float[Tensor, " T"]:
    """The mean over the channels of a window, at another rate; silence behind the end."""
    mono = resampled(reduce(sound.samples, "c t -> t", "mean").astype(np.float32), sound.rate_hz, rate_hz)
    first, count = round(start * rate_hz), round(seconds * rate_hz)
    return torch.from_numpy(np.pad(mono[first : first + count], (0, max(0, first + count - len(mono)))))


def nearest_samples(
    hidden: Bool[np.ndarray, " T"], native_hz: int, rate_hz: int, start: float, count: int
) -> Bool[Tensor, " W"]:
    """Which samples of a window at another rate lie among hidden ones."""
    at = np.floor((np.arange(count) + round(start * rate_hz)) * (native_hz / rate_hz) + 1e-6).astype(np.int64)
    return torch.from_numpy(np.pad(hidden, (0, 1))[at.clip(max=len(hidden))])


def touched_columns(log_mel: LogMel, hidden: Bool[Tensor, " T"], native_hz: int) -> Bool[Tensor, " F"]:
    """Which columns hear a hidden sample, or one that resampling has mixed with it."""
    centres = (torch.arange(log_mel.frames(len(hidden))) * log_mel.hop).round().long()
    return touched_frames(hidden, centres, reach_of(log_mel, native_hz))


def reach_of(log_mel: LogMel, native_hz: int) -> int:
    """Samples that a column hears: its window, half a step where columns do not lie at whole steps, and what resampling
    mixes with a sample, on both sides.
    """
    step = 0 if log_mel.hop == log_mel.step else log_mel.step
    resampling = 0 if native_hz == log_mel.rate_hz else ceil(REACH * max(1.0, log_mel.rate_hz / native_hz))
    return log_mel.window + step + 2 * resampling


def hidden_times(log_mel: LogMel, hidden: Bool[Tensor, " T"], cut: Cut, native_hz: int) -> list[int]:
    """The times of the patches that hold a touched column."""
    columns = touched_columns(log_mel, hidden, native_hz)
    return rearrange(columns, "(t p) -> t p", p=cut.patch[0]).any(1).nonzero()[:, 0].tolist()


def put(
    whole: Float[np.ndarray, "C T"], native_hz: int, heard: Float[Tensor, " W"], rate_hz: int, start: float,
    hidden: Bool[np.ndarray, " T"],
) -> None:  # fmt: skip
    """Put a window's sound at the hidden samples of a whole one, alike in all channels. Where a seen channel is not
    what the window says of it (another channel, or higher frequencies), their difference before each seam goes on
    backwards, ever softer, for 5 ms: so there is no click.
    """
    first = round(start * native_hz)
    sound = resampled(heard.numpy(), rate_hz, native_hz)[: whole.shape[1] - first]
    sound = np.pad(sound, (first, whole.shape[1] - first - len(sound)))
    edges = np.flatnonzero(np.diff(np.pad(hidden, 1).astype(np.int8)))
    difference = whole - sound
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        count = min(native_hz // 200, (end - begin) // 2)
        fade = np.cos(np.linspace(0, np.pi / 2, count, dtype=np.float32)) ** 2
        filling = np.repeat(sound[None, begin:end], len(whole), 0)
        before = difference[:, max(0, begin - count) : begin][:, ::-1]
        after = difference[:, end : end + count][:, ::-1]
        filling[:, : before.shape[1]] += before * fade[: before.shape[1]]
        if after.shape[1]:
            filling[:, -after.shape[1] :] += after * fade[: after.shape[1]][::-1]
        whole[:, begin:end] = filling.clip(-1, 1)


def interpolated(seen: Tokens, hidden: Place) -> Float[Tensor, "B M D"]:
    """What stands for hidden patches where their mean and deviation are asked for: patches of the mean and deviation
    that lie between those of the nearest seen patches of the same bands, before and after. All bands of a time are
    seen, or none.
    """
    bands = seen.place.grid[1]
    seen_times, times = (place.position[0, ::bands] // bands for place in (seen.place, hidden))
    value = rearrange(seen.value.float(), "b (t f) d -> b t f d", f=bands)
    after = torch.searchsorted(seen_times, times)
    low, high = (after - 1).clamp(min=0), after.clamp(max=len(seen_times) - 1)
    low = torch.where(after == 0, high, low)
    apart = (seen_times[high] - seen_times[low]).clamp(min=1)
    part = rearrange(((times - seen_times[low]) / apart).clamp(0, 1), "m -> m 1 1")
    variance, mean = torch.var_mean(value, -1, keepdim=True)
    level, spread = (each[:, low].lerp(each[:, high], part) for each in (mean, variance.sqrt()))
    ramp = torch.linspace(-1, 1, value.shape[-1], device=value.device)
    return rearrange(level + spread * ramp / ramp.std(), "b m f d -> b (m f) d")
