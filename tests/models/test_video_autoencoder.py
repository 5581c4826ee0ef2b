"""Claims about a masked autoencoder of clips: it is `VideoMAEForPreTraining` of `transformers`, both ways."""

import pytest
import torch
from einops import rearrange
from tiny import GRIDS, patterns, tiny_encoder
from torch import Tensor
from transformers import AutoModel, AutoModelForPreTraining, VideoMAEConfig, VideoMAEForPreTraining, VideoMAEModel

from mmssl.augment import DEVIATION, MEAN
from mmssl.batch import Batch
from mmssl.errors import CheckpointError, ConfigError
from mmssl.methods import METHODS
from mmssl.models.export_autoencoder import export_objective
from mmssl.models.target import NormalisedChannels
from mmssl.models.video_autoencoder import video_autoencoder
from mmssl.objectives import Predictive
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

COUNT, TOKENS = 3, 36
SMALL = {"predictor_layers": 2, "predictor_width": 16, "predictor_heads": 4}
CLIP = patterns("video", COUNT, 1)[0]
BATCH = Batch({"video": [CLIP]}, Draw(5, torch.zeros(COUNT).long(), torch.arange(COUNT)))


def made(method: str = "videomae", encoder: dict | None = None, **options) -> Predictive:
    """An objective on the encoder of VideoMAE."""
    modalities = {"video": GRIDS["video"]}
    found = METHODS[method](
        tiny_encoder(modalities, **{"name": "videomae", "layers": 2, **(encoder or {})}), modalities,
        **{**SMALL, **options},
    )  # fmt: skip
    assert isinstance(found, Predictive)
    return found.eval()


@torch.no_grad()
def sharpened(*arguments, **options) -> Predictive:
    """One whose weights and vectors all matter."""
    objective = made(*arguments, **options)
    for weight in objective.parameters():
        weight.add_(torch.randn_like(weight), alpha=0.2)
    return objective


def mask_of(hidden: Tensor) -> Tensor:
    """What the stock class is told."""
    return torch.zeros(len(hidden), TOKENS, dtype=torch.bool).scatter(1, hidden, True)


@pytest.mark.parametrize("hidden_ratio", [0.9, 0.5])
@torch.no_grad()
def test_the_loss_and_the_answers_are_those_of_the_stock_class(hidden_ratio, tmp_path):
    objective = sharpened(hidden_ratio=hidden_ratio)
    _, seen, hidden = objective.corrupted(BATCH)
    ours, answers, position = objective(BATCH), objective.predict(seen, hidden)["video"], hidden["video"].position
    export_objective(objective, tmp_path)
    stock = AutoModelForPreTraining.from_pretrained(tmp_path).eval()
    assert type(stock) is VideoMAEForPreTraining
    found = stock(CLIP, bool_masked_pos=mask_of(position))
    torch.testing.assert_close(found.loss, ours.terms["video"], atol=1e-5, rtol=0)
    logits = rearrange(found.logits, "b m (n c) -> b m (c n)", c=3)
    torch.testing.assert_close(logits, answers, atol=1e-5, rtol=1e-5)
    # the controls: what is hidden matters, and the order of a patch's numbers
    other = stock(CLIP, bool_masked_pos=mask_of((position + 1) % TOKENS)).loss
    assert float((other - found.loss).abs()) > 1e-3
    assert not torch.allclose(found.logits, answers, atol=1e-2)


def test_the_gradient_is_that_of_the_stock_class_too(tmp_path):
    objective = sharpened()
    export_objective(objective, tmp_path)
    stock = VideoMAEForPreTraining.from_pretrained(tmp_path).eval()
    objective(BATCH).terms["video"].backward()
    stock(CLIP, bool_masked_pos=mask_of(objective.corrupted(BATCH)[2]["video"].position)).loss.backward()
    predictor, encoder = objective.by_name["video"].predictor, objective.encoder
    pairs = [
        (encoder.embed["video"].bias.grad, stock.videomae.embeddings.patch_embeddings.projection.bias.grad),
        (encoder.layers.layers[0].mlp.fc1.weight.grad, stock.videomae.encoder.layer[0].intermediate.dense.weight.grad),
        (predictor.mask.grad, stock.mask_token.grad[0, 0]),
        (predictor.project.weight.grad, stock.encoder_to_decoder.weight.grad),
    ]
    for ours, theirs in pairs:
        assert float(ours.abs().max()) > 1e-4
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)
    key = encoder.layers.layers[0].attention.k_proj.bias.grad
    assert float(key.abs().max()) < 1e-6  # which the stock class has not


def other_stock(**options) -> VideoMAEForPreTraining:
    """A stock model that we did not make; its epsilon is not ours, and matters."""
    torch.manual_seed(3)
    found = VideoMAEForPreTraining(VideoMAEConfig(**{
        "image_size": 12, "patch_size": 4, "num_frames": 8, "tubelet_size": 2, "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "use_mean_pooling": False,
        "layer_norm_eps": 0.1, "decoder_hidden_size": 16, "decoder_num_hidden_layers": 2,
        "decoder_num_attention_heads": 4, "decoder_intermediate_size": 64, **options,
    }))  # fmt: skip
    with torch.no_grad():
        for weight in found.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    return found.eval()


@torch.no_grad()
def test_a_stock_model_loads_whole_and_comes_back_as_it_was(tmp_path):
    stock = other_stock()
    stock.save_pretrained(tmp_path / "theirs")
    pretrained = str(tmp_path / "theirs")
    objective = made(encoder={"pretrained": pretrained}, pretrained=pretrained)
    expected = stock(CLIP, bool_masked_pos=mask_of(objective.corrupted(BATCH)[2]["video"].position)).loss
    torch.testing.assert_close(objective(BATCH).terms["video"], expected, atol=1e-5, rtol=0)
    half = made(encoder={"pretrained": pretrained})(BATCH).terms["video"]
    assert float((half - expected).abs()) > 1e-3  # the control: without its decoder
    export_objective(objective, tmp_path / "ours")
    back = VideoMAEForPreTraining.from_pretrained(tmp_path / "ours").state_dict()
    assert back.keys() == stock.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in stock.state_dict().items())


def test_a_decoder_of_other_sizes_is_refused(tmp_path):
    other_stock().save_pretrained(tmp_path)
    for key, value, wanted in (("heads", 2, 4), ("layers", 1, 2), ("layers", 3, 2)):
        with pytest.raises(ConfigError, match=f"method.predictor_{key} {value}: .* has {wanted}; expected the same"):
            made(pretrained=str(tmp_path), **{f"predictor_{key}": value})
    with pytest.raises(CheckpointError, match=r"method.pretrained .*does not fit"):
        made(pretrained=str(tmp_path), predictor_width=32)


def test_a_model_without_a_last_norm_is_refused(tmp_path):
    other_stock(use_mean_pooling=True).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="use_mean_pooling true"):
        made(encoder={"pretrained": str(tmp_path)})


def test_what_is_no_videomae_is_told_by_its_parts(tmp_path):
    assert video_autoencoder(made()) is not None
    assert video_autoencoder(made(normalise_patches=False)) is None
    assert video_autoencoder(made(encoder={"name": "vit"})) is None
    assert video_autoencoder(made(encoder={"name": "vjepa2"})) is None
    assert video_autoencoder(made("frame_prediction")) is None
    export_objective(made("frame_prediction"), tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is VideoMAEModel


def test_each_channel_of_a_tubelet_is_normalised_by_itself():
    value = torch.tensor([[[0.0, 1.0, 2.0, 5.0, 5.0, 5.0]]])  # two channels of three pixels
    place = Place(torch.zeros(1, 1).long(), torch.zeros(1, 1).long(), (1, 1, 1))
    target = NormalisedChannels(2)
    found = target({"video": Tokens(value, place)})["video"].value
    torch.testing.assert_close(found, torch.tensor([[[-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]]]), atol=1e-5, rtol=0)
    torch.testing.assert_close(target.shown(found, value, place), value)
    # however pixels are normalised before, but for what keeps a deviation from being 0
    again = target({"video": Tokens(value * DEVIATION + MEAN, place)})["video"].value
    torch.testing.assert_close(again, found, atol=1e-4, rtol=0)
    with pytest.raises(ConfigError, match="a channel of one number"):
        NormalisedChannels(6)({"video": Tokens(value, place)})
