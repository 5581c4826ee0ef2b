"""Claims about which frame is shown at a time, whatever the rate, size, container and key frames, and what it costs."""

from pathlib import Path

import numpy as np
import pytest
from making_videos import FORMATS, at_rate, code, film, flat, moving

from mmssl.modalities import containers
from mmssl.modalities.video import decode_clips, decode_video, probe_video

RATES_HZ = [1, 5, 24000 / 1001, 30000 / 1001, 50, 120]


def seen(clip: np.ndarray) -> list[float]:
    """The brightness of each frame of a clip."""
    return [float(value) for value in clip.mean(axis=(1, 2, 3))]


def shown(times: list[float], asked: np.ndarray) -> list[int]:
    """The brightness of the last frame whose time is not after each time that is asked for."""
    return [code(int(number)) for number in np.searchsorted(times, asked + 1e-6, side="right") - 1]


def middles(start: float, seconds: float, frames: int) -> np.ndarray:
    """The times that a clip shows."""
    return start + (np.arange(frames) + 0.5) * seconds / frames


@pytest.fixture
def decoded(monkeypatch) -> list[float]:
    """The time of each frame that was decoded."""
    times: list[float] = []
    timed = containers.timed

    def counted(file, stream):
        for time, frame in timed(file, stream):
            times.append(time)
            yield time, frame

    monkeypatch.setattr(containers, "timed", counted)
    return times


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_every_native_rate_shows_the_frame_of_the_time_from_the_beginning_and_after_a_seek(tmp_path, rate_hz):
    count = max(8, round(8 * rate_hz))
    times = at_rate(count, rate_hz)
    path = film(tmp_path / "a.mp4", flat(count), times, codec="libx264")
    for start in (0.0, 2.0, 5.37):
        expected = shown(times, middles(start, 1.5, 9))
        np.testing.assert_allclose(seen(decode_video(path, 16, 9, start, 1.5)), expected, atol=4)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("begin", [0.0, 3.2, 1000.0])
def test_a_variable_rate_with_a_late_first_time_stamp_is_read_by_time_from_the_first_frame_on(tmp_path, suffix, begin):
    gaps = np.random.default_rng(0).choice([0.04, 0.1, 0.5, 1.1], 60)
    times = np.concatenate([[0.0], gaps.cumsum()])
    path = film(tmp_path / f"a.{suffix}", flat(61), list(begin + times), codec="libx264")
    clip = probe_video(path)
    assert (clip.video_start_seconds, clip.video_seconds) == (0.0, pytest.approx(times[-1], abs=0.5))
    for start in (0.0, 3.0, 14.2, 16.9):
        expected = shown(list(times), middles(start, 3.0, 10))
        np.testing.assert_allclose(seen(decode_video(path, 16, 10, start, 3.0)), expected, atol=4)


def test_the_rate_alone_would_show_other_frames(tmp_path):
    times = [0.0, 0.1, 0.2, 0.3, 2.0, 2.1, 2.2, 2.3]
    path = film(tmp_path / "a.mkv", flat(8), times)
    found = seen(decode_video(path, 16, 4, 0.0, 2.4))
    np.testing.assert_allclose(found, shown(times, middles(0.0, 2.4, 4)), atol=4)
    evenly = [code(int(number)) for number in middles(0.0, 2.4, 4) / 0.3]
    assert np.abs(np.array(found) - evenly).max() > 20


@pytest.mark.parametrize("size", [(63, 47), (17, 101), (1, 1), (2, 300), (301, 2)])
def test_odd_sizes_are_read(tmp_path, size):
    path = film(tmp_path / "a.mkv", flat(5, size), at_rate(5, 5), codec="ffv1", pixels="bgr0")
    for side in (8, 64):
        found = decode_video(path, side, 5, 0.0, 1.0)
        assert found.shape == (5, 3, side, side)
        np.testing.assert_allclose(seen(found), [code(number) for number in range(5)], atol=2)


@pytest.mark.parametrize(
    "suffix, codec, pixels",
    [
        *(("mkv", "ffv1", pixels) for pixels in ("yuv420p10le", "yuv444p10le", "gray10le")),
        ("mp4", "libx264", "yuv420p10le"), ("mp4", "libx265", "yuv420p10le"), ("mp4", "libsvtav1", "yuv420p10le"),
        ("mov", "prores_ks", "yuv422p10le"),
    ],
)  # fmt: skip
def test_ten_bits_become_eight(tmp_path, suffix, codec, pixels):
    path = film(tmp_path / f"a.{suffix}", flat(5), at_rate(5, 5), codec=codec, pixels=pixels)
    np.testing.assert_allclose(seen(decode_video(path, 16, 5, 0.0, 1.0)), [code(n) for n in range(5)], atol=3)


def test_a_frame_that_shrinks_is_the_mean_of_areas_and_one_that_grows_is_smooth(tmp_path):
    tile = np.kron(np.indices((6, 6)).sum(axis=0) % 2, np.ones((8, 8)))[..., None] * np.full(3, 255)
    path = film(tmp_path / "a.mkv", [tile.astype(np.uint8)], [0.0], codec="ffv1", pixels="bgr0")
    np.testing.assert_allclose(decode_video(path, 6, 1, 0.0, 0.1)[0, 0], tile[4::8, 4::8, 0], atol=2)
    np.testing.assert_allclose(decode_video(path, 3, 1, 0.0, 0.1), 127.5, atol=2)
    grown = decode_video(path, 96, 1, 0.0, 0.1)[0, 0].astype(float)
    np.testing.assert_allclose(grown[8::16, 8::16], tile[4::8, 4::8, 0], atol=3)


@pytest.mark.parametrize("suffix, codec", FORMATS)
def test_what_moves_over_a_still_ground_is_whole_after_a_seek(tmp_path, suffix, codec):
    path = film(tmp_path / f"a.{suffix}", moving(200), at_rate(200, 25), codec=codec, gop=50)
    first = decode_video(path, 48, 200, 0.0, 8.0).astype(int)
    for windows in ([(7.0, 8.0)], [(0.0, 8.0), (1.1, 8.0), (4.3, 8.0), (7.0, 8.0)]):
        for (start, _), clip in zip(windows, decode_clips(path, 48, 4, windows, 1.0), strict=True):
            expected = first[(middles(start, 1.0, 4) * 25 + 1e-6).astype(int)]
            assert np.abs(clip - expected).max() <= (8 if suffix == "webm" else 1), (start, suffix)


@pytest.mark.parametrize("suffix, codec", FORMATS[:-1])
def test_frames_between_windows_far_apart_are_not_decoded(tmp_path, decoded, monkeypatch, suffix, codec):
    path = film(tmp_path / f"a.{suffix}", flat(1320), at_rate(1320, 2), codec=codec, gop=20)
    windows = [(0.0, 660.0), (600.0, 660.0)]
    clips = list(decode_clips(path, 16, 4, windows, 1.0))
    assert len(decoded) < 50
    decoded.clear()
    monkeypatch.setattr(containers, "is_sought", lambda *_: False)
    np.testing.assert_array_equal(list(decode_clips(path, 16, 4, windows, 1.0)), clips)
    assert len(decoded) > 1200


def test_windows_that_follow_each_other_are_decoded_once(tmp_path, decoded):
    path = film(tmp_path / "a.mp4", moving(500), at_rate(500, 25), codec="libx264", gop=250)
    list(decode_clips(path, 16, 4, [(start, 20.0) for start in np.arange(0.0, 20.0, 1.0)], 1.0))
    assert 490 <= len(decoded) <= 500
    decoded.clear()  # no key frame between: what was decoded is not decoded again
    list(decode_clips(path, 16, 4, [(start, 20.0) for start in (0.0, 3.0, 6.0, 9.0)], 1.0))
    assert 240 <= len(decoded) <= 251


def test_a_file_of_ten_hours_is_opened_and_read_quickly_wherever_its_windows_lie(tmp_path: Path, decoded):
    for suffix in ("mp4", "mkv"):
        path = film(tmp_path / f"a.{suffix}", flat(600), at_rate(600, 1 / 60), gop=10)
        assert probe_video(path).video_seconds == pytest.approx(36000, abs=61)
        decoded.clear()
        asked = [0.0, 10_000.0, 20_010.0, 35_000.0]
        for clip, start in zip(decode_clips(path, 16, 2, [(s, 36e3) for s in asked], 1.0), asked, strict=True):
            np.testing.assert_allclose(seen(clip), [code(int(start / 60))] * 2, atol=4)
        assert len(decoded) < 50
