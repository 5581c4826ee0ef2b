"""Claims about reading sounds."""

import numpy as np
import pytest
import soundfile
from making_media import sound, tone, video

from mmssl.modalities.audio import decode_audio, probe_audio
from mmssl.modalities.bad_sample import BadSample

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a")


def written(path, seconds: float, hz: float = 440.0, rate_hz: int = 48000):
    """A tone in a file of any kind."""
    if path.suffix == ".m4a":
        mp4 = video(path.with_suffix(".mp4"), [0], sound=tone(seconds, hz))
        return mp4.rename(path)
    return sound(path, seconds, hz, rate_hz)


def loudest_hz(samples: np.ndarray, rate_hz: int) -> float:
    """The frequency with the most energy."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate_hz / len(samples))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_length_of_a_sound_is_known(tmp_path, suffix):
    assert probe_audio(written(tmp_path / f"a{suffix}", 1.5)) == pytest.approx(1.5, abs=0.06)


@pytest.mark.parametrize("native_hz", [8000, 11025, 16000, 22050, 44100, 44101, 48000, 96000, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_tone_keeps_its_frequency_phase_and_loudness_at_any_rate(tmp_path, native_hz, channels):
    path = sound(tmp_path / "a.wav", 2.0, 440.0, native_hz, channels)
    for start in (0.5, 0.61):
        samples = decode_audio(path, 16000, start, 1.0)
        assert samples.dtype == np.float32
        expected = 0.5 * np.sin(2 * np.pi * 440 * (round(start * native_hz) / native_hz + np.arange(16000) / 16000))
        np.testing.assert_allclose(samples, expected, atol=1e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_window_begins_where_it_is_asked_to_in_every_format(tmp_path, suffix):
    path = written(tmp_path / f"a{suffix}", 3.0)
    time = np.arange(8000) / 16000
    for start in (0.3, 1.0, 1.7, 2.2):
        samples = decode_audio(path, 16000, start, 0.5)
        phase = np.angle((samples * np.exp(-2j * np.pi * 440 * (start + time))).mean()) + np.pi / 2
        assert abs(phase) / (2 * np.pi * 440) < 1e-4
        assert loudest_hz(samples, 16000) == pytest.approx(440, abs=2)


def test_channels_are_averaged(tmp_path):
    one = tone(1.0, 440, 16000)
    soundfile.write(tmp_path / "a.wav", np.stack([one, np.zeros_like(one)], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(decode_audio(tmp_path / "a.wav", 16000, 0.0, 1.0), one / 2, atol=1e-6)


def stereo(path, *hertz: float, native_hz: int = 48000):
    """A tone in each channel; what is no libsndfile's by its suffix is a wav all the same, and read by FFmpeg."""
    values = np.stack([tone(2.0, hz, native_hz) for hz in hertz], axis=1)
    soundfile.write(path, values, native_hz, subtype="FLOAT", format="WAV")
    return path


@pytest.mark.parametrize("suffix", [".wav", ".mp4"])
@pytest.mark.parametrize("native_hz", [16000, 44100])
def test_two_channels_are_kept_and_are_each_what_it_is_alone(tmp_path, suffix, native_hz):
    left, right = (stereo(tmp_path / f"{hz}{suffix}", hz, native_hz=native_hz) for hz in (440.0, 1000.0))
    path = stereo(tmp_path / f"a{suffix}", 440.0, 1000.0, native_hz=native_hz)
    both = decode_audio(path, 16000, 0.3, 1.0, 2)
    assert both.shape == (2, 16000)
    assert both.dtype == np.float32
    for row, alone in zip(both, (left, right), strict=True):
        np.testing.assert_array_equal(row, decode_audio(alone, 16000, 0.3, 1.0))
    np.testing.assert_allclose(both.mean(0), decode_audio(path, 16000, 0.3, 1.0), atol=1e-5)
    # behind the end are zeros in both
    assert not decode_audio(path, 16000, 1.5, 1.0, 2)[:, 8100:].any()


def test_a_mono_sound_is_twice_the_same(tmp_path):
    path = sound(tmp_path / "a.wav", 1.0)
    mono = decode_audio(path, 16000, 0.0, 1.0)
    np.testing.assert_array_equal(decode_audio(path, 16000, 0.0, 1.0, 2), np.stack([mono, mono]))


def test_what_lies_behind_the_first_two_channels_is_heard_in_both(tmp_path):
    values = np.zeros((16000, 6), np.float32)
    values[:] = [0.4, -0.2, 0.1, 0.0, 0.3, 0.05]
    soundfile.write(tmp_path / "a.wav", values, 16000, subtype="FLOAT")
    left, right = decode_audio(tmp_path / "a.wav", 16000, 0.0, 1.0, 2)
    np.testing.assert_allclose(left, (0.4 + 0.45) / 5, rtol=1e-6)
    np.testing.assert_allclose(right, (-0.2 + 0.45) / 5, rtol=1e-6)


def test_a_window_is_cut_to_the_sample(tmp_path):
    values = np.random.default_rng(0).uniform(-1, 1, 16000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", values, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(decode_audio(tmp_path / "a.wav", 16000, 0.25, 0.5), values[4000:12000])


def test_a_frequency_above_the_new_limit_is_gone(tmp_path):
    path = sound(tmp_path / "a.wav", 1.0, 15000, 48000)
    assert np.abs(decode_audio(path, 16000, 0.2, 0.5)).max() < 1e-2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_behind_the_end_are_zeros(tmp_path, suffix):
    path = written(tmp_path / f"a{suffix}", 0.5)
    samples = decode_audio(path, 16000, 0.0, 1.0)
    assert len(samples) == 16000
    assert np.abs(samples[9600:]).max() == 0
    assert np.sqrt(np.mean(samples[800:7200] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    with pytest.raises(BadSample, match="no sample from 2 s on"):
        decode_audio(path, 16000, 2.0, 1.0)


@pytest.mark.parametrize("length", [1, 2, 7999])
def test_a_sound_shorter_than_the_window_is_padded(tmp_path, length):
    soundfile.write(tmp_path / "a.wav", np.full(length, 0.25), 8000, subtype="FLOAT")
    samples = decode_audio(tmp_path / "a.wav", 8000, 0.0, 1.0)
    np.testing.assert_array_equal(samples, np.where(np.arange(8000) < length, np.float32(0.25), 0))
    assert len(decode_audio(tmp_path / "a.wav", 16000, 0.0, 1.0)) == 16000


def test_louder_than_one_is_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", 4 * tone(1.0, 440, 16000), 16000, subtype="FLOAT")
    assert np.abs(decode_audio(tmp_path / "a.wav", 16000, 0.0, 1.0)).max() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_bad(tmp_path, value):
    values = np.zeros(16000)
    values[8000] = value
    soundfile.write(tmp_path / "a.wav", values, 16000, subtype="FLOAT")
    with pytest.raises(BadSample, match="not finite"):
        decode_audio(tmp_path / "a.wav", 16000, 0.0, 1.0)
    assert decode_audio(tmp_path / "a.wav", 16000, 0.0, 0.25).max() == 0


def test_a_sound_of_no_sample_is_bad(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    for read in (probe_audio, lambda path: decode_audio(path, 16000, 0.0, 1.0)):
        with pytest.raises(BadSample, match="no sample"):
            read(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"hello, I am a text\n" * 100, b"#EXTM3U\nhttp://127.0.0.1/a.ts\n"])
def test_what_is_no_sound_is_bad_whatever_its_suffix(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(content)
    for read in (probe_audio, lambda path: decode_audio(path, 16000, 0.0, 1.0)):
        with pytest.raises(BadSample):
            read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".flac", ".m4a"])
def test_a_truncated_sound_is_bad(tmp_path, suffix):
    data = written(tmp_path / f"whole{suffix}", 2.0).read_bytes()
    (tmp_path / f"a{suffix}").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadSample):
        decode_audio(tmp_path / f"a{suffix}", 16000, 1.2, 0.5)


def test_a_video_without_a_sound_track_has_no_sound(tmp_path):
    path = video(tmp_path / "a.mp4", [0] * 10)
    for read in (probe_audio, lambda path: decode_audio(path, 16000, 0.0, 1.0)):
        with pytest.raises(BadSample, match="no sound"):
            read(path)
