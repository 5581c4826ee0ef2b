"""Sounds of the world's events: each animal's call from where it stands, over the quiet noise of the habitat."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mmssl.random import hashed
from mmssl.savanna.bodies import PLAN_OF
from mmssl.savanna.scenes import CALL_SECONDS, SECONDS, Scenes, positions, rows
from mmssl.savanna.tables import SPECIES, events

LOUDNESS = 0.40  # the highest value of a call, before it is panned
QUIET = 0.012  # the root mean square of the habitat's noise
NOISE_SECONDS = 8.0  # then it begins again, without a seam
RAMP_SECONDS = 0.02  # in which a call rises and falls
VALUES = 2**20  # of one chunk


class Timbre(NamedTuple):
    """What a call sounds like besides its pitch."""

    harmonics: tuple[float, ...]  # amplitudes of the multiples of the pitch
    tremolo_hz: float
    tremolo_ratio: float  # how much softer it gets between two pulses
    glide_ratio: float = 0.0  # how much the pitch rises and falls again


# body plan -> timbre
TIMBRES: dict[str, Timbre] = {
    "cat": Timbre((1.0, 0.8, 0.6, 0.5, 0.3, 0.2), 26.0, 0.6),
    "dog": Timbre((1.0, 0.5, 0.7, 0.2, 0.3), 8.0, 0.95),
    "hoofed": Timbre((1.0, 0.7, 0.2, 0.4, 0.1), 14.0, 0.4),
    "rodent": Timbre((1.0, 0.2, 0.1), 12.0, 0.9, 0.010),
    "bird": Timbre((1.0, 0.1, 0.3), 20.0, 0.7, 0.015),
    "fish": Timbre((1.0, 0.0, 0.5, 0.0, 0.25), 36.0, 0.9),
    "whale": Timbre((1.0, 0.5, 0.25, 0.12), 4.0, 0.2, 0.020),
    "seal": Timbre((1.0, 0.9, 0.4, 0.6, 0.3, 0.3), 11.0, 0.8),
    "squid": Timbre((1.0, 0.0, 0.2), 44.0, 0.9),
    "spider": Timbre((1.0, 0.4), 60.0, 0.95),
}

# habitat -> the amplitude of its noise at each frequency in Hz
NOISES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "savanna": lambda hz: 1 / (1 + hz / 250) + 0.6 * np.exp(-(((hz - 4200) / 300) ** 2)),  # wind and crickets
    "kitchen": lambda hz: 12.0 * (np.abs(hz - 100) < 1) + 6.0 * (np.abs(hz - 200) < 1) + 0.1 / (1 + hz / 2000),  # a hum
    "ocean": lambda hz: np.exp(-(((hz - 140) / 110) ** 2)) + 0.05 / (1 + hz / 900),  # water
    "forest": lambda hz: np.exp(-(((hz - 1600) / 900) ** 2)) + 0.3 / (1 + hz / 300),  # leaves
    "arctic": lambda hz: np.exp(-(((hz - 520) / 160) ** 2)) + 0.25 / (1 + hz / 1500),  # a howling wind
}


@cache
def call(animal: str, rate_hz: int) -> Float[np.ndarray, " T"]:
    """A species' call; harmonics that the rate cannot hold are left out."""
    timbre, pitch = TIMBRES[PLAN_OF[animal]], SPECIES[animal].call_hz
    seconds = np.arange(round(CALL_SECONDS * rate_hz)) / rate_hz
    turn = 2 * np.pi / CALL_SECONDS
    phase = 2 * np.pi * pitch * (seconds + timbre.glide_ratio * np.sin(turn * seconds) / turn)
    found = np.zeros_like(seconds)
    for order, amplitude in enumerate(timbre.harmonics, start=1):
        if order * pitch * (1 + timbre.glide_ratio) < rate_hz / 2:
            found += amplitude * np.sin(order * phase)
    found *= 1 - timbre.tremolo_ratio * (0.5 + 0.5 * np.cos(2 * np.pi * timbre.tremolo_hz * seconds))
    edge = np.clip(np.minimum(seconds, CALL_SECONDS - seconds) / RAMP_SECONDS, 0, 1)
    found *= edge * edge * (3 - 2 * edge)
    peak = np.abs(found).max()
    return (found * (LOUDNESS / peak if peak > 0 else 0.0)).astype(np.float32)


@cache
def noise(habitat: str, rate_hz: int) -> Float[np.ndarray, "2 T"]:
    """A habitat's noise in stereo; its spectrum is the same at every rate that can hold it."""
    count = round(NOISE_SECONDS * rate_hz)
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    draws = np.random.Generator(np.random.Philox(key=hashed("savanna noise", habitat)))
    spectrum = draws.standard_normal((len(hz), 2, 2)) @ np.array([1, 1j])
    spectrum *= (NOISES[habitat](hz) * (hz > 30))[:, None]
    found = np.fft.irfft(spectrum, count, axis=0).T
    return np.ascontiguousarray(QUIET * found / np.sqrt(np.mean(found**2)), dtype=np.float32)


def sounds(
    found: Scenes, rate_hz: int, seconds: float = SECONDS, *, around_seconds: float = 0.0
) -> Float[np.ndarray, "N 2 T"]:
    """Stereo sounds in [-1, 1]; value n belongs to the time n / rate_hz on the clock of the videos, so many seconds
    earlier where what is heard before and behind them is asked for, too.
    """
    if rate_hz < 1000 or not 0 < seconds <= SECONDS:
        raise ValueError(
            f"a sound has at least 1000 values a second and (0, {SECONDS}] seconds, not {rate_hz} and {seconds}"
        )
    lead, count = round(rate_hz * around_seconds), len(found.event)
    length = round(rate_hz * seconds) + 2 * lead
    values = np.empty((count, 2, length), np.float32)
    chunk = max(1, VALUES // length)
    for start in range(0, count, chunk):
        some = slice(start, start + chunk)
        values[some] = mixed(rows(found, some), rate_hz, length, lead)
    return values


def mixed(found: Scenes, rate_hz: int, length: int, lead: int) -> Float[np.ndarray, "N 2 T"]:
    """The habitat's noise and both calls, from `lead` values before the clock's begin on."""
    cast = [events()[number][0] for number in found.event]
    values = np.empty((len(cast), 2, length), np.float32)
    for row, event in enumerate(cast):
        around = noise(event.habitat, rate_hz)
        begin = int(found.noise[row] * around.shape[1]) - lead
        values[row] = around.take(np.arange(begin, begin + length), axis=1, mode="wrap")

    clock = np.arange(round(CALL_SECONDS * rate_hz))
    for animal in range(2):
        begins = np.ceil(found.call_seconds[:, animal] * rate_hz).astype(np.int64)
        times = (begins[:, None] + clock) / rate_hz
        right = np.clip(positions(found, times)[:, :, animal, 0], 0, 1)
        gains = np.sqrt(np.stack([1 - right, right], axis=1)).astype(np.float32)  # equal power
        for row, event in enumerate(cast):
            first = lead + int(begins[row])
            heard = max(0, min(len(clock), length - first))
            name = event.predator if animal == 0 else event.prey
            part = values[row, :, first : first + heard]
            part += gains[row, :, :heard] * call(name, rate_hz)[:heard]
    return np.clip(values, -1, 1)
