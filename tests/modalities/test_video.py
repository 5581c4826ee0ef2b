"""Claims about reading videos."""

import os
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from making_media import SOUND_HZ, tone, video

from mmssl.modalities.audio import decode_audio
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.video import aspect_of, decode_clips, decode_video, probe_video

KINDS = [("mp4", "libx264"), ("mov", "mpeg4"), ("mkv", "libx264"), ("webm", "libvpx"), ("gif", "gif")]


def code(number: int) -> int:
    """A brightness for each frame, far from that of its neighbours."""
    return 20 * (number * 5 % 12)


def seen(clip: np.ndarray) -> list[float]:
    """The brightness of each frame of a clip."""
    return [float(value) for value in clip.mean(axis=(1, 2, 3))]


@pytest.mark.parametrize("suffix, codec", KINDS)
@pytest.mark.parametrize("start", [0.0, 0.52, 2.2, 3.0])
def test_the_frames_shown_at_the_middle_of_equal_parts_are_chosen(tmp_path, suffix, codec, start):
    path = video(tmp_path / f"a.{suffix}", [code(number) for number in range(100)], codec=codec)
    clip = decode_video(path, 16, 4, start, 0.8)
    assert clip.shape == (4, 3, 16, 16)
    expected = [code(int((start + (part + 0.5) * 0.2) * 25 + 1e-6)) for part in range(4)]
    np.testing.assert_allclose(seen(clip), expected, atol=9)
    assert probe_video(path).video_seconds == pytest.approx(4.0, abs=0.05)


def test_frames_of_a_variable_rate_are_chosen_by_their_time_stamps(tmp_path):
    times = [0.0, 0.05, 0.1, 0.6, 0.62, 1.3, 1.9]
    path = video(tmp_path / "a.mkv", [10 + 30 * number for number in range(7)], times)
    clip = decode_video(path, 16, 10, 0.0, 2.0)
    expected = [10 + 30 * int(np.searchsorted(times, 0.1 + 0.2 * part + 1e-6) - 1) for part in range(10)]
    np.testing.assert_allclose(seen(clip), expected, atol=3)


def test_windows_read_in_one_pass_are_those_read_alone(tmp_path):
    path = video(tmp_path / "a.mp4", [code(number) for number in range(100)])
    starts = [0.0, 1.0, 2.0, 3.0]
    windows = [(start, 4.0) for start in starts]
    for start, clip in zip(starts, decode_clips(path, 16, 4, windows, 1.0), strict=True):
        np.testing.assert_array_equal(clip, decode_video(path, 16, 4, start, 1.0))


def test_more_frames_than_the_video_has_repeat_them(tmp_path):
    path = video(tmp_path / "a.mp4", [0, 100, 200], fps=3)
    np.testing.assert_allclose(seen(decode_video(path, 16, 6, 0.0, 1.0)), [0, 0, 100, 100, 200, 200], atol=3)


@pytest.mark.parametrize("suffix, codec", KINDS)
def test_a_video_of_one_frame_repeats_it(tmp_path, suffix, codec):
    path = video(tmp_path / f"a.{suffix}", [80], codec=codec)
    assert probe_video(path).video_seconds > 0
    np.testing.assert_allclose(seen(decode_video(path, 16, 3, 0.0, 1.0)), [80] * 3, atol=5)


def test_the_last_frame_is_repeated_in_a_window_that_is_not_full(tmp_path):
    path = video(tmp_path / "a.mp4", [10, 60, 110, 160, 210], fps=5)
    np.testing.assert_allclose(seen(decode_video(path, 16, 5, 0.6, 1.0)), [160, 210, 210, 210, 210], atol=3)
    with pytest.raises(BadSample, match=r"no frame from 1[.]5 s on"):
        decode_video(path, 16, 5, 1.5, 1.0)


@pytest.mark.parametrize("rotation, corner", [(0, (0, 0)), (90, (1, 0)), (180, (1, 1)), (-90, (0, 1))])
def test_a_rotated_video_is_turned_upright(tmp_path, rotation, corner):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, 8:32] = 255  # above left; the rotation turns it counter-clockwise
    path = video(tmp_path / "a.mp4", [0] * 3, rotation=rotation, frame=frame)
    quarter = decode_video(path, 48, 1, 0.0, 0.1)[0].mean(axis=0).reshape(2, 24, 2, 24).mean(axis=(1, 3))
    assert quarter[corner] > 200
    assert quarter.sum() - quarter[corner] < 30


def test_wide_frames_are_cut_off_around_the_centre(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, 8:-8] = 200
    clip = decode_video(video(tmp_path / "a.mp4", [0], frame=frame), 24, 1, 0.0, 0.1)
    assert clip[..., 1:-1].min() > 180


def sized(path, aspect: Fraction, frame: np.ndarray):
    """A video of one frame whose pixels are shown so much wider than high."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frame.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("size", [24, 48, 96])  # smaller than the frame, like it, larger
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(1)])
def test_pixels_that_are_not_square_are_shown_as_the_file_says(tmp_path, suffix, size, aspect):
    # a quarter of what is shown, in the middle, is white: a square of it, whatever the pixels are
    height, width = (64, 32) if aspect == 2 else (32, 64) if aspect == Fraction(1, 2) else (64, 64)
    frame = np.zeros((height, width, 3), np.uint8)
    frame[height // 4 : -height // 4, width // 4 : -width // 4] = 255
    shown = decode_video(sized(tmp_path / f"a.{suffix}", aspect, frame), size, 1, 0.0, 0.04)[0].mean(0)
    assert shown.shape == (size, size)
    rows, columns = (np.flatnonzero(shown.mean(axis) > 60) for axis in (1, 0))
    assert (rows[0], columns[0]) == pytest.approx((size / 4, size / 4), abs=size / 24 + 1)
    assert (rows[-1], columns[-1]) == pytest.approx((3 * size / 4, 3 * size / 4), abs=size / 24 + 1)


@pytest.mark.parametrize("aspect", [Fraction(17), Fraction(1, 17)])
def test_pixels_of_a_shape_that_cannot_be_are_refused(aspect):
    with pytest.raises(BadSample, match=f"pixels that are {float(aspect):g} times as wide as high"):
        aspect_of(SimpleNamespace(sample_aspect_ratio=aspect))
    assert aspect_of(SimpleNamespace(sample_aspect_ratio=None)) == 1.0


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("sound_start", [0.0, 0.25])
def test_a_flash_and_a_click_that_coincide_are_found_together(tmp_path, suffix, sound_start):
    flashes, fps = [0.48, 1.2, 2.6, 3.52], 25
    brightness = [255 if any(abs(n / fps - flash) < 0.5 / fps for flash in flashes) else 0 for n in range(100)]
    samples = np.zeros(round((4 - sound_start) * SOUND_HZ))
    for flash in flashes:
        at = round((flash - sound_start) * SOUND_HZ)
        samples[at : at + 960] = tone(0.02, 2000)
    codec = "libvpx" if suffix == "webm" else "libx264"
    path = video(tmp_path / f"a.{suffix}", brightness, fps=fps, codec=codec, sound=samples, sound_start=sound_start)
    clip = probe_video(path)
    assert (clip.video_start_seconds, clip.has_sound) == (0.0, True)
    assert clip.sound_start_seconds == pytest.approx(sound_start, abs=0.025)
    for start, flash in ((0.0, 0.48), (0.3, 0.48), (0.91, 1.2), (2.17, 2.6), (3.03, 3.52)):
        shown = np.array(seen(decode_video(path, 16, 80, start, 0.8)))
        heard = np.abs(decode_audio(path, 16000, start, 0.8))
        seen_at = start + (np.flatnonzero(shown > 128)[0]) * 0.01
        heard_at = start + np.flatnonzero(heard > 0.2)[0] / 16000
        assert seen_at == pytest.approx(flash, abs=0.02)
        assert heard_at == pytest.approx(seen_at, abs=0.02)


def test_a_picture_that_begins_after_the_sound_is_on_the_same_clock(tmp_path):
    times = [0.5 + number / 25 for number in range(50)]
    samples = np.concatenate([np.zeros(SOUND_HZ), tone(1.5)])
    path = video(tmp_path / "a.mkv", [0] * 13 + [255] * 37, times, sound=samples)  # bright and loud from 1.02 s on
    assert probe_video(path).video_start_seconds == pytest.approx(0.5, abs=0.02)
    shown, heard = decode_video(path, 16, 50, 0.8, 0.5), decode_audio(path, 16000, 0.8, 0.5)
    assert np.flatnonzero(np.array(seen(shown)) > 128)[0] * 0.01 + 0.8 == pytest.approx(1.02, abs=0.02)
    assert np.flatnonzero(np.abs(heard) > 0.2)[0] / 16000 + 0.8 == pytest.approx(1.0, abs=0.01)


def test_the_sound_may_end_before_the_picture(tmp_path):
    clip = probe_video(video(tmp_path / "a.mp4", [0] * 50, sound=tone(1.0)))
    assert (clip.video_seconds, clip.has_sound) == (pytest.approx(2.0), True)
    assert clip.sound_seconds == pytest.approx(1.0, abs=0.05)
    clip = probe_video(video(tmp_path / "a.mkv", [0] * 50, sound=tone(1.0)))  # says only how long both last
    assert (clip.video_seconds, clip.sound_seconds) == (pytest.approx(2.0, abs=0.05), pytest.approx(1.0, abs=0.05))
    assert not probe_video(video(tmp_path / "silent.mp4", [0] * 5)).has_sound


def test_a_file_of_sound_only_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        track = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
        block = av.AudioFrame.from_ndarray(tone(1.0)[None].astype(np.float32), format="fltp", layout="mono")
        block.sample_rate = SOUND_HZ
        container.mux(track.encode(block))
        container.mux(track.encode(None))
    for read in (probe_video, lambda path: decode_video(path, 16, 2, 0.0, 1.0)):
        with pytest.raises(BadSample, match="no video stream"):
            read(tmp_path / "a.mp4")


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
@pytest.mark.parametrize(
    "content", [b"", b"hello, I am a text\n" * 100, b"#EXTM3U\n#EXTINF:1,\n{}\n", b"ffconcat version 1.0\nfile '{}'\n"]
)
def test_texts_and_lists_of_other_files_are_no_video(tmp_path, suffix, content):
    other = video(tmp_path / "other.mp4", [0] * 5)
    (tmp_path / f"a.{suffix}").write_bytes(content.replace(b"{}", os.fsencode(other)))
    for read in (probe_video, lambda path: decode_video(path, 16, 2, 0.0, 1.0)):
        with pytest.raises(BadSample):
            read(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix, codec", KINDS)
def test_what_a_truncated_video_still_shows_is_right_and_the_rest_is_bad(tmp_path, suffix, codec):
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = video(tmp_path / f"whole.{suffix}", [0] * 100, codec=codec, frame=frame).read_bytes()
    for share in (0.01, 0.5):
        (tmp_path / f"a.{suffix}").write_bytes(data[: int(share * len(data))])
        with pytest.raises(BadSample):
            decode_video(tmp_path / f"a.{suffix}", 16, 2, 3.0, 1.0)


def test_damaged_bytes_never_end_in_anything_but_a_clip_or_a_bad_sample(tmp_path):
    generator = np.random.default_rng(0)
    for suffix, codec in KINDS:
        data = np.frombuffer(video(tmp_path / f"whole.{suffix}", range(0, 200, 10), codec=codec).read_bytes(), np.uint8)
        for _ in range(15):
            changed = data.copy()
            changed[generator.integers(0, len(data), 20)] = generator.integers(0, 256, 20)
            (tmp_path / f"a.{suffix}").write_bytes(changed.tobytes())
            try:
                probe_video(tmp_path / f"a.{suffix}")
                assert decode_video(tmp_path / f"a.{suffix}", 16, 2, 0.3, 0.5).shape == (2, 3, 16, 16)
            except BadSample:
                pass
