"""Claims about a filled-in sound: what it sounds like is what the spectrogram says, and its seams cannot be heard."""

import math

import pytest
import torch
from torch import Tensor

from mmssl import griffin_lim
from mmssl.griffin_lim import between_columns, continued, touched_frames
from mmssl.spectrogram import LogMel

RATE, BANDS, HOP = 8000, 32, 1 / 64
AT = torch.arange(RATE) / RATE
HIDDEN = (AT >= 0.4) & (AT < 0.7)
LOG_MEL = LogMel(RATE, BANDS, HOP)


def tone(hertz: float) -> Tensor:
    return 0.3 * torch.sin(2 * math.pi * hertz * AT)


def filled(sound: Tensor, like: Tensor | None = None) -> Tensor:
    """The sound with its middle from the spectrogram of `like`, as a perfect model of it would say."""
    columns = LOG_MEL((sound if like is None else like)[None])[0]
    return continued(LOG_MEL, columns, sound, HIDDEN)


def share_near(sound: Tensor, hertz: float, width: float = 150.0) -> float:
    """The share of the energy of the hidden part within `width` of a frequency."""
    part = sound[HIDDEN]
    power = torch.fft.rfft(part * torch.hann_window(len(part))).abs().square()
    near = (torch.fft.rfftfreq(len(part), 1 / RATE) - hertz).abs() < width
    return float(power[near].sum() / power.sum())


def clicks(sound: Tensor, hertz: float) -> tuple[float, float]:
    """How far a tone is from going on as a tone (0: it does, of 1 as it begins from nothing) at the seams, and in the
    middle of the hidden part.
    """
    turn = 2 * math.pi * hertz / RATE
    error = (sound[2:] - 2 * math.cos(turn) * sound[1:-1] + sound[:-2]).abs() / (0.3 * math.sin(turn))
    first, last = (int(HIDDEN.nonzero()[end, 0]) for end in (0, -1))
    seams = torch.cat([error[first - 4 : first + 3], error[last - 4 : last + 3]])
    return float(seams.max()), float(error[first + 40 : last - 40].max())


@pytest.mark.parametrize("hertz", [440.0, 1500.0])
def test_of_a_tone_the_hidden_part_has_its_energy_at_the_tone_and_is_as_loud(hertz):
    found = filled(tone(hertz))
    assert share_near(found, hertz) > 0.9
    assert float(found[HIDDEN].square().mean().sqrt()) == pytest.approx(0.3 / math.sqrt(2), rel=0.15)
    # the control: what the spectrogram says decides, not what is known around
    other = filled(tone(hertz), like=tone(3000.0))
    assert share_near(other, hertz) < 0.5
    assert share_near(other, 3000.0) > 0.4


@pytest.mark.parametrize("hertz", [440.0, 1500.0])
def test_the_seams_of_a_tone_do_not_click(hertz, monkeypatch):
    seam, middle = clicks(filled(tone(hertz)), hertz)
    assert seam < 0.05
    assert seam < middle  # the bands are wider than a tone, which is heard in the middle
    # the control: without anything from the known sides they do
    monkeypatch.setattr(
        griffin_lim, "both_sides", lambda known, hidden, run, noise, window: noise[:, slice(*run)] * 0.1
    )
    assert clicks(filled(tone(hertz)), hertz)[0] > 0.2


def test_a_hiss_is_as_loud_in_its_hidden_part_from_the_first_sample_on():
    sound = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(1))
    found = filled(sound)
    first = int(HIDDEN.nonzero()[0, 0])
    for start in range(first, first + 2400, 240):
        assert 0.05 < float(found[start : start + 240].std()) < 0.14


def test_what_is_known_stays_as_it_is_and_what_is_hidden_is_not_looked_at():
    sound = tone(440.0)
    found = filled(sound)
    assert torch.equal(found[~HIDDEN], sound[~HIDDEN])
    other = torch.where(HIDDEN, torch.randn(RATE), sound)
    assert torch.equal(continued(LOG_MEL, LOG_MEL(sound[None])[0], other, HIDDEN), found)
    assert not torch.equal(found[HIDDEN], sound[HIDDEN])


@pytest.mark.parametrize("start, end", [(0.0, 0.2), (0.8, 1.0), (0.5, 0.5 + 1 / RATE), (0.0, 1.0)])
def test_a_part_at_an_end_a_single_sample_and_the_whole_are_filled(start, end):
    hidden = (start <= AT) & (end > AT)
    sound = tone(440.0)
    found = continued(LOG_MEL, LOG_MEL(sound[None])[0], sound, hidden)
    assert torch.isfinite(found).all()
    assert torch.equal(found[~hidden], sound[~hidden])
    if hidden.sum() == 1:
        torch.testing.assert_close(found, sound, atol=0.05, rtol=0)
    else:
        assert float(found[hidden].std()) == pytest.approx(0.21, rel=0.3)


def test_two_parts_near_each_other_are_filled_without_a_look_at_one_another():
    hidden = ((AT >= 0.3) & (AT < 0.4)) | ((AT >= 0.42) & (AT < 0.5))
    sound = tone(440.0)
    columns = LOG_MEL(sound[None])[0]
    found = continued(LOG_MEL, columns, sound, hidden)
    assert torch.equal(continued(LOG_MEL, columns, torch.where(hidden, 9.0, sound), hidden), found)
    assert float(found[hidden].std()) == pytest.approx(0.21, rel=0.2)


def test_a_part_that_the_spectrogram_calls_silent_is_silent_between_its_seams():
    found = filled(tone(440.0), like=torch.zeros(RATE))
    first, last = (int(HIDDEN.nonzero()[end, 0]) for end in (0, -1))
    assert found[first + 400 : last - 400].abs().max() < 1e-3


def test_frames_are_touched_by_what_lies_within_half_their_width():
    hidden = torch.zeros(20, dtype=torch.bool)
    hidden[10] = True
    assert touched_frames(hidden, torch.arange(0, 21, 2), 4).nonzero()[:, 0].tolist() == [5, 6]


def test_columns_between_two_are_their_mean():
    columns = torch.tensor([[0.0], [1.0], [3.0]])
    chosen = torch.ones(6, dtype=torch.bool)
    assert between_columns(columns, chosen, 0.5)[:, 0].tolist() == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]
