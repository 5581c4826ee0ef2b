"""Claims about methods whose encoder reads all of a picture: losses equal others', hidden pixels cannot be read off."""

from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from tiny import GRIDS, NearestPatch, tiny_batch, tiny_encoder, tiny_objective
from torch import Tensor
from transformers import ViTForMaskedImageModeling, ViTModel

from mmssl.augment import normalise
from mmssl.batch import Batch
from mmssl.drop import drop_right
from mmssl.errors import ConfigError
from mmssl.methods import METHODS
from mmssl.models.export import export_encoder
from mmssl.objectives import Objective, Predictive
from mmssl.pretrained import tokenizer_of_run
from mmssl.tokens import at

COUNT = 4
NAMES = ("denoising_autoencoder", "simmim", "beit")
BATCH = tiny_batch("mae", COUNT)


def made(method: str, **options) -> Predictive:
    """A tiny objective."""
    found = tiny_objective(method, **options)
    assert isinstance(found, Predictive)
    return found


def loss(objective: Objective, batch: Batch = BATCH) -> Tensor:
    """The only term."""
    ((_, term),) = objective(batch).terms.items()
    return term


@torch.no_grad()
def test_simmim_equals_the_stock_model_with_the_same_weights_and_mask(tmp_path):
    objective = made("simmim").eval()
    export_encoder(objective.encoder, tmp_path)
    encoder = ViTModel.from_pretrained(tmp_path).eval()
    encoder.config.encoder_stride = 4
    stock = ViTForMaskedImageModeling(encoder.config).eval()
    missing, unexpected = stock.vit.load_state_dict(encoder.state_dict(), strict=False)
    assert missing == ["embeddings.mask_token"]
    assert all("pooler" in name for name in unexpected)
    # its mask token is the embedding of our mask patch, its decoder the same linear layer
    stream, cut = objective.by_name["image"], objective.encoder.cuts["image"]
    masked = cut.paste(stream.fill.patch.expand(1, 16, 48))
    stock.vit.embeddings.mask_token.copy_(stock.vit.embeddings.patch_embeddings(masked)[:, :1])
    stock.decoder[0].weight.copy_(stream.predictor.answer.weight[..., None, None])
    stock.decoder[0].bias.copy_(stream.predictor.answer.bias)

    _, _, hidden = objective.corrupted(BATCH)
    mask = torch.zeros(COUNT, 16, dtype=torch.long).scatter(1, hidden["image"].position, 1)
    assert mask.sum(1).tolist() == [8] * COUNT  # two squares of four
    found = stock(BATCH.views["image"][0], bool_masked_pos=mask.bool())
    torch.testing.assert_close(loss(objective), found.loss, atol=1e-5, rtol=0)
    pixels = cut.tokenize([found.reconstruction])
    answer = objective.predict(*objective.corrupted(BATCH)[1:])["image"]
    torch.testing.assert_close(answer, at(pixels, hidden["image"]), atol=1e-5, rtol=0)


@torch.no_grad()
def test_simmim_is_the_mean_absolute_error_of_hidden_pixels_only():
    objective = made("simmim", unit=1).eval()
    tokens, seen, hidden = objective.corrupted(BATCH)
    prediction = objective.predict(seen, hidden)["image"]
    total = 0.0
    for row in range(COUNT):
        for number, place in enumerate(hidden["image"].position[row]):
            total += float((prediction[row, number] - tokens["image"].value[row, place]).abs().sum())
    assert hidden["image"].position.shape == (COUNT, 10)  # round(0.6 * 16)
    assert float(loss(objective)) == pytest.approx(total / (COUNT * 10 * 48), rel=1e-5)


@torch.no_grad()
def test_a_denoising_autoencoder_is_asked_for_all_clean_pixels():
    objective = made("denoising_autoencoder").eval()
    tokens, seen, hidden = objective.corrupted(BATCH)
    clean, noisy = tokens["image"].value, seen["image"].value
    assert (noisy == 0).flatten(1).sum(1).tolist() == [192] * COUNT  # a quarter of 16 * 48 numbers
    prediction = objective.predict(seen, hidden)["image"]
    torch.testing.assert_close(loss(objective), (prediction - clean).square().mean())
    sx = objective.encoder({"image": seen["image"]})  # what is whole is read as it is
    torch.testing.assert_close(prediction, objective.by_name["image"].predictor(sx, hidden["image"]))


@torch.no_grad()
def test_noise_is_in_units_of_black_and_white():
    grey = torch.full((COUNT, 3, 16, 16), 0.5)
    batch = BATCH._replace(views={"image": [normalise(grey)]})
    _, seen, _ = made("denoising_autoencoder", noise="salt_and_pepper").corrupted(batch)
    ends = {float(normalise(torch.full((3, 1, 1), value)).mean()) for value in (0.0, 1.0)}
    assert set(seen["image"].value.unique().tolist()) == {0.0, *ends}
    _, seen, _ = made("denoising_autoencoder", noise="gaussian", noise_deviation=0.1).corrupted(batch)
    tenth = float(normalise(torch.full((3, 1, 1), 0.6)).mean())  # from a half on
    assert float(seen["image"].value.std()) == pytest.approx(tenth, rel=0.05)


@torch.no_grad()
def test_beit_is_the_cross_entropy_of_the_codes_of_hidden_patches():
    objective = made("beit").eval()
    tokens, seen, hidden = objective.corrupted(BATCH)
    table = NearestPatch().table
    codes = (tokens["image"].value[:, :, None] - table).square().sum(-1).argmin(-1)
    logits = objective.predict(seen, hidden)["image"].log_softmax(-1)
    expected = -logits.gather(-1, at(tokens["image"]._replace(value=codes), hidden["image"])[..., None]).mean()
    torch.testing.assert_close(loss(objective), expected)
    assert hidden["image"].position.shape == (COUNT, 6)  # round(0.4 * 16)


@torch.no_grad()
def test_the_most_likely_codes_are_shown_as_their_patches():
    objective = made("beit").eval()
    _, seen, hidden = objective.corrupted(BATCH)
    logits = objective.predict(seen, hidden)["image"]
    shown = objective.patches_of(logits, torch.zeros(COUNT, 6, 48), hidden["image"])
    assert shown is not None
    assert torch.equal(shown, NearestPatch().table[logits.argmax(-1)])


def test_the_tokenizer_does_not_learn_and_is_part_of_the_checkpoint():
    objective = made("beit").train()
    loss(objective).backward()
    (tokenizer,) = (part for part in objective.modules() if isinstance(part, NearestPatch))
    assert not tokenizer.training
    assert tokenizer.table.grad is None
    assert not tokenizer.table.requires_grad
    assert [name for name in objective.state_dict() if "table" in name] == ["target.tokenizer.table"]
    assert objective.encoder.training


@pytest.mark.parametrize("method", NAMES)
def test_the_gradient_reaches_all_that_learns(method):
    objective = made(method)
    loss(objective).backward()
    learns = {name: weight.grad for name, weight in objective.named_parameters() if weight.requires_grad}
    silent = [name for name, grad in learns.items() if grad is None or not grad.any()]
    # a key's bias adds the same to all scores of a query, so the softmax cancels it
    assert [name for name in silent if "key.bias" not in name] == []
    assert ("streams.image.fill.patch" in learns) is (method != "denoising_autoencoder")


@pytest.mark.parametrize("method", NAMES)
@torch.no_grad()
def test_what_is_hidden_cannot_be_read_off(method):
    objective = made(method).eval()
    tokens, seen, hidden = objective.corrupted(BATCH)
    whole, part = tokens["image"], seen["image"]
    index = part.place.position[..., None].expand_as(part.value)
    is_shown = torch.zeros_like(whole.value, dtype=torch.bool).scatter(1, index, part.value == at(whole, part.place))
    before = objective.predict(seen, hidden)["image"]
    for value, same in ((torch.where(is_shown, whole.value, 10.0), True), (whole.value + 1, False)):  # the control
        changed = BATCH._replace(views={"image": [objective.encoder.cuts["image"].paste(value)]})
        _, seen, hidden = objective.corrupted(changed)
        assert torch.equal(objective.predict(seen, hidden)["image"], before) is same


@torch.no_grad()
def test_a_hidden_half_is_filled_before_a_denoising_autoencoder_reads_it():
    objective = made("denoising_autoencoder").eval()
    tokens = objective.tokens(BATCH)["image"]
    seen, hidden = drop_right(0.5)(tokens, BATCH.draw)
    blank = tokens.value.clone().scatter(1, hidden.position[..., None].expand(-1, -1, 48), 0.0)
    expected = objective.by_name["image"].predictor(objective.encoder({"image": tokens._replace(value=blank)}), hidden)
    torch.testing.assert_close(objective.predict({"image": seen}, {"image": hidden})["image"], expected)


@pytest.mark.parametrize("unit", [3, 4])
def test_squares_that_do_not_fit_are_refused(unit):
    with pytest.raises(ConfigError, match=rf"method\.unit {unit}: a picture has 4 x 4 patches; expected a divisor"):
        made("simmim", unit=unit)


@pytest.mark.parametrize("method", NAMES)
def test_an_encoder_that_reads_no_patches_is_refused(method):
    encoder = tiny_encoder({"image": GRIDS["image"]}, "resnet")
    options = {"pretrained": "another run"} if method == "beit" else {}
    with pytest.raises(ConfigError, match=r"expected encoder\.name vit"):
        METHODS[method](encoder, {}, **options)


def test_a_run_without_codes_or_with_other_patches_is_no_tokenizer():
    cut = tiny_encoder({"image": GRIDS["image"]}).cuts["image"]
    for run, message in (
        (made("mae"), "runs/x is a run without codes; expected one of vqvae"),
        (NearestPatch(), "runs/x has codes of patches of 8 x 8; expected 4 x 4"),
    ):
        if isinstance(run, NearestPatch):
            run.encoder = SimpleNamespace(cuts={"image": GRIDS["image"].cut((8, 8))})
        with (
            patch("mmssl.pretrained.objective_of_run", lambda folder, modalities, run=run: run),
            pytest.raises(ConfigError, match=message),
        ):
            tokenizer_of_run("runs/x", {}, cut)


def test_a_sound_is_denoised_as_a_picture_is_and_each_kind_of_noise_is_its_own():
    batch = tiny_batch("audio_denoising", COUNT)
    found = {kind: made("audio_denoising", noise=kind).eval() for kind in ("snr", "gaussian", "masking")}
    seen = {kind: objective.corrupted(batch)[1]["audio"].value for kind, objective in found.items()}
    whole = found["snr"].corrupted(batch)[0]["audio"].value
    assert (seen["masking"][seen["masking"] != whole] == 0).all()
    assert float((seen["gaussian"] - whole).std()) == pytest.approx(0.3, rel=0.1)
    spread = (seen["snr"] - whole).flatten(1).std(1)
    assert spread.max() > 1.2 * spread.min()
    for objective in found.values():
        tokens, noisy, _ = objective.corrupted(batch)
        answer = objective.by_name["audio"].predictor(objective.encoder(noisy), tokens["audio"].place)
        torch.testing.assert_close(loss(objective, batch), (answer - tokens["audio"].value).square().mean())


def test_a_range_of_ratios_the_wrong_way_round_is_refused():
    with pytest.raises(ConfigError, match=r"noise_decibels .*expected the lower ratio first"):
        made("audio_denoising", noise_decibels=(20.0, -5.0))
