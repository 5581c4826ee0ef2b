"""Sounds as raw samples: normalised, whole, and refused by encoders of spectrograms."""

import pytest
import torch
from media_runs import media_config

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.inputs import Inputs
from mmssl.modalities.grids import Grid, Waveform
from mmssl.models import ENCODERS
from mmssl.random import Draw

SOUND = Waveform("audio", 8, 8000)


def test_a_waveform_has_zero_mean_and_unit_variance_by_hand():
    tokens = SOUND.tokenize([torch.tensor([[1.0, 3.0, 1.0, 3.0], [0.5, 0.5, -0.5, -0.5]])])
    assert tokens.value.shape == (2, 4, 1)
    expected = torch.tensor([[-1.0, 1.0, -1.0, 1.0], [1.0, 1.0, -1.0, -1.0]])
    torch.testing.assert_close(tokens.value[..., 0], expected, atol=1e-6, rtol=0)
    assert tokens.place.grid == (4,)
    assert tokens.place.position.tolist() == [[0, 1, 2, 3]] * 2
    assert tokens.place.valid.all()


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_silence_stays_silence(level):
    value = SOUND.tokenize([torch.full((2, 8), level)]).value
    assert torch.equal(value, torch.zeros(2, 8, 1))


def test_loudness_and_offset_do_not_matter():
    sound = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    one, other = (SOUND.tokenize([view]).value for view in (sound, 0.1 * sound + 0.3))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_the_form_of_sound_is_what_the_config_says(tmp_path):
    batch = Batch({"audio": [torch.rand(3, 4000) - 0.5]}, Draw(0, torch.zeros(3).long(), torch.arange(3)))
    inputs = Inputs(media_config(tmp_path, "audio_pretraining", "audio.form=waveform"), ("audio",))
    assert inputs.modalities["audio"] == Waveform("audio", 4000, 2000)
    assert inputs(batch, augmented=True).views["audio"][0].shape == (3, 4000)
    spectrogram = Inputs(media_config(tmp_path, "audio_pretraining"), ("audio",))
    assert isinstance(spectrogram.modalities["audio"], Grid)
    assert spectrogram(batch).views["audio"][0].shape == (3, 16, 16)


def test_an_encoder_of_spectrograms_refuses_samples():
    with pytest.raises(ConfigError, match=r"audio.form waveform.*expected audio.form=spectrogram or encoder.name wav"):
        ENCODERS["vit"]({"audio": SOUND}, layers=1, width=16, heads=2, intermediate=16)
