"""Claims about time: a flash and its click are found at the same time, to a frame, in any file and in any window."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making_flashes import FORMATS, flashes

from mmssl.modalities import audio, containers
from mmssl.modalities.containers import begin
from mmssl.modalities.decoding import Decoding
from mmssl.modalities.media_files import MediaFile
from mmssl.modalities.media_samples import decoded_samples
from mmssl.modalities.media_windows import Cutting, samples_of

RATES_HZ = [1, 10, 24, 30000 / 1001, 60]
SECONDS, FRAMES, SOUND_HZ = 2.0, 480, 16000
WINDOWS = Cutting(SECONDS, with_sound=True)
DECODING = Decoding(("video", "audio"), (16, 16), SOUND_HZ, 1, 16, FRAMES, SECONDS, 16)
CLOSE = 0.006  # seconds: a third of a frame at 60 Hz


def errors(path: Path, seconds: Sequence[float]) -> list[float]:
    """By how many seconds the click is later than the flash in the windows that hold these times, each decoded by
    itself, so after a seek; infinity where one of the two is missing.
    """
    samples, bad = samples_of(MediaFile(path, path.name, "", "video", None, False), WINDOWS, path.parent)
    assert not bad
    found = []
    for second in seconds:
        sample = next(each for each in samples if each.start_seconds <= second < each.start_seconds + SECONDS)
        (values,) = decoded_samples([sample], DECODING)
        assert isinstance(values, dict)
        flash, sound = values["video"].mean(axis=(1, 2, 3)) > 128, np.abs(values["audio"].astype(int))
        is_there = flash.any() and sound.max() > 3000
        error = sound.argmax() / SOUND_HZ - (flash.argmax() + 0.5) * SECONDS / FRAMES
        found.append(abs(float(error)) if is_there else float("inf"))
    return found


def evenly(rate_hz: float, seconds: float, begin: float = 0.0) -> list[float]:
    """The times of frames."""
    return [begin + number / rate_hz for number in range(round(seconds * rate_hz))]


def at(times: list[float], *seconds: float) -> list[int]:
    """The frames that are shown at these times."""
    return [int(np.searchsorted(times, second + 1e-6, side="right")) - 1 for second in seconds]


def film(path: Path, times: list[float], *seconds: float, **options: Any) -> list[float]:
    """A film that flashes at these times, about; the true times of its flashes."""
    flashed = at(times, *seconds)
    flashes(path, times, flashed, times[-1] + 0.5, **options)
    return [times[number] for number in flashed]


CASES = [(suffix, rate_hz, 0.4) for suffix in FORMATS if suffix != "avi" for rate_hz in RATES_HZ]
CASES += [("avi", rate_hz, 0.0) for rate_hz in RATES_HZ]  # as FFmpeg writes it, it does not say that a sound is late
CASES += [(suffix, 24, 0.0) for suffix in FORMATS]


@pytest.mark.parametrize("suffix, rate_hz, sound_start", CASES)
def test_a_flash_and_its_click_are_at_the_same_time(tmp_path, suffix, rate_hz, sound_start):
    path = tmp_path / f"a.{suffix}"
    flashed = film(path, evenly(rate_hz, 9.0), 1.0, 7.5, sound_start=sound_start)
    assert max(errors(path, flashed)) < CLOSE


@pytest.mark.parametrize("suffix", FORMATS)
def test_at_a_variable_rate_too(tmp_path, suffix):
    gaps = np.random.default_rng(0).choice([1 / 60, 0.04, 0.1, 0.5], 60)
    times = [0.0, *map(float, np.round(gaps, 3).cumsum())]
    path = tmp_path / f"a.{suffix}"
    assert max(errors(path, film(path, times, 0.7, times[-1] / 2, times[-1] - 1.1))) < CLOSE


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001)])
def test_an_avi_that_leaves_out_no_frame_is_at_the_same_time(tmp_path, rate):
    path = tmp_path / "a.avi"
    assert max(errors(path, film(path, evenly(float(rate), 9.0), 1.0, 7.5, base=1 / rate))) < CLOSE


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_pictures_that_begin_late_are_shown_with_their_sound(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    assert max(errors(path, film(path, evenly(24, 8.0, begin=0.7), 1.0, 7.5))) < CLOSE


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("lost_seconds", [0.05, 0.09, 0.5])
def test_packets_that_are_lost_do_not_move_what_comes_after_them(tmp_path, suffix, lost_seconds):
    path = tmp_path / f"a.{suffix}"
    flashed = film(path, evenly(60, 6.0), 1.0, 5.0, gap=(4.1, 4.1 + lost_seconds))
    assert max(errors(path, flashed)) < 1 / 60


def test_a_tolerance_of_a_tenth_of_a_second_would_move_it(tmp_path, monkeypatch):
    path = tmp_path / "a.mkv"
    flashed = film(path, evenly(60, 6.0), 5.0, gap=(4.1, 4.19))
    monkeypatch.setattr(audio, "GAP_SECONDS", 0.1)
    assert max(errors(path, flashed)) > 1 / 60


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("late", ["sound", "picture"])
def test_a_loader_that_ignores_when_streams_begin_would_be_off_by_frames(tmp_path, monkeypatch, suffix, late):
    path = tmp_path / f"a.{suffix}"
    if late == "sound":
        flashed = film(path, evenly(24, 6.0), 3.0, sound_start=0.4)
    else:
        flashed = film(path, evenly(24, 6.0, begin=0.7), 3.0)
    assert max(errors(path, flashed)) < CLOSE
    timed = containers.timed

    def each_from_zero(file, stream):
        for time, frame in timed(file, stream):
            yield time - begin(stream) + file.origin, frame

    monkeypatch.setattr(containers, "timed", each_from_zero)
    assert max(errors(path, flashed)) > 1 / 24


def test_without_its_index_an_avi_that_leaves_out_frames_would_be_late(tmp_path, monkeypatch):
    path = tmp_path / "a.avi"
    flashed = film(path, evenly(24, 9.0), 1.0, 7.5)
    monkeypatch.setattr(containers, "late_seconds", lambda stream, packet: 0.0)
    assert max(errors(path, flashed)) > 0.5 / 24
