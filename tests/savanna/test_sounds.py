from importlib import import_module

import numpy as np
import pytest

from mmssl.savanna import SPECIES, scenes
from mmssl.savanna.pictures import videos
from mmssl.savanna.scenes import CALL_SECONDS, SECONDS, positions
from mmssl.savanna.sounds import NOISES, call, noise, sounds
from mmssl.savanna.tables import events

RATE = 16_000


@pytest.fixture(scope="module")
def world():
    return scenes(0, np.arange(48))


def loudness(values):
    """The root mean square over the last axis."""
    return np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=-1))


def during(found, sound, animal, before=0.0):
    """The samples of a call, or of a stretch as long that begins earlier."""
    begins = np.ceil((found.call_seconds[:, animal] - before) * RATE).astype(int)
    return np.stack([row[:, begin : begin + round(CALL_SECONDS * RATE)] for row, begin in zip(sound, begins)])


def one_call(found, animal):
    """The scenes in which only one animal is heard at first: the other calls at the end."""
    times = np.full((len(found.event), 2), SECONDS - CALL_SECONDS)
    times[:, animal] = 0.6
    return found._replace(call_seconds=times)


def test_a_sound_is_stereo_and_in_range(world):
    sound = sounds(world, RATE)
    assert sound.shape == (48, 2, 2 * RATE)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1
    assert sounds(world, 11_025, 0.7).shape == (48, 2, round(11_025 * 0.7))


def test_a_sound_does_not_depend_on_the_batch(world, monkeypatch):
    together = sounds(world, RATE)
    for index in range(0, 48, 7):
        assert (sounds(scenes(0, np.array([index])), RATE)[0] == together[index]).all()
    monkeypatch.setattr(import_module("mmssl.savanna.sounds"), "VALUES", 2 * 2 * RATE)
    assert (sounds(world, RATE) == together).all()


def test_a_shorter_sound_is_the_beginning(world):
    assert (sounds(world, RATE, 0.8) == sounds(world, RATE)[:, :, : round(0.8 * RATE)]).all()


@pytest.mark.parametrize("animal", [0, 1])
def test_it_is_louder_during_a_call_than_before(world, animal):
    found = one_call(world, animal)
    sound = sounds(found, RATE)
    assert (
        loudness(during(found, sound, animal)).max(1) > 4 * loudness(during(found, sound, animal, 0.3)).max(1)
    ).all()


@pytest.mark.parametrize("animal", [0, 1])
def test_a_call_comes_from_where_the_animal_stands(world, animal):
    found = one_call(world, animal)
    left, right = loudness(during(found, sounds(found, RATE), animal)).T
    x = positions(found, np.full((48, 1), 0.6 + CALL_SECONDS / 2))[:, 0, animal, 0]
    heard = right**2 / (left**2 + right**2)
    assert np.abs(heard - x).max() < 0.05
    assert ((right > left) == (x > 0.5))[np.abs(x - 0.5) > 0.05].all()


def test_a_call_is_as_loud_everywhere(world):
    early = one_call(world, 0)
    mirrored = early._replace(heading=-early.heading)
    power = [(loudness(during(found, sounds(found, RATE), 0)) ** 2).sum(1) for found in (early, mirrored)]
    assert np.allclose(power[0], power[1], rtol=0.05)


@pytest.mark.parametrize("animal", list(SPECIES))
def test_the_spectrum_of_a_call_peaks_at_its_pitch(animal):
    values = call(animal, RATE)
    power = np.abs(np.fft.rfft(values, 8 * len(values))) ** 2
    hz = np.fft.rfftfreq(8 * len(values), 1 / RATE)
    pitch = SPECIES[animal].call_hz
    assert abs(hz[power.argmax()] - pitch) < max(0.03 * pitch, 4)


@pytest.mark.parametrize("animal", list(SPECIES))
def test_a_call_begins_and_ends_without_a_click(animal):
    values = np.abs(call(animal, RATE))
    assert max(values[:20].max(), values[-20:].max()) < 0.02
    assert values.max() == pytest.approx(0.4)


def test_harmonics_that_the_rate_cannot_hold_are_left_out():
    seal, spider = call("seal", 2_000), call("spider", 4_000)
    power = np.abs(np.fft.rfft(seal * np.hanning(len(seal)))) ** 2
    hz = np.fft.rfftfreq(len(seal), 1 / 2_000)
    near = np.min([np.abs(hz - order * SPECIES["seal"].call_hz) for order in (1, 2, 3)], axis=0) < 40
    assert power[~near].sum() < 1e-3 * power.sum()
    assert (spider == 0).all()


def test_the_habitats_sound_different():
    shares = []
    for habitat in NOISES:
        power = np.abs(np.fft.rfft(noise(habitat, RATE)[0])) ** 2
        shares.append([part.sum() / power.sum() for part in np.array_split(power[: len(power) // 2], 40)])
    distances = np.abs(np.array(shares)[:, None] - np.array(shares)[None]).sum(-1)
    assert (distances[~np.eye(len(shares), dtype=bool)] > 0.25).all()


def test_the_mark_is_seen_when_the_call_is_heard(world):
    frames, size = 40, 32
    silent = world._replace(call_seconds=np.full((48, 2), SECONDS + 1))
    half_frame = SECONDS / frames / 2
    for animal in range(2):
        times = silent.call_seconds.copy()
        times[:, animal] = world.call_seconds[:, animal]
        found = world._replace(call_seconds=times)
        marked = (videos(found, size, frames) != videos(silent, size, frames)).any(axis=(2, 3, 4))
        seen_seconds = (marked.argmax(1) + 0.5) * SECONDS / frames
        heard = (sounds(found, RATE) != sounds(silent, RATE)).any(axis=1)
        heard_seconds = heard.argmax(1) / RATE
        # a frame stands for the time around its middle, so the mark is first seen up to a frame later
        assert np.abs(seen_seconds - half_frame - heard_seconds).max() <= half_frame + 0.002
        last_seen = (frames - marked[:, ::-1].argmax(1) - 0.5) * SECONDS / frames
        last_heard = (heard.shape[1] - heard[:, ::-1].argmax(1)) / RATE
        assert np.abs(last_seen + half_frame - last_heard).max() <= half_frame + 0.002


def test_species_of_one_event_call_at_different_pitches():
    assert all(SPECIES[each.predator].call_hz != SPECIES[each.prey].call_hz for each, _ in events())


@pytest.mark.parametrize(("rate_hz", "seconds"), [(500, 1.0), (RATE, 0.0), (RATE, SECONDS + 1)])
def test_what_cannot_be_heard_is_refused(world, rate_hz, seconds):
    with pytest.raises(ValueError, match="a sound has at least"):
        sounds(world, rate_hz, seconds)
