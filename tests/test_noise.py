"""Claims about noise: as many numbers are spoilt as is said, by what is said, each as often as the others."""

import pytest
import torch
from torch import Tensor

from mmssl.corruption import Corruption
from mmssl.noise import gaussian_noise, masking_noise, salt_and_pepper_noise, signal_to_noise
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

KINDS = {
    "masking": masking_noise(0.3), "gaussian": gaussian_noise(0.5),
    "salt_and_pepper": salt_and_pepper_noise(0.3, -2.0, 3.0), "snr": signal_to_noise(-5.0, 20.0),
}  # fmt: skip
COUNT, CELLS, WIDTH = 400, 5, 7


def draws(count: int = COUNT, epoch: int = 0) -> Draw:
    """The draws of samples 0, 1, 2 ..."""
    return Draw(0, torch.full((count,), epoch), torch.arange(count))


def whole(count: int = COUNT) -> Tokens:
    """Numbers between 1 and 2."""
    value = 1 + torch.rand(count, CELLS, WIDTH, generator=torch.Generator().manual_seed(0))
    position = torch.arange(CELLS).expand(count, -1)
    return Tokens(value, Place(position, torch.zeros_like(position), (CELLS,)))


def spoilt(corrupt: Corruption, draw: Draw | None = None) -> Tensor:
    """The numbers after the noise."""
    return corrupt(whole(), draws() if draw is None else draw)[0].value


@pytest.mark.parametrize("kind", KINDS)
def test_all_places_are_seen_and_all_are_asked_for(kind):
    tokens = whole()
    seen, hidden = KINDS[kind](tokens, draws())
    assert seen.place is tokens.place
    assert hidden is tokens.place


@pytest.mark.parametrize("kind", ["masking", "salt_and_pepper"])
def test_every_sample_has_exactly_the_share_of_numbers_spoilt_and_keeps_the_others(kind):
    changed = spoilt(KINDS[kind]) != whole().value
    assert changed.flatten(1).sum(1).tolist() == [round(0.3 * CELLS * WIDTH)] * COUNT


def test_masking_noise_sets_numbers_to_zero():
    value = spoilt(KINDS["masking"])
    assert (value[value != whole().value] == 0).all()


def test_salt_and_pepper_are_as_frequent_as_each_other():
    value = spoilt(KINDS["salt_and_pepper"])
    grains = value[value != whole().value]
    assert set(grains.tolist()) == {-2, 3}
    assert abs(float((grains == 3).float().mean()) - 0.5) < 4 * 0.5 / len(grains) ** 0.5


@pytest.mark.parametrize("kind", ["masking", "salt_and_pepper"])
def test_every_number_is_spoilt_as_often_as_the_others(kind):
    often = (spoilt(KINDS[kind]) != whole().value).float().mean(0)
    expected = round(0.3 * CELLS * WIDTH) / (CELLS * WIDTH)
    assert (often - expected).abs().max() < 4.5 * (expected * (1 - expected) / COUNT) ** 0.5


def test_gaussian_noise_has_mean_zero_and_its_deviation_and_no_correlation_between_numbers():
    noise = (spoilt(KINDS["gaussian"]) - whole().value).flatten(1)
    assert noise.mean().abs() < 4 * 0.5 / noise.numel() ** 0.5
    assert abs(float(noise.std()) - 0.5) < 4 * 0.5 / (2 * noise.numel()) ** 0.5
    correlation = noise.T.corrcoef() - torch.eye(CELLS * WIDTH)
    assert correlation.abs().max() < 5 / COUNT**0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_belongs_to_the_sample_and_the_epoch(kind):
    corrupt, tokens = KINDS[kind], whole()
    alone = corrupt(Tokens(tokens.value[3:4], Place(*(part[3:4] for part in tokens.place[:2]), (CELLS,))),
                    Draw(0, torch.zeros(1).long(), torch.tensor([3])))[0].value  # fmt: skip
    assert torch.equal(alone[0], spoilt(corrupt)[3])
    assert not torch.equal(spoilt(corrupt, draws(epoch=1))[3], alone[0])


def ratios(corrupt: Corruption, value: Tensor) -> Tensor:
    """The signal-to-noise ratio of each sample, in decibels."""
    position = torch.arange(value.shape[1]).expand(len(value), -1)
    tokens = Tokens(value, Place(position, torch.zeros_like(position), (value.shape[1],)))
    noise = corrupt(tokens, draws(len(value)))[0].value - value
    return 10 * (value.flatten(1).var(1) / noise.flatten(1).square().mean(1)).log10()


def test_the_ratio_of_signal_to_noise_is_the_one_asked_for_however_loud_a_sample_is():
    scale = torch.tensor([0.01, 1.0, 100.0])[:, None, None]
    value = 5 + scale * torch.randn(3, 100, 50, generator=torch.Generator().manual_seed(0))
    for decibels in (0.0, 10.0):
        found = ratios(signal_to_noise(decibels, decibels), value)
        torch.testing.assert_close(found, torch.full((3,), decibels), atol=0.4, rtol=0)


def test_each_sample_has_a_ratio_of_its_own_spread_over_the_range_and_silence_stays():
    value = torch.randn(200, 40, 20, generator=torch.Generator().manual_seed(0))
    found = ratios(signal_to_noise(-5.0, 20.0), value)
    assert -5.5 < float(found.min()) < -3
    assert 18 < float(found.max()) < 20.5
    assert float(found.mean()) == pytest.approx(7.5, abs=2)
    silence = whole()._replace(value=torch.full((COUNT, CELLS, WIDTH), -1.75))
    assert torch.equal(signal_to_noise(-5.0, 20.0)(silence, draws())[0].value, silence.value)
