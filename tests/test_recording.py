"""Claims about recordings and ranges of them: a file comes back to the bit, and nonsense is named."""

import numpy as np
import pytest
import soundfile
from making_media import tone, video

from mmssl.errors import ConfigError, DataError
from mmssl.recording import Range, Recording, check_inside, ranges_of, recording


def test_ranges_are_read_in_order_and_those_that_touch_are_one():
    assert ranges_of("0.4-0.7") == [Range(0.4, 0.7)]
    assert ranges_of("1.0-1.2, 0.4-0.7") == [Range(0.4, 0.7), Range(1.0, 1.2)]
    assert ranges_of("0.4-0.7,0.6-0.9,0.9-1") == [Range(0.4, 1.0)]
    assert ranges_of("0-1,0.2-0.3") == [Range(0.0, 1.0)]


@pytest.mark.parametrize("text", ["", "0.4", "a-b", "0.4-0.7,", "0.4-0.5-0.6", "0.7-0.4", "0.4-0.4", "0-inf", "nan-1"])
def test_what_is_no_range_is_named_with_what_is_expected(text):
    with pytest.raises(ConfigError, match=r"--hide: .*expected seconds like 0.4-0.7") as caught:
        ranges_of(text)
    assert "\n" not in str(caught.value)


def test_a_file_comes_with_its_rate_and_channels(tmp_path):
    values = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", values, 11025, "FLOAT")
    found = recording(str(tmp_path / "a.wav"))
    assert np.array_equal(found.samples, values.T)
    assert found.rate_hz == 11025
    assert not found.is_of_16_bits
    assert found.seconds == pytest.approx(500 / 11025)
    soundfile.write(tmp_path / "b.wav", values, 11025, "PCM_16")
    assert recording(str(tmp_path / "b.wav")).is_of_16_bits


def test_a_file_that_only_ffmpeg_reads_is_read_too(tmp_path):
    video(tmp_path / "a.mp4", range(0, 200, 25), fps=8, sound=tone(1.0, 440.0))
    found = recording(str(tmp_path / "a.mp4"))
    assert found.samples.shape[0] == 1
    assert found.seconds == pytest.approx(1.0, abs=0.1)
    power = np.abs(np.fft.rfft(found.samples[0])) ** 2
    assert np.fft.rfftfreq(found.samples.shape[1], 1 / found.rate_hz)[power.argmax()] == pytest.approx(440, abs=3)


@pytest.mark.parametrize("content", [b"", b"not a sound"])
def test_what_is_no_sound_is_named(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"a.wav cannot be used: .*expected a readable sound"):
        recording(str(tmp_path / "a.wav"))
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan, np.float32), 8000, "FLOAT")
    with pytest.raises(DataError, match="not finite"):
        recording(str(tmp_path / "nan.wav"))


def test_a_range_outside_of_the_sound_or_between_two_samples_is_named():
    one = Recording(np.zeros((1, 8000), np.float32), 8000)
    check_inside("a.wav", one, [Range(0.0, 1.0)])
    with pytest.raises(ConfigError, match=r"0.9-1.1 ends after a.wav, which lasts 1 s"):
        check_inside("a.wav", one, [Range(0.1, 0.2), Range(0.9, 1.1)])
    with pytest.raises(ConfigError, match="holds no sample"):
        check_inside("a.wav", one, [Range(0.50001, 0.50002)])


def test_the_samples_inside_are_those_from_the_start_up_to_the_end():
    one = Recording(np.zeros((1, 10), np.float32), 10)
    assert one.inside([Range(0.2, 0.4), Range(0.9, 1.0)]).nonzero()[0].tolist() == [2, 3, 9]
