"""What embeddings hold of pixels is shown by a linear map that is fitted afterwards, and is called decoded."""

from typing import Any

import pytest
import torch
from sklearn.linear_model import Ridge
from tiny import tiny_batch, tiny_objective

from mmssl.evaluate.completion import completed
from mmssl.evaluate.readout import PENALTY, normal, readouts_of, ridge, with_one
from mmssl.tokens import at


def test_the_map_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(200, width, generator=generator) for width in (7, 3))
    found = ridge(normal(with_one(x + 2), y.double()))
    theirs = Ridge(alpha=PENALTY * 200).fit((x + 2).double().numpy(), y.double().numpy())
    torch.testing.assert_close(found.weight[:-1], torch.from_numpy(theirs.coef_.T), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.weight[-1], torch.from_numpy(theirs.intercept_), rtol=1e-8, atol=1e-10)


def test_a_map_of_parts_is_that_of_the_whole():
    generator = torch.Generator().manual_seed(2)
    x, y = (torch.randn(90, width, generator=generator).double() for width in (7, 3))
    whole, parts = normal(x, y), None
    for start in (0, 40, 70):
        rows = slice(start, {0: 40, 40: 70, 70: 90}[start])
        parts = normal(x[rows], y[rows]).plus(parts)
    assert parts is not None
    torch.testing.assert_close(ridge(parts).weight, ridge(whole).weight)


def test_pixels_that_are_linear_in_the_embedding_come_back():
    generator = torch.Generator().manual_seed(1)
    x, map_ = torch.randn(500, 8, generator=generator), torch.randn(8, 5, generator=generator)
    found = ridge(normal(with_one(x), (x @ map_ + 3).double()))
    torch.testing.assert_close(found(x[None])[0], x @ map_ + 3, rtol=0, atol=0.05)


OPTIONS: dict[str, Any] = {"ijepa": {"mask": "right"}}  # whose blocks would overlap
EMBEDDINGS = {"ijepa": ("image",), "vjepa": ("video",), "audio_visual_jepa": ("video", "audio")}


@pytest.mark.parametrize("method", EMBEDDINGS)
@torch.no_grad()
def test_a_prediction_that_is_an_embedding_is_shown_as_its_decoded_pixels(method):
    objective, batch = tiny_objective(method, **OPTIONS.get(method, {})), tiny_batch(method, num_views=1)
    decode = readouts_of(objective, [batch])
    assert decode.keys() == {*EMBEDDINGS[method]}
    completions = completed(objective, batch, samples=2, decode=decode)
    tokens, seen, hidden = objective.corrupted(batch)
    for name, found in completions.items():
        assert found.is_decoded
        embeddings = (
            objective.predict(seen, hidden)[name],
            at(objective.get_submodule("target")(tokens)[name], hidden[name]),
        )
        assert found.limit is not None
        for shown, embedding in zip((found.samples[0], found.limit), embeddings, strict=True):
            whole = objective.encoder.cuts[name].tokenize([shown])  # pyright: ignore
            torch.testing.assert_close(at(whole, hidden[name]), decode[name](embedding))
            assert torch.equal(shown[~found.is_hidden], batch.views[name][0][~found.is_hidden])
    # the control: nobody looks at it without a decoder
    assert completed(objective, batch, samples=2) == {}


@pytest.mark.parametrize("method", EMBEDDINGS)
@torch.no_grad()
def test_the_decoder_shows_more_of_a_sample_than_the_mean_patch_does(method):
    objective, batch = tiny_objective(method, **OPTIONS.get(method, {})), tiny_batch(method, num_views=1)
    decode, tokens = readouts_of(objective, [batch]), objective.corrupted(batch)[0]
    for name, one in decode.items():
        shown, patches = one(objective.get_submodule("target")(tokens)[name].value), tokens[name].value
        assert (shown - patches).square().mean() < 0.7 * (patches - patches.mean((0, 1))).square().mean()


@pytest.mark.parametrize("method", ["mae", "simclr", "frame_prediction_latent"])
def test_what_needs_no_decoder_gets_none(method):
    assert readouts_of(tiny_objective(method), [tiny_batch(method)]) == {}
