"""Claims about log-mel spectrograms: where a tone lands, what they do not depend on, and the way back to sound."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmssl.errors import ConfigError
from mmssl.spectrogram import DEVIATION_DECIBELS, FLOOR_DECIBELS, MEAN_DECIBELS, LogMel

SETTINGS = [(16000, 64, 0.01), (8000, 128, 0.01), (11025, 40, 0.0125), (48000, 128, 0.02), (1000, 64, 0.01)]


def sine(hertz: float, rate_hz: int, seconds: float = 1.0, amplitude: float = 0.3) -> torch.Tensor:
    """A tone, (1, T)."""
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(round(rate_hz * seconds)) / rate_hz)[None]


def noise(count: int, length: int, deviation: float = 0.1) -> torch.Tensor:
    """White noise, (B, T)."""
    return torch.randn(count, length, generator=torch.Generator().manual_seed(0)) * deviation


def hertz_of(band: float, rate_hz: int, bands: int) -> float:
    """The middle of a band: on the mel scale they are evenly spaced from 0 Hz to rate_hz / 2."""
    return 700 * ((1 + rate_hz / 2 / 700) ** ((band + 1) / (bands + 1)) - 1)


def resolution(log_mel: LogMel, band: int) -> float:
    """What tones are told apart by, in Hz: the distance of two bands, or what the window can tell."""
    distance = hertz_of(band + 1, log_mel.rate_hz, log_mel.bands) - hertz_of(band, log_mel.rate_hz, log_mel.bands)
    return max(distance, 0.5 * log_mel.rate_hz / log_mel.window)


@pytest.mark.parametrize("rate_hz, bands, hop_seconds", SETTINGS)
@pytest.mark.parametrize("share", [0.05, 0.2, 0.6, 0.9])
def test_a_tone_lands_in_the_band_of_its_frequency(rate_hz, bands, hop_seconds, share):
    log_mel, hertz = LogMel(rate_hz, bands, hop_seconds), share * rate_hz / 2
    reached = int(log_mel(sine(hertz, rate_hz))[0].mean(0).argmax())
    assert abs(hertz_of(reached, rate_hz, bands) - hertz) <= resolution(log_mel, reached)


@pytest.mark.parametrize("rate_hz, bands, hop_seconds", SETTINGS)
def test_white_noise_has_its_variance_in_decibels_in_every_band(rate_hz, bands, hop_seconds):
    columns = LogMel(rate_hz, bands, hop_seconds)(noise(1, 8 * rate_hz))
    decibels = columns[:, 2:-2] * DEVIATION_DECIBELS + MEAN_DECIBELS
    power = (10 ** (decibels.double() / 10)).mean((0, 1))
    assert abs(10 * power.mean().log10() + 20) < 0.2
    assert ((10 * power[bands // 2 :].log10() + 20).abs() < 1.5).all()


def test_silence_is_the_floor():
    silence = LogMel(16000, 64, 0.01)(torch.zeros(2, 16000))
    floor = (FLOOR_DECIBELS - MEAN_DECIBELS) / DEVIATION_DECIBELS
    torch.testing.assert_close(silence, torch.full_like(silence, floor))
    assert LogMel(16000, 64, 0.01).to_waveform(silence).abs().max() < 1e-3


def test_a_batch_equals_its_sounds_one_by_one():
    log_mel, waveform = LogMel(16000, 64, 0.01), noise(5, 8000)
    alone = torch.cat([log_mel(one[None]) for one in waveform])
    torch.testing.assert_close(log_mel(waveform), alone, rtol=0, atol=1e-4)


def test_portions_change_nothing(monkeypatch):
    sounds = torch.randn(5, 2, 3000, generator=torch.Generator().manual_seed(0))
    log_mel, sizes, stft = LogMel(8000, 32, 0.01), [], torch.stft
    monkeypatch.setattr(torch, "stft", lambda part, *rest, **more: sizes.append(len(part)) or stft(part, *rest, **more))
    whole = log_mel(sounds)
    monkeypatch.setattr("mmssl.spectrogram.AT_ONCE", 10_000)  # three of ten
    torch.testing.assert_close(log_mel(sounds), whole, atol=1e-5, rtol=0)
    monkeypatch.setattr("mmssl.spectrogram.AT_ONCE", 10)  # a sound at least
    torch.testing.assert_close(log_mel(sounds), whole, atol=1e-5, rtol=0)
    assert sizes == [10, 3, 3, 3, 1, *[1] * 10]


def test_autocast_does_not_coarsen_a_spectrogram():
    log_mel, waveform = LogMel(16000, 64, 0.01), noise(2, 8000)
    with torch.autocast("cpu", torch.bfloat16):
        under = log_mel(waveform)
    assert under.dtype == torch.float32
    assert torch.equal(under, log_mel(waveform))


@settings(max_examples=60)
@given(
    st.sampled_from([1000, 4000, 8000, 11025, 16000, 22050, 44100, 48000]),
    st.sampled_from([0.1, 0.2, 0.25, 0.5, 1.0, 1.6, 2.04, 3.0]),
    st.sampled_from([0.005, 0.01, 0.0125, 0.016, 0.02]),
    st.sampled_from([1, 16, 64, 128]),
)
def test_there_are_as_many_columns_as_hops_in_the_time(rate_hz, seconds, hop_seconds, bands):
    hops = seconds / hop_seconds
    if abs(hops % 1 - 0.5) < 0.01:
        return  # a tie: the samples do not tell to which side it was rounded
    columns = LogMel(rate_hz, bands, hop_seconds)(noise(1, round(rate_hz * seconds)))
    assert columns.shape == (1, round(hops), bands)
    assert columns.isfinite().all()


@pytest.mark.parametrize("length", [1, 7, 100])
def test_a_sound_shorter_than_a_window_has_a_column(length):
    assert LogMel(16000, 64, 0.01)(noise(1, length)).shape == (1, 1, 64)


@pytest.mark.parametrize("rate_hz", [16000, 11025])  # 11025: a hop of 110.25 samples
def test_columns_stay_in_time_however_long_the_sound(rate_hz):
    waveform = torch.zeros(1, 20 * rate_hz)
    for second in range(1, 20):
        waveform[0, second * rate_hz] = 1.0
    loudness = LogMel(rate_hz, 32, 0.01)(waveform)[0].mean(1)
    assert loudness.shape == (2000,)
    for second in range(1, 20):
        around = loudness[100 * second - 20 : 100 * second + 20]
        assert abs(around.argmax() - 20) <= 1


@pytest.mark.parametrize("rate_hz, bands, hop_seconds", SETTINGS)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_the_way_back_keeps_a_tones_frequency_and_loudness(rate_hz, bands, hop_seconds, share):
    log_mel, hertz = LogMel(rate_hz, bands, hop_seconds), share * rate_hz / 2
    there = log_mel(sine(hertz, rate_hz))
    back = log_mel.to_waveform(there)
    assert back.shape == (1, rate_hz)
    assert abs(log_mel(back)[0].mean(0).argmax() - there[0].mean(0).argmax()) <= 1
    heard = float(torch.fft.rfft(back[0]).abs().argmax())  # in Hz: the sound lasts a second
    assert abs(heard - hertz) <= resolution(log_mel, int(there[0].mean(0).argmax()))
    assert 0.7 < back.std() / (0.3 / 2**0.5) < 1.4


def test_the_way_back_is_the_same_each_time_and_leaves_the_generator_alone():
    log_mel = LogMel(8000, 40, 0.01)
    spectrogram = log_mel(noise(2, 4000))
    torch.manual_seed(1)
    first, number = log_mel.to_waveform(spectrogram), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), number)
    torch.manual_seed(2)
    assert torch.equal(log_mel.to_waveform(spectrogram), first)


def test_the_way_back_survives_what_no_sound_has():
    log_mel = LogMel(8000, 40, 0.01)
    wild = torch.stack([torch.full((30, 40), 50.0), torch.full((30, 40), -50.0)])
    assert log_mel.to_waveform(wild).isfinite().all()


def test_a_hop_shorter_than_a_sample_is_refused():
    with pytest.raises(ConfigError, match=r"audio.hop_seconds: 0.0001; expected at least a sample, 1 / 8000 seconds"):
        LogMel(8000, 40, 0.0001)
