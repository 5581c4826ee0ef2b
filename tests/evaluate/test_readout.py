"""What embeddings hold of pixels is shown by a linear map that is fitted afterwards, and is called decoded."""

import pytest
import torch
from sklearn.linear_model import Ridge
from tiny import tiny_batch, tiny_objective

from mmssl.evaluate.completion import completed
from mmssl.evaluate.readout import PENALTY, readout_of, ridge, with_one
from mmssl.tokens import at


def test_the_map_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(200, width, generator=generator) for width in (7, 3))
    found = ridge(with_one(x + 2), y.double())
    theirs = Ridge(alpha=PENALTY * 200).fit((x + 2).double().numpy(), y.double().numpy())
    torch.testing.assert_close(found.weight[:-1], torch.from_numpy(theirs.coef_.T), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.weight[-1], torch.from_numpy(theirs.intercept_), rtol=1e-8, atol=1e-10)


def test_pixels_that_are_linear_in_the_embedding_come_back():
    generator = torch.Generator().manual_seed(1)
    x, map_ = torch.randn(500, 8, generator=generator), torch.randn(8, 5, generator=generator)
    found = ridge(with_one(x), (x @ map_ + 3).double())
    torch.testing.assert_close(found(x[None])[0], x @ map_ + 3, rtol=0, atol=0.05)


@torch.no_grad()
def test_a_prediction_that_is_an_embedding_is_shown_as_its_decoded_pixels():
    objective, batch = tiny_objective("ijepa", mask="right"), tiny_batch("ijepa", num_views=1)
    decode = readout_of(objective, [batch])
    assert decode is not None
    found = completed(objective, batch, samples=2, decode=decode)["image"]
    assert found.is_decoded
    _, seen, hidden = objective.corrupted(batch)
    expected = decode(objective.predict(seen, hidden)["image"])
    whole = objective.encoder.cuts["image"].tokenize([found.samples[0]])  # pyright: ignore
    torch.testing.assert_close(at(whole, hidden["image"]), expected)
    assert torch.equal(found.samples[0][~found.is_hidden], batch.views["image"][0][~found.is_hidden])
    # the control: nobody looks at it without a decoder
    assert completed(objective, batch, samples=2) == {}


@torch.no_grad()
def test_the_decoder_shows_more_of_a_picture_than_the_mean_patch_does():
    objective, batch = tiny_objective("ijepa", mask="right"), tiny_batch("ijepa", num_views=1)
    decode = readout_of(objective, [batch])
    assert decode is not None
    tokens = objective.corrupted(batch)[0]
    shown, patches = decode(objective.get_submodule("target")(tokens)["image"].value), tokens["image"].value
    assert (shown - patches).square().mean() < 0.7 * (patches - patches.mean((0, 1))).square().mean()


@pytest.mark.parametrize("method", ["mae", "simclr", "vjepa", "audio_visual_jepa", "frame_prediction_latent"])
def test_what_needs_no_decoder_or_has_no_pictures_gets_none(method):
    assert readout_of(tiny_objective(method), [tiny_batch(method)]) is None
