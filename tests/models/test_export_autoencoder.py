"""Claims about a masked autoencoder: it is `ViTMAEForPreTraining` of `transformers`, loss, logits and all, and is
exported as such.
"""

from pathlib import Path

import pytest
import torch
from einops import rearrange
from tiny import patterns, tiny_encoder
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForPreTraining,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
    ViTModel,
)

from mmssl.batch import Batch
from mmssl.methods import METHODS
from mmssl.modalities.grids import Grid
from mmssl.models.export_autoencoder import autoencoder, export_objective, mask_ratio
from mmssl.objectives import Predictive
from mmssl.random import Draw
from mmssl.tokens import Place

COUNT, PATCHES = 3, 16
SMALL = {"predictor_layers": 2, "predictor_width": 16, "predictor_heads": 4}
PICTURES = patterns("image", COUNT, 1)[0]
BATCH = Batch({"image": [PICTURES]}, Draw(5, torch.zeros(COUNT).long(), torch.arange(COUNT)))


def sharpened(size: tuple[int, int] = (16, 16), method: str = "mae", **options) -> Predictive:
    """An objective whose weights, vectors and positions all matter; the encoder's sizes are not the predictor's."""
    modalities = {"image": Grid("image", size, 3)}
    encoder = tiny_encoder(modalities, layers=2, heads=2)
    objective = METHODS[method](encoder, modalities, **{**SMALL, **options})
    with torch.no_grad():
        for weight in objective.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    assert isinstance(objective, Predictive)
    return objective.eval()


def noise_for(hidden: Tensor) -> Tensor:
    """Numbers of which the stock class hides the highest."""
    return torch.zeros(len(hidden), PATCHES).scatter(1, hidden, 1.0)


def exported(folder: Path) -> tuple[Predictive, ViTMAEForPreTraining, dict[str, Place]]:
    """An objective, its stock class, and what it hides."""
    objective = sharpened()
    export_objective(objective, folder)
    stock = ViTMAEForPreTraining.from_pretrained(folder).eval()
    return objective, stock, objective.corrupted(BATCH)[2]


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("hidden_ratio", [0.75, 0.4])
@torch.no_grad()
def test_the_loss_and_the_answers_are_those_of_the_stock_class(normalise, hidden_ratio, tmp_path):
    objective = sharpened(normalise_patches=normalise, hidden_ratio=hidden_ratio)
    _, seen, hidden = objective.corrupted(BATCH)
    ours, answers = objective(BATCH), objective.predict(seen, hidden)["image"]
    export_objective(objective, tmp_path)
    stock = ViTMAEForPreTraining.from_pretrained(tmp_path).eval()
    assert stock.config.norm_pix_loss is normalise
    position = hidden["image"].position
    found = stock(PICTURES, noise=noise_for(position))
    torch.testing.assert_close(found.loss, ours.terms["image"], atol=1e-5, rtol=0)
    logits = found.logits[torch.arange(COUNT)[:, None], position]
    logits = rearrange(logits, "b m (p q c) -> b m (c p q)", p=4, q=4)
    torch.testing.assert_close(logits, answers, atol=1e-5, rtol=1e-5)
    # the controls: what is hidden matters, and the order of a patch's numbers
    other = stock(PICTURES, noise=noise_for((position + 1) % PATCHES)).loss
    assert float((other - found.loss).abs()) > 1e-3
    assert not torch.allclose(found.logits[torch.arange(COUNT)[:, None], position], answers, atol=1e-2)


@torch.no_grad()
def test_without_the_class_token_the_loss_is_another(tmp_path):
    objective, stock, hidden = exported(tmp_path)
    together = objective.encoder.together
    objective.encoder.together = lambda seen: {  # type: ignore[method-assign]
        name: tokens._replace(summary=None) for name, tokens in together(seen).items()
    }
    loss = stock(PICTURES, noise=noise_for(hidden["image"].position)).loss
    assert float((objective(BATCH).terms["image"] - loss).abs()) > 1e-4


@torch.no_grad()
def test_the_gradient_is_that_of_the_stock_class_too(tmp_path):
    objective, stock, hidden = exported(tmp_path)
    with torch.enable_grad():
        objective(BATCH).terms["image"].backward()
        stock(PICTURES, noise=noise_for(hidden["image"].position)).loss.backward()
    pairs = [
        (objective.encoder.first.grad, stock.vit.embeddings.cls_token.grad[0, 0]),
        (objective.encoder.layers.layers[0].mlp.fc1.weight.grad, stock.vit.layers[0].mlp.fc1.weight.grad),
        (objective.by_name["image"].predictor.mask.grad, stock.decoder.mask_token.grad[0, 0]),
        (objective.by_name["image"].predictor.project.weight.grad, stock.decoder.decoder_embed.weight.grad),
    ]
    for ours, theirs in pairs:
        assert float(ours.abs().max()) > 1e-4
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_folder_loads_as_every_class_of_a_vision_transformer(tmp_path):
    objective = sharpened()
    export_objective(objective, tmp_path)
    expected = objective.encoder({"image": objective.by_name["image"].tokenize([PICTURES])})["image"]
    assert type(AutoModelForPreTraining.from_pretrained(tmp_path)) is ViTMAEForPreTraining
    assert AutoImageProcessor.from_pretrained(tmp_path).crop_size["height"] == 16
    # the encoder of the autoencoder drops and shuffles patches unless it is told not to
    masked = ViTMAEModel.from_pretrained(tmp_path).eval()
    masked.config.mask_ratio = 0.0
    rising = torch.arange(PATCHES).expand(COUNT, PATCHES).float()
    plain = ViTModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    for stock, arguments in ((masked, {"noise": rising}), (plain, {})):
        found = stock(PICTURES, **arguments).last_hidden_state
        torch.testing.assert_close(found[:, 1:], expected.value, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[:, 0], expected.summary, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{"size": (16, 24)}, {"predictor_width": 20, "predictor_heads": 2, "size": (24, 8)}]
)
def test_pictures_that_are_not_square_leave_their_encoder_alone(options, tmp_path):
    objective = sharpened(**options)
    export_objective(objective, tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is ViTModel
    # the stock class would not compute the loss of such pictures
    stock = ViTMAEForPreTraining(ViTMAEConfig(hidden_size=16, decoder_hidden_size=16, num_hidden_layers=1))
    with pytest.raises(ValueError, match="squared size"):
        stock.patchify(torch.zeros(1, 3, *options["size"]))


def test_what_is_no_masked_autoencoder_is_told_by_its_parts():
    assert autoencoder(sharpened()) is not None
    objective = sharpened()
    objective.by_name["image"].base = lambda seen, hidden: 1.0
    assert autoencoder(objective) is None
    objective = sharpened()
    objective.by_name["image"].energy = lambda prediction, answer: (prediction - answer).abs().mean(-1)
    assert autoencoder(objective) is None
    assert autoencoder(sharpened(predictor_width=18, predictor_heads=2)) is None
    assert autoencoder(sharpened(method="ijepa")) is None


def test_the_stock_class_hides_as_many_whatever_the_ratio():
    for count in (4, 16, 49, 64, 196, 256):
        for hidden in range(1, count):
            assert int(count * (1 - mask_ratio(hidden, count))) == count - hidden
    assert mask_ratio(48, 64) == 0.75
