"""A missing part of a sound from its spectrogram: phases that go on from what is there on both sides.

Griffin & Lim 1984, in the fast form of Perraudin et al. 2013: in turn the magnitudes that are asked for, and a sound
that has them; here the samples that are known are put back each time, so that the phases join them.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.extrapolation import extrapolated, runs
from mmssl.random import hashed
from mmssl.spectrogram import LogMel

STEPS = 4  # in a window: neighbouring frames share three quarters, so that their phases hold together
ITERATIONS, MOMENTUM = 60, 0.99
PAST = 3  # windows that an extrapolation looks at
FAINT = 1e-4  # of noise at the beginning, so that phases are there in silence, too
SMALLEST = 1e-12  # of a magnitude that has a phase


def continued(
    log_mel: LogMel, logmel: Float[Tensor, "frames bands"], waveform: Float[Tensor, " T"], hidden: Bool[Tensor, " T"]
) -> Float[Tensor, " T"]:
    """The sound with its hidden samples filled in: about `logmel` in all frames that hold one of them, the known
    samples as they are. What stands at hidden samples is not looked at. The same on every call; computed on the CPU.

    At each seam what linear prediction says of the known side is faded over, within the hidden part, into what the
    spectrogram says, in the time of a window (or half of a shorter part): so there is no click.
    """
    hidden = hidden.cpu()
    known = torch.where(hidden, 0.0, waveform.detach().cpu().float())
    step = max(1, log_mel.window // STEPS)
    touched = touched_frames(hidden, torch.arange(len(known) // step + 1) * step, log_mel.window)
    magnitude = log_mel.magnitude(between_columns(logmel.detach().cpu().float(), touched, step / log_mel.hop))
    shape = {
        "n_fft": log_mel.num_fft, "hop_length": step, "win_length": log_mel.window,
        "window": torch.hann_window(log_mel.window),
    }  # fmt: skip
    generator = torch.Generator().manual_seed(hashed("griffin-lim"))
    noise = torch.randn(2, len(known), generator=generator)
    sides = [(*run, *both_sides(known, hidden, run, noise, log_mel.window)) for run in runs(hidden)]
    sound = iterated(begun(known, sides, FAINT * noise[0]), known, hidden, touched, magnitude, shape)
    for first, last, before, after in sides:
        length = min(log_mel.window, (last - first + 1) // 2)
        fade = torch.cos(torch.linspace(0, torch.pi / 2, length)).square()
        if first > 0:
            sound[first : first + length].lerp_(before[:length], fade)
        if last < len(known):
            sound[last - length : last].lerp_(after[-length:], fade.flip(0))
    return sound


def both_sides(
    known: Float[Tensor, " T"],
    hidden: Bool[Tensor, " T"],
    run: tuple[int, int],
    noise: Float[Tensor, "2 T"],
    window: int,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """What the sound before a run of hidden samples goes on with, and what that after it begins with."""
    first, last = run
    start, end = max(0, first - PAST * window), min(len(known), last + PAST * window)
    # an earlier or a later run is no past
    earlier, later = hidden[start:first].nonzero()[:, 0], hidden[last:end].nonzero()[:, 0]
    start += int(earlier[-1]) + 1 if len(earlier) else 0
    end = last + int(later[0]) if len(later) else end
    pasts = known[start:first], known[last:end].flip(0)
    before, after = (extrapolated(past, part[first:last]) for past, part in zip(pasts, noise, strict=True))
    return before, after.flip(0)


def begun(
    known: Float[Tensor, " T"], sides: list[tuple[int, int, Tensor, Tensor]], noise: Float[Tensor, " T"]
) -> Float[Tensor, " T"]:
    """The known samples, one extrapolation faded into the other between them, and the noise."""
    sound = known.clone()
    for first, last, before, after in sides:
        fade = torch.cos(torch.linspace(0, torch.pi / 2, last - first)).square()
        sound[first:last] = after.lerp(before, fade) + noise[first:last]
    return sound


def iterated(
    sound: Float[Tensor, " T"], known: Float[Tensor, " T"], hidden: Bool[Tensor, " T"], touched: Bool[Tensor, " F"],
    magnitude: Float[Tensor, "frequencies K"], shape: dict[str, Any],
) -> Float[Tensor, " T"]:  # fmt: skip
    """The sound after all iterations."""
    before = None
    for _ in range(ITERATIONS):
        found = torch.stft(sound, **shape, pad_mode="constant", return_complex=True)
        ahead = found[:, touched]
        before, ahead = ahead, ahead if before is None else ahead + MOMENTUM * (ahead - before)
        found[:, touched] = magnitude * ahead / ahead.abs().clamp(min=SMALLEST)
        sound = torch.where(hidden, torch.istft(found, **shape, length=len(known)), known)
    return sound


def touched_frames(hidden: Bool[Tensor, " T"], centres: Int[Tensor, " F"], width: int) -> Bool[Tensor, " F"]:
    """Which frames, of `width` samples around their centres, hold a hidden sample."""
    count = torch.nn.functional.pad(hidden.long().cumsum(0), (1, 0))
    half = -(-width // 2)
    first, last = ((centres + side).clamp(0, len(hidden)) for side in (-half, half))
    return count[last] > count[first]


def between_columns(
    logmel: Float[Tensor, "frames bands"], chosen: Bool[Tensor, " F"], ratio: float
) -> Float[Tensor, "K bands"]:
    """Columns at the chosen multiples of `ratio`, linear between those that are there."""
    at = (chosen.nonzero()[:, 0] * ratio).clamp(max=len(logmel) - 1)
    low = at.floor().long().clamp(max=max(0, len(logmel) - 2))
    part = rearrange(at - low, "k -> k 1")
    return logmel[low] * (1 - part) + logmel[(low + 1).clamp(max=len(logmel) - 1)] * part
