"""Claims about codes: their perplexity counts how many are in use, and is asked of whatever makes codes."""

import pytest
import torch
from tiny import GRIDS, MEDIA, PICTURES, part, patterns, tiny_batch, tiny_encoder, tiny_objective

from mmssl.batch import Batch
from mmssl.errors import DataError
from mmssl.evaluate.codes import Quantises, code_results, perplexity
from mmssl.methods import METHODS
from mmssl.random import Draw


def test_the_perplexity_is_the_number_of_codes_in_use_were_they_used_alike():
    assert perplexity(torch.tensor([0, 1, 2, 3])[:, None]) == pytest.approx(4)
    # exp(0.75 log 4/3 + 0.25 log 4)
    assert perplexity(torch.tensor([0, 0, 0, 1])[:, None]) == pytest.approx(1.7547653)
    assert perplexity(torch.zeros(2, 5, 1, dtype=torch.long)) == pytest.approx(1)


def test_it_is_the_mean_over_codebooks_and_padding_does_not_count():
    both = torch.tensor([[0, 7], [1, 7], [0, 7], [1, 7]])  # 2 and 1
    assert perplexity(both) == pytest.approx(1.5)
    assert perplexity(torch.cat([both, torch.tensor([[-1, -1]] * 9)])) == pytest.approx(1.5)
    with pytest.raises(DataError, match="padding alone"):
        perplexity(torch.full((3, 1), -1))


def test_a_vqvae_of_pictures_says_its_codes_and_a_method_without_codes_has_no_such_key():
    batch = tiny_batch("vqvae")
    found = code_results(tiny_objective("vqvae"), iter([part(batch, slice(0, 4)), part(batch, slice(4, 8))]))
    assert found["codes.entries"] == 16
    assert 1 <= found["codes.perplexity"] <= 16
    assert code_results(tiny_objective("mae"), iter([tiny_batch("mae")])) == {}
    assert code_results(tiny_objective("vqvae"), iter([])) == {}


def test_a_vqvae_of_sounds_has_a_code_for_each_patch_but_of_a_sound_that_is_not_there():
    objective = METHODS["vqvae"](tiny_encoder({"audio": GRIDS["audio"]}), None, **MEDIA["vqvae"][1])
    assert MEDIA["vqvae"][0] == PICTURES  # the same method
    draw = Draw(5, torch.zeros(4, dtype=torch.long), torch.arange(4))
    there = torch.tensor([True, True, False, True])
    batch = Batch({"audio": patterns("audio", 4, 1), "audio.present": [there]}, draw)
    made = objective.eval()
    assert isinstance(made, Quantises)
    codes = made.codes_of(batch)
    assert codes.shape == (4, 16, 1)
    assert (codes[2] == -1).all()
    assert ((codes[there] >= 0) & (codes[there] < 16)).all()
    loss = torch.stack([*objective.train()(batch).terms.values()]).sum()
    assert torch.isfinite(loss)
