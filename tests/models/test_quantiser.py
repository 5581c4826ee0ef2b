"""Product quantisation by Gumbel-softmax: what is drawn, what learns, how many codes are in use."""

import pytest
import torch
from transformers import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer

from mmssl.models.quantiser import GumbelQuantiser, perplexity
from mmssl.random import Draw


def made() -> GumbelQuantiser:
    """Two books of five entries of three numbers."""
    torch.manual_seed(0)
    return GumbelQuantiser(7, num_groups=2, num_codes=5, width=6)


def features() -> torch.Tensor:
    """Those of 4 places of 3 sounds."""
    return torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(1), requires_grad=True)


def draw() -> Draw:
    """Draws of three samples."""
    return Draw(3, torch.full((3,), 2), torch.arange(3))


def test_without_noise_it_is_the_stock_quantiser():
    quantiser = made()
    config = Wav2Vec2Config(
        codevector_dim=6, num_codevector_groups=2, num_codevectors_per_group=5, conv_dim=[7], conv_kernel=[1],
        conv_stride=[1],
    )  # fmt: skip
    stock = Wav2Vec2GumbelVectorQuantizer(config).eval()
    stock.load_state_dict(dict(quantiser.named_parameters()))
    valid = torch.tensor([[True, True, False, True]] * 3)
    expected, used = stock(features(), valid)
    found = quantiser(features())
    torch.testing.assert_close(found.value, expected)
    torch.testing.assert_close(perplexity(found.probability, valid).sum(), used)


def test_noise_draws_entries_by_their_softmax_and_is_the_samples_own():
    quantiser = made()
    with torch.no_grad():
        quantiser.weight_proj.weight.zero_()
        quantiser.weight_proj.bias.copy_(torch.tensor([0.0, 1, 2, 0, 0, 2, 0, 0, 0, 0]))
    many = Draw(3, torch.zeros(2000).long(), torch.arange(2000))
    code = quantiser(torch.zeros(2000, 4, 7), quantiser.noise(many, 4)).code
    chance = torch.tensor([0.0, 1, 2, 0, 0]).softmax(0)
    torch.testing.assert_close(code[..., 0].flatten().bincount() / 8000, chance, atol=0.02, rtol=0)
    assert torch.equal(quantiser.noise(many, 4)[:3], quantiser.noise(Draw(3, *many[1:3])._replace(
        epoch=many.epoch[:3], index=many.index[:3]), 4))  # fmt: skip
    assert quantiser.noise(many, 4).isfinite().all()


def test_an_entry_is_chosen_whole_and_its_gradient_is_that_of_the_softmax():
    quantiser, x = made(), features()
    noise = quantiser.noise(draw(), 4)
    found = quantiser(x, noise)
    books = quantiser.codevectors[0].reshape(2, 5, 3)
    expected = torch.cat([books[0][found.code[..., 0]], books[1][found.code[..., 1]]], -1)
    torch.testing.assert_close(found.value, expected)
    weight = torch.randn(found.value.shape, generator=torch.Generator().manual_seed(2))
    gradient = torch.autograd.grad((found.value * weight).sum(), x)[0]
    soft = ((quantiser.weight_proj(x).unflatten(-1, (2, 5)) + noise) / quantiser.temperature).softmax(-1)
    mixed = torch.einsum("bmgk,gkc->bmgc", soft, books.detach()).flatten(-2)
    torch.testing.assert_close(gradient, torch.autograd.grad((mixed * weight).sum(), x)[0])
    # without noise nothing teaches which entry to choose
    assert torch.autograd.grad(quantiser(x).value.sum(), x, allow_unused=True)[0] is None


def test_the_temperature_falls_in_equal_ratios_and_stays():
    quantiser, seen = made(), []
    for progress in (0.0, 0.35, 0.7, 1.0):
        quantiser.settle(progress)
        seen.append(float(quantiser.temperature))
    assert seen == pytest.approx([2.0, 1.0, 0.5, 0.5])


def test_perplexity_counts_the_entries_in_use_by_hand():
    valid = torch.tensor([[True, True, False]])
    probability = torch.zeros(1, 3, 2, 4)
    probability[0, :, 0, 1] = 1.0  # always the same entry
    probability[0, 0, 1, 0] = probability[0, 1, 1, 3] = probability[0, 2, 1, 2] = 1.0  # two, and one where none is
    torch.testing.assert_close(perplexity(probability, valid), torch.tensor([1.0, 2.0]))
    nobody = perplexity(probability, torch.zeros(1, 3).bool())
    assert nobody.isfinite().all()


def test_the_least_and_the_largest_number_that_may_be_drawn_are_finite_noise(monkeypatch):
    ends = torch.tensor([0.0, 1 - 2.0**-24]).repeat(5)
    monkeypatch.setattr(Draw, "uniform", lambda self, name, *shape: ends.expand(3, 1, 1, 10))
    quantiser = GumbelQuantiser(7, num_groups=1, num_codes=10, width=4)
    assert quantiser.noise(draw(), 1).isfinite().all()
