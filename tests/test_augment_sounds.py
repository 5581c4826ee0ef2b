"""Claims about views of sounds: what each operation does, measured, and what a view does and does not depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from mmssl.augment_sounds import (
    Span,
    draw_gain,
    draw_mix,
    draw_snr,
    draw_span,
    draw_spans,
    draw_start,
    enlarged,
    hidden,
    louder,
    mixed,
    neighbours,
    noise_from,
    spectrogram_view,
    waveform_view,
    with_noise,
)
from mmssl.crop import window
from mmssl.random import Draw
from mmssl.sections import SoundsConfig
from mmssl.spectrogram import DEVIATION_DECIBELS, MEAN_DECIBELS, LogMel

NONE = {"smallest_length": 1.0, "smallest_bands": 1.0, "gain_decibels": 0.0, "largest_mix": 0.0}
ALL = SoundsConfig(noise_ratio=0.5, time_masks=2, band_masks=1)
UNMIXED = ALL.model_copy(update={"largest_mix": 0.0})
LOG_MEL = LogMel(2000, 16, 0.05)


def only(**changed) -> SoundsConfig:
    """Nothing but one operation."""
    return SoundsConfig(**{**NONE, **changed})


def sounds(count: int, length: int = 2000, channels: int = 0) -> Tensor:
    """White noise of a deviation of 0.1, each sample with a loudness of its own."""
    shape = (count, *([channels] if channels else []), length)
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return values * torch.linspace(0.02, 0.2, count).reshape(count, *[1] * (len(shape) - 1))


def samples(count: int, first: int = 0, seed: int = 5) -> Draw:
    """The draws of some samples."""
    return Draw(seed, torch.zeros(count, dtype=torch.long), torch.arange(first, first + count))


def view_of(sound: Tensor, draw: Draw, view: int, config: SoundsConfig, length: int = 1200) -> Tensor:
    """A whole view: the waveform's part and the spectrogram's."""
    return spectrogram_view(
        LOG_MEL(waveform_view(sound, draw, view, config, length)), draw, view, config, is_resized=True
    )


def decibels(sound: Tensor) -> Tensor:
    """The power of each sample."""
    return 10 * sound.flatten(1).square().mean(1).log10()


@pytest.mark.parametrize("channels", [0, 2])
@settings(max_examples=8)
@given(order=st.permutations(range(12)), at=st.integers(1, 11))
def test_an_unmixed_view_depends_neither_on_the_batch_nor_on_the_order(channels, order, at):
    sound, draw = sounds(12, channels=channels), samples(12)
    whole = view_of(sound, draw, 1, UNMIXED)
    for rows in (order[:at], order[at:]):
        part = view_of(sound[rows], Draw(draw.seed, draw.epoch[rows], draw.index[rows]), 1, UNMIXED)
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=2e-5)


@pytest.mark.parametrize("view", range(4))
def test_a_mixed_view_of_fours_in_a_batch_is_that_of_the_fours_alone(view):
    sound, draw = sounds(10), samples(10)
    whole = view_of(sound, draw, view, ALL)
    for rows in (slice(0, 4), slice(4, 10), slice(4, 8)):
        alone = view_of(sound[rows], Draw(5, draw.epoch[rows], draw.index[rows]), view, ALL)
        torch.testing.assert_close(alone, whole[rows], rtol=0, atol=2e-5)
    # the control: where fours are torn apart, some have another neighbour
    torn = view_of(sound[2:6], Draw(5, draw.epoch[2:6], draw.index[2:6]), view, ALL)
    assert torch.allclose(torn, whole[2:6], rtol=0, atol=2e-5) is (view % 3 == 0)


def test_neighbours_are_others_of_the_same_four_and_in_each_of_three_views_another():
    assert neighbours(6, 0).tolist() == [1, 0, 3, 2, 5, 4]
    assert neighbours(6, 1).tolist() == [2, 3, 0, 1, 4, 5]  # 6 and 7 are not there: the last two are alone
    assert neighbours(6, 2).tolist() == [3, 2, 1, 0, 4, 5]
    assert neighbours(6, 3).tolist() == neighbours(6, 0).tolist()
    assert neighbours(1, 0).tolist() == [0]


def test_views_epochs_samples_and_seeds_differ():
    sound = sounds(1).expand(8, -1)
    reference = view_of(sound, samples(8), 0, UNMIXED)
    assert torch.equal(view_of(sound, samples(8), 0, UNMIXED), reference)
    others = {
        "view": view_of(sound, samples(8), 1, UNMIXED),
        "epoch": view_of(sound, Draw(5, torch.ones(8, dtype=torch.long), torch.arange(8)), 0, UNMIXED),
        "sample": view_of(sound, samples(8, first=8), 0, UNMIXED),
        "seed": view_of(sound, samples(8, seed=6), 0, UNMIXED),
    }
    for other in others.values():
        assert ((other - reference).abs().amax((1, 2)) > 0.05).all()


@pytest.mark.parametrize("channels", [0, 2])
def test_a_config_of_nothing_changes_nothing(channels):
    sound = sounds(5, channels=channels)
    heard = waveform_view(sound, samples(5), 0, only(), 2000)
    assert torch.equal(heard, sound)
    spectrogram = LOG_MEL(sound)
    assert torch.equal(spectrogram_view(spectrogram, samples(5), 0, only(), is_resized=True), spectrogram)


def test_the_input_is_kept():
    sound = sounds(8)
    before = sound.clone()
    spectrogram = LOG_MEL(waveform_view(sound, samples(8), 0, ALL, 2000))
    same = spectrogram.clone()
    spectrogram_view(spectrogram, samples(8), 0, ALL, is_resized=True)
    assert torch.equal(sound, before)
    assert torch.equal(spectrogram, same)


def test_autocast_does_not_coarsen_a_view():
    with torch.autocast("cpu", torch.bfloat16):
        view = view_of(sounds(4), samples(4), 0, ALL)
    assert torch.equal(view, view_of(sounds(4), samples(4), 0, ALL))


def test_a_window_is_cut_to_the_sample_and_windows_begin_anywhere():
    sound, draw = sounds(400), samples(400)
    start = draw_start(draw, 0, 800)
    view = waveform_view(sound, draw, 0, only(), 1200)
    for row in range(0, 400, 37):
        assert torch.equal(view[row], sound[row, start[row] : start[row] + 1200])
    assert torch.equal(window(sound[:, None], start, 1200, 2)[:, 0], view)
    assert 0 <= start.min() < 8
    assert 792 < start.max() <= 800
    assert abs(start.double().mean() - 400) < 4 * 800 / 12**0.5 / 400**0.5


def test_the_gain_that_is_drawn_is_heard_in_decibels():
    sound, draw = sounds(300), samples(300)
    gain = draw_gain(draw, 0, 6.0)
    view = waveform_view(sound, draw, 0, only(gain_decibels=6.0), 2000)
    torch.testing.assert_close(decibels(view) - decibels(sound), gain, rtol=0, atol=1e-4)
    assert -6 <= gain.min() < -5.8
    assert 5.8 < gain.max() < 6
    assert abs(gain.mean()) < 4 * 12 / 12**0.5 / 300**0.5
    ten_times = louder(torch.ones(1, 1, 3), torch.tensor([20.0]))
    torch.testing.assert_close(ten_times, torch.full((1, 1, 3), 10.0))


def test_the_signal_to_noise_ratio_is_the_one_that_is_drawn():
    sound, draw = sounds(200, channels=2), samples(200)
    config = only(noise_ratio=1.0, snr_decibels=(3.0, 20.0))
    view = waveform_view(sound, draw, 0, config, 2000)
    snr = draw_snr(draw, 0, config)
    torch.testing.assert_close(decibels(sound) - decibels(view - sound), snr, rtol=0, atol=0.01)
    assert 3 <= snr.min() < 3.5
    assert 19.5 < snr.max() <= 20


def test_noise_is_white_its_channels_do_not_correlate_and_samples_hear_other_noise():
    offset = samples(60).integers("offset", 2**18, 2)
    noise = noise_from(3, offset, 4000, torch.device("cpu"))
    assert noise.shape == (60, 2, 4000)
    torch.testing.assert_close(noise.square().mean(), torch.tensor(1.0), rtol=0, atol=0.02)
    power = torch.fft.rfft(noise.double()).abs().square().mean((0, 1))[1:-1]
    assert (power / power.mean() - 1).abs().max() < 0.6  # of 120 periodograms each
    both = noise.flatten(0, 1).corrcoef() - torch.eye(120)
    assert both.abs().median() < 0.02
    assert torch.equal(noise, noise_from(3, offset, 4000, torch.device("cpu")))
    assert not torch.equal(noise, noise_from(4, offset, 4000, torch.device("cpu")))


def test_silence_stays_silence():
    silence = torch.zeros(4, 2000)
    assert torch.equal(waveform_view(silence, samples(4), 0, only(noise_ratio=1.0, gain_decibels=6.0), 2000), silence)
    assert with_noise(torch.zeros(2, 1, 9), torch.ones(2, 1, 9), torch.zeros(2)).abs().max() == 0
    found = view_of(silence, samples(4), 0, ALL)
    torch.testing.assert_close(found, torch.full_like(found, -1.75))


@pytest.mark.parametrize("ratio", [0.3, 1.0])
def test_a_ratio_is_the_share_of_views_with_noise_and_the_others_keep_every_bit(ratio):
    sound = sounds(400, 100)
    same = (waveform_view(sound, samples(400), 0, only(noise_ratio=ratio), 100) == sound).all(1)
    assert abs((~same).float().mean() - ratio) <= 4 * (ratio * (1 - ratio) / 400) ** 0.5


def test_mixing_adds_the_powers_of_each_band_by_their_shares_as_in_byol_a():
    time = torch.arange(4000) / 2000
    tones = 0.3 * torch.sin(2 * torch.pi * torch.tensor([200.0, 700.0])[:, None] * time)
    share = torch.tensor([0.4, 0.1])
    found = LOG_MEL(mixed(tones[:, None], share, 0)[:, 0])[:, 5:-5]
    power = 10 ** ((LOG_MEL(tones)[:, 5:-5] * DEVIATION_DECIBELS + MEAN_DECIBELS) / 10)
    expected = (1 - share)[:, None, None] * power + share[:, None, None] * power.flip(0)
    expected = (10 * expected.log10() - MEAN_DECIBELS) / DEVIATION_DECIBELS
    loud = expected > -1.0
    assert loud.sum() > 100
    torch.testing.assert_close(found[loud], expected[loud], rtol=0, atol=0.1)  # 2 dB, where both tones reach a band
    assert (found - LOG_MEL(tones)[:, 5:-5])[loud].abs().max() > 0.5


def test_a_sample_without_a_neighbour_is_not_mixed_and_shares_fill_their_range():
    sound = sounds(3)
    view = waveform_view(sound, samples(3), 0, only(largest_mix=0.4), 2000)
    assert torch.equal(view[2], sound[2])
    assert (view[:2] != sound[:2]).any(1).all()
    share = draw_mix(samples(2000), 0, 0.4)
    assert 0 <= share.min() < 0.001
    assert 0.399 < share.max() < 0.4
    assert abs(share.mean() - 0.2) < 4 * 0.4 / 12**0.5 / 2000**0.5


@pytest.mark.parametrize("axis", [-2, -1])
def test_a_window_of_whole_numbers_is_enlarged_as_torch_does_it(axis):
    values = torch.randn(3, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    start, length = torch.tensor([0, 4, 9]), torch.tensor([24, 12, 15])
    found = enlarged(values, Span(start / 24, length / 24), axis)
    for row in range(3):
        part = values[row].narrow(axis, int(start[row]), int(length[row]))
        size = (24, part.shape[-1]) if axis == -2 else (part.shape[-2], 24)
        expected = interpolate(part[None], size, mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-4)
    assert torch.equal(enlarged(values[:, 0], Span(start / 24, length / 24), axis), found[:, 0])  # mono


def test_drawn_spans_lie_in_the_axis_and_their_lengths_are_uniform():
    span = draw_span(samples(3000), "window", 0.6)
    assert (span.start >= 0).all()
    assert (span.start + span.length <= 1 + 1e-6).all()
    assert 0.6 <= span.length.min() < 0.602
    assert 0.998 < span.length.max() <= 1
    assert abs(span.length.mean() - 0.8) < 4 * 0.4 / 12**0.5 / 3000**0.5


def test_masks_are_spans_of_zero_to_the_widest_each_as_often():
    found = draw_spans(samples(4000), "mask", 1, 0.25, 16)  # 0 to 4 of 16
    assert found.shape == (4000, 16)
    counts = found.sum(1).bincount()
    assert len(counts) == 5
    assert ((counts - 800).abs() < 4 * (4000 * 0.2 * 0.8) ** 0.5).all()
    assert (found[:, 1:] & ~found[:, :-1]).sum(1).max() == 1  # one piece
    share = found.float().mean(0)  # by hand, the first and a middle place: sum over widths of 1/5 P(covered)
    first = sum(1 / (17 - width) for width in range(1, 5)) / 5
    middle = sum(width / (17 - width) for width in range(1, 5)) / 5
    assert abs(share[0] - first) < 4 * (first / 4000) ** 0.5
    assert abs(share[8] - middle) < 4 * (middle / 4000) ** 0.5
    assert draw_spans(samples(50), "mask", 2, 0.25, 16).sum(1).max() <= 8
    assert not draw_spans(samples(5), "mask", 0, 0.25, 16).any()


def test_masked_numbers_are_the_samples_mean_and_the_others_keep_every_bit():
    values = (
        torch.randn(6, 2, 20, 16, generator=torch.Generator().manual_seed(0)) + torch.arange(6.0)[:, None, None, None]
    )
    config = only(time_masks=1, band_masks=1, longest_time_mask=0.5, widest_band_mask=0.5)
    view = spectrogram_view(values, samples(6), 0, config, is_resized=True)
    changed = view != values
    assert torch.equal(changed[:, 0], changed[:, 1])  # both channels alike
    assert changed.flatten(1).any(1).sum() >= 5
    for row in range(6):
        mask = changed[row, 0]
        times, bands = mask.all(1), mask.all(0)
        assert torch.equal(mask, times[:, None] | bands)
        torch.testing.assert_close(view[row][changed[row]], values[row].mean().expand(int(changed[row].sum())))
    whole = hidden(values, torch.zeros(6, 20, 16, dtype=torch.bool))
    assert torch.equal(whole, values)


def test_both_channels_of_a_sample_get_the_same_but_for_their_noise():
    one = sounds(6)
    stereo = torch.stack([one, one], 1)
    view = view_of(stereo, samples(6), 0, UNMIXED.model_copy(update={"noise_ratio": 0.0}))
    assert view.shape == (6, 2, 12, 16)
    assert torch.equal(view[:, 0], view[:, 1])
    torch.testing.assert_close(view[:, 0], view_of(one, samples(6), 0, UNMIXED.model_copy(update={"noise_ratio": 0.0})))
    noisy = waveform_view(stereo, samples(6), 0, only(noise_ratio=1.0), 2000)
    assert (noisy[:, 0] != noisy[:, 1]).any(1).all()


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(ValueError, match="the lower number first"):
        SoundsConfig(snr_decibels=(20.0, 10.0))
