"""A waveform is drawn as bars from its lowest to its highest sample."""

import torch

from mmssl.report.views import strip
from mmssl.report.waveforms import COLUMNS, HEIGHT, WAVE, waveform_picture


def test_a_loud_half_fills_its_columns_and_a_silent_half_is_a_line():
    loud = torch.tensor([1.0, -1.0]).repeat(96 * 5)
    picture = waveform_picture(torch.cat([loud, torch.zeros(96 * 10)]))
    assert picture.shape == (3, HEIGHT, COLUMNS)
    inked = (picture[0] == WAVE).sum(0)
    assert inked[:96].tolist() == [HEIGHT] * 96
    assert inked[96:].tolist() == [1] * 96
    assert torch.equal(strip("audio", torch.zeros(50)), waveform_picture(torch.zeros(50)))


def test_samples_that_are_no_numbers_are_drawn_as_silence():
    assert torch.equal(waveform_picture(torch.full((400,), torch.nan)), waveform_picture(torch.zeros(400)))
