"""Claims about noise: as many numbers are spoilt as is said, by what is said, each as often as the others."""

import pytest
import torch
from torch import Tensor

from mmssl.corruption import Corruption
from mmssl.noise import gaussian_noise, masking_noise, salt_and_pepper_noise
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

KINDS = {
    "masking": masking_noise(0.3), "gaussian": gaussian_noise(0.5),
    "salt_and_pepper": salt_and_pepper_noise(0.3, -2.0, 3.0),
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
