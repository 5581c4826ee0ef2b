"""Views of sounds, in batch and on their device, from counter-based draws: a window of time, loudness, another sound,
noise, then on the spectrogram a window that is resized, and masks.

Each operation is a function of explicit parameters per sample, beside the function that draws them. What a sample gets
depends on its (seed, epoch, index) and the view; only the sound that it is mixed with is chosen by its place in the
batch (see `mixed`). Channels of a sample get the same, but each its own noise. Resized windows, mixing and their ranges
are of BYOL-A (Niizumi et al. 2021, arXiv:2103.06695, sections III.B and III.C), windows at their own pace of COLA
(Saeed et al. 2020, arXiv:2010.10915), masks of SpecAugment (Park et al. 2019, arXiv:1904.08779).
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.crop import window
from mmssl.random import Draw, sent
from mmssl.sections import SoundsConfig

MORE_NOISE = 2**18  # numbers that the table of noise has beyond the length of a sound
FEW_TURNS = 3  # views that are mixed with different neighbours

Sound = Float[Tensor, "B *C T"]
Spectrogram = Float[Tensor, "B *C L F"]


class Span(NamedTuple):
    """From where each sample's window begins, and how long it is, in whatever unit its axis has."""

    start: Float[Tensor, " B"]
    length: Float[Tensor, " B"]


def waveform_view(sound: Sound, draw: Draw, view: int, sounds: SoundsConfig, length: int) -> Float[Tensor, "B *C S"]:
    """One view of sounds in [-1, 1]: S = `length` samples of each at its own pace, louder or softer, mixed, noisy."""
    draw = draw.on_host()  # parameters are decided on the CPU, so that the device is not waited for again and again
    heard = rearrange(sound.float(), "b ... t -> b (...) t")
    with torch.autocast(sound.device.type, enabled=False):
        if length < heard.shape[-1]:
            heard = window(heard, draw_start(draw, view, heard.shape[-1] - length), length, 2)
        if sounds.gain_decibels:
            heard = louder(heard, draw_gain(draw, view, sounds.gain_decibels))
        if sounds.largest_mix:
            heard = mixed(heard, draw_mix(draw, view, sounds.largest_mix), view)
        if sounds.noise_ratio:
            offset = draw.integers(f"sound_noise_offset/{view}", MORE_NOISE + 1, heard.shape[1])
            noisy = with_noise(heard, noise_from(draw.seed, offset, length, heard.device), draw_snr(draw, view, sounds))
            chosen = draw.uniform(f"sound_noise/{view}") < sounds.noise_ratio
            heard = torch.where(of_samples(chosen, heard), noisy, heard)
    return heard.reshape(*sound.shape[:-1], length)


def spectrogram_view(
    spectrogram: Spectrogram, draw: Draw, view: int, sounds: SoundsConfig, *, is_resized: bool
) -> Spectrogram:
    """One view of log-mel spectrograms, of the same shape: where `is_resized` a window of time and one of bands,
    enlarged to the whole; then masks.
    """
    draw = draw.on_host()
    with torch.autocast(spectrogram.device.type, enabled=False):
        smallest = sounds.smallest_length if is_resized else 1.0
        for axis, name, share in ((-2, "sound_window", smallest), (-1, "sound_bands", sounds.smallest_bands)):
            if share < 1:
                spectrogram = enlarged(spectrogram, draw_span(draw, f"{name}/{view}", share), axis)
        if sounds.time_masks or sounds.band_masks:
            spectrogram = hidden(spectrogram, draw_masks(draw, view, sounds, spectrogram.shape[-2:]))
    return spectrogram


def of_samples(value: Tensor, like: Tensor) -> Tensor:
    """A number of each sample, beside all numbers of the sample, on their device."""
    return sent(value, like.device).reshape(len(value), *[1] * (like.ndim - 1))


def draw_start(draw: Draw, view: int, last: int) -> Int[Tensor, " B"]:
    """The first sample of a window, uniform from 0 to `last`."""
    return draw.integers(f"sound_cut/{view}", last + 1)


def draw_gain(draw: Draw, view: int, most: float) -> Float[Tensor, " B"]:
    """Decibels, uniform from -most to most."""
    return most * (2 * draw.uniform(f"sound_gain/{view}") - 1)


def louder(sound: Float[Tensor, "B C T"], decibels: Float[Tensor, " B"]) -> Float[Tensor, "B C T"]:
    """Louder by so many decibels; nothing is cut off at 1."""
    return sound * of_samples(10 ** (decibels / 20), sound)


def draw_mix(draw: Draw, view: int, largest: float) -> Float[Tensor, " B"]:
    """The share of another sound's power, uniform from 0 to `largest`."""
    return largest * draw.uniform(f"sound_mix/{view}")


def neighbours(count: int, view: int) -> Int[Tensor, " B"]:
    """The place of the sample that each of a batch is mixed with: within fours of consecutive ones, another one in
    each of three views; its own place where the batch ends before.
    """
    place = torch.arange(count)
    other = place ^ (1 + view % FEW_TURNS)
    return torch.where(other < count, other, place)


def mixed(sound: Float[Tensor, "B C T"], share: Float[Tensor, " B"], view: int) -> Float[Tensor, "B C T"]:
    """The sum of a sample's sound and of a neighbour's, whose power is `share` of the whole: as in BYOL-A (eq. 1, there
    the power in each band; sounds that do not correlate add up so), where the other sound is one of a memory.

    The neighbour is decided by the place in the batch, which (seed, position) decide: a step on several processes, or
    in several micro-batches, is that of one where a micro-batch has a multiple of four samples.
    """
    share = torch.where(neighbours(len(sound), view) == torch.arange(len(sound)), 0.0, share)
    other = sound.index_select(0, sent(neighbours(len(sound), view), sound.device))
    return (1 - of_samples(share, sound)).sqrt() * sound + of_samples(share, sound).sqrt() * other


def draw_snr(draw: Draw, view: int, sounds: SoundsConfig) -> Float[Tensor, " B"]:
    """Decibels by which the sound is louder than the noise, uniform in their range."""
    low, high = sounds.snr_decibels
    return low + (high - low) * draw.uniform(f"sound_snr/{view}")


@lru_cache(maxsize=4)
def table_of_noise(seed: int, count: int, device: torch.device) -> Float[Tensor, " N"]:
    """White noise of variance 1, made once: as many numbers anew for each sample would take longer than a step."""
    first = torch.zeros(1, dtype=torch.long)
    return Draw(seed, first, first).normal("sound_noise", count)[0].to(device)


def noise_from(seed: int, offset: Int[Tensor, "B C"], length: int, device: torch.device) -> Float[Tensor, "B C T"]:
    """The noise of the seed from each offset on."""
    table = table_of_noise(seed, MORE_NOISE + length, device)
    return table[sent(offset, device)[..., None] + torch.arange(length, device=device)]


def with_noise(
    sound: Float[Tensor, "B C T"], noise: Float[Tensor, "B C T"], snr_decibels: Float[Tensor, " B"]
) -> Float[Tensor, "B C T"]:
    """The sum, the noise scaled so that the power of the sound over its own is as asked; silence stays silence."""
    power = [part.square().mean((1, 2), keepdim=True) for part in (sound, noise)]
    ratio = of_samples(10 ** (-snr_decibels / 10), sound)
    return sound + noise * (power[0] / power[1] * ratio).sqrt()


def draw_span(draw: Draw, name: str, smallest: float) -> Span:
    """A window of an axis of length 1: its length uniform from `smallest` to 1, its place uniform."""
    length, place = draw.uniform(name, 2).unbind(1)
    length = smallest + (1 - smallest) * length
    return Span(place * (1 - length), length)


def enlarged(spectrogram: Spectrogram, span: Span, axis: int) -> Spectrogram:
    """Windows of an axis (-2: time, -1: bands) at the size of the whole: linear, where BYOL-A has cubic splines."""
    size = spectrogram.shape[axis]
    start, length = (part.double()[:, None] * size for part in span)
    at = start + (torch.arange(size) + 0.5) * length / size - 0.5
    at = torch.minimum(at.clamp(min=start), start + (length - 1).clamp(min=0))  # nothing from beyond the window
    low = at.floor().clamp(0, size - 1)
    shape = (len(at), *[1] * (spectrogram.ndim - 3), *((size, 1) if axis == -2 else (1, size)))
    index, share = (sent(part.reshape(shape), spectrogram.device) for part in (low.long(), (at - low).float()))
    below, above = (spectrogram.take_along_dim(place, axis) for place in (index, (index + 1).clamp(max=size - 1)))
    return torch.lerp(below, above, share.expand_as(below))


def draw_masks(draw: Draw, view: int, sounds: SoundsConfig, size: torch.Size) -> Bool[Tensor, "B L F"]:
    """Which numbers of a spectrogram of this size are masked: of each kind so many spans, their widths uniform from 0
    to the widest, their places uniform.
    """
    times = draw_spans(draw, f"time_mask/{view}", sounds.time_masks, sounds.longest_time_mask, size[0])
    bands = draw_spans(draw, f"band_mask/{view}", sounds.band_masks, sounds.widest_band_mask, size[1])
    return times[:, :, None] | bands[:, None]


def draw_spans(draw: Draw, name: str, count: int, widest: float, size: int) -> Bool[Tensor, "B N"]:
    """Which places of an axis lie in one of `count` spans of whole numbers."""
    width, start = draw.uniform(name, count, 2).double().unbind(2)
    width = (width * (int(widest * size) + 1)).floor()
    start = (start * (size - width + 1)).floor()
    place = torch.arange(size)
    return ((place >= start[..., None]) & (place < (start + width)[..., None])).any(1)


def hidden(spectrogram: Spectrogram, mask: Bool[Tensor, "B L F"]) -> Spectrogram:
    """The mean of each sample's own spectrogram where it is masked."""
    mask = sent(mask, spectrogram.device).reshape(len(mask), *[1] * (spectrogram.ndim - 3), *mask.shape[1:])
    return torch.where(mask, of_samples(spectrogram.flatten(1).mean(1), spectrogram), spectrogram)
