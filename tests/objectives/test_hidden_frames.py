"""Hidden frames of waveforms: the loss of wav2vec 2.0 is the stock one, and nothing hidden is seen."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from tiny import SPEECH, begin, tiny_batch, tiny_encoder, tiny_modalities, tiny_objective
from torch import Tensor
from transformers import AutoModelForPreTraining, Wav2Vec2ForPreTraining

from mmssl.batch import Batch
from mmssl.errors import CheckpointError, ConfigError
from mmssl.losses.frame_contrast import distractors
from mmssl.methods import METHODS
from mmssl.models.export_autoencoder import export_objective
from mmssl.random import Draw

STYLES = ("base", "large")


def speech(style: str, **options) -> Any:
    """wav2vec 2.0, small, whose convolutions learn by the whole gradient."""
    encoder = tiny_encoder(tiny_modalities("wav2vec2"), "wav2vec2", style=style, layers=2)
    sizes = {"span_frames": 3, "start_ratio": 0.15, "num_codes": 8, "code_width": 16, "num_distractors": 7}
    return METHODS["wav2vec2"](encoder, None, **{**sizes, "convolutions_gradient": 1.0, **options})


def stock_arguments(objective: Any, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
    """What the stock class is called with for the same waveforms, mask and distractors; and the hidden frames of each
    sample.
    """
    _, _, hidden = objective.corrupted(batch)
    place = hidden["audio"]
    (frames,) = place.grid
    mask = torch.zeros(len(place.position), frames, dtype=torch.bool)
    negative = torch.zeros(*mask.shape, objective.stream.num_distractors, dtype=torch.long)
    others = distractors(batch.draw, place.valid, objective.stream.num_distractors)
    for row, (position, valid) in enumerate(zip(place.position, place.valid, strict=True)):
        mask[row, position[valid]] = True
        negative[row, position[valid]] = position[others[row, valid]] + row * frames
    waveform = objective.encoder.cuts["audio"].tokenize(batch.views["audio"]).value[..., 0]
    arguments = {"input_values": waveform, "mask_time_indices": mask, "sampled_negative_indices": negative}
    return arguments, place.valid.sum(1)


def alike(objective: Any) -> Batch:
    """Samples that hide as many frames each."""
    batch = tiny_batch("wav2vec2", 64)
    counts = objective.corrupted(batch)[2]["audio"].valid.sum(1)
    rows = (counts == counts.mode().values).nonzero()[:, 0]
    assert len(rows) > 4
    draw = batch.draw
    return Batch({"audio": [batch.views["audio"][0][rows]]}, Draw(draw.seed, draw.epoch[rows], draw.index[rows]))


@pytest.mark.parametrize("style", STYLES)
@torch.no_grad()
def test_the_loss_is_the_stock_one_of_the_exported_model(style, tmp_path: Path):
    objective = speech(style).eval()
    batch = alike(objective)
    export_objective(objective, tmp_path)
    stock = AutoModelForPreTraining.from_pretrained(tmp_path).eval()
    assert type(stock) is Wav2Vec2ForPreTraining
    arguments, counts = stock_arguments(objective, batch)
    expected = stock(**arguments)
    total = int(counts.sum())
    terms = objective(batch).terms
    assert float(terms["audio"]) == pytest.approx(float(expected.contrastive_loss) / total, abs=1e-5)
    assert float(terms["audio.diversity"]) == pytest.approx(0.1 * float(expected.diversity_loss) / total, abs=1e-5)
    assert float(sum(terms.values())) == pytest.approx(float(expected.loss) / total, abs=1e-5)
    # the control: with other distractors it is another
    arguments["sampled_negative_indices"] = arguments["sampled_negative_indices"].flip(-1).roll(1, 0)
    assert float(stock(**arguments).contrastive_loss) / total != pytest.approx(float(terms["audio"]), abs=1e-3)


@pytest.mark.parametrize("style", STYLES)
def test_loss_and_gradient_are_the_stock_ones_in_training_with_the_same_noise(style, tmp_path: Path):
    objective = speech(style).train()
    batch = alike(objective)
    export_objective(objective, tmp_path)
    stock = Wav2Vec2ForPreTraining.from_pretrained(
        tmp_path, hidden_dropout=0.0, attention_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0
    ).train()
    arguments, counts = stock_arguments(objective, batch)
    place = objective.corrupted(batch)[2]["audio"]
    frames, groups = place.grid[0], (2, 8)
    noise = torch.zeros(len(counts), frames, *groups)
    ours = objective.stream.quantiser.noise(batch.draw, place.position.shape[1])
    for row, (position, valid) in enumerate(zip(place.position, place.valid, strict=True)):
        noise[row, position[valid]] = ours[row, valid]

    def drawn(logits: Tensor, tau: float, hard: bool) -> Tensor:
        soft = ((logits + noise.reshape(logits.shape)) / tau).softmax(-1)
        # as exact as ours: the stock one adds and takes away `soft`, so that equal entries may differ in a bit
        return torch.nn.functional.one_hot(soft.argmax(-1), logits.shape[-1]) + (soft - soft.detach())

    with patch("torch.nn.functional.gumbel_softmax", drawn):
        expected = stock(**arguments).loss / counts.sum()
    found = torch.stack([*objective(batch).terms.values()]).sum()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    expected.backward()
    found.backward()
    pairs = {
        "streams.audio.fill.frame": "wav2vec2.masked_spec_embed",
        "streams.audio.quantiser.codevectors": "quantizer.codevectors",
        "streams.audio.quantiser.weight_proj.weight": "quantizer.weight_proj.weight",
        "streams.audio.project.weight": "project_q.weight",
        "streams.audio.predictor.answer.weight": "project_hid.weight",
        "encoder.front.conv_layers.0.conv.weight": "wav2vec2.feature_extractor.conv_layers.0.conv.weight",
        "encoder.context.stock.layers.1.attention.q_proj.weight": "wav2vec2.encoder.layers.1.attention.q_proj.weight",
    }
    for mine, theirs in pairs.items():
        gradient = objective.get_parameter(mine).grad
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradient, stock.get_parameter(theirs).grad, atol=1e-5, rtol=1e-3, msg=mine)


@torch.no_grad()
def test_a_stock_folder_becomes_encoder_quantiser_and_heads(tmp_path: Path):
    objective = speech("base").eval()
    batch = alike(objective)
    export_objective(objective, tmp_path)
    torch.manual_seed(9)
    encoder = tiny_encoder(tiny_modalities("wav2vec2"), "wav2vec2", layers=2, pretrained=str(tmp_path))
    sizes = {"span_frames": 3, "start_ratio": 0.15, "num_codes": 8, "code_width": 16, "num_distractors": 7}
    again = METHODS["wav2vec2"](encoder, None, **sizes, pretrained=str(tmp_path)).eval()
    for mine, theirs in zip(again(batch).terms.values(), objective(batch).terms.values(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    with pytest.raises(CheckpointError, match=r"method\.pretrained .*quantizer"):
        METHODS["wav2vec2"](encoder, None, **{**sizes, "num_codes": 6}, pretrained=str(tmp_path))


@pytest.mark.parametrize("method", SPEECH)
@torch.no_grad()
def test_what_layers_say_of_a_mask_does_not_depend_on_the_hidden_frames(method):
    objective: Any = tiny_objective(method).eval()
    batch = tiny_batch(method)
    begin(objective, batch)
    tokens, _, hidden = objective.corrupted(batch)
    other = tokens["audio"].value.scatter(
        1, hidden["audio"].position[..., None].expand(-1, -1, 32)[:, :3], 5.0
    )  # the first three, which are real
    changed = {**tokens, "audio": tokens["audio"]._replace(value=other)}
    answers = []
    for told in (tokens, changed):
        seen, places = objective.parted(told, batch.draw)
        answers.append(objective.predict(seen, places)["audio"])
    assert torch.equal(*answers)
    # the control: another frame matters
    left = torch.ones(other.shape[:2], dtype=torch.bool).scatter(1, hidden["audio"].position, False)
    moved = tokens["audio"].value + left[..., None]
    seen, places = objective.parted({**tokens, "audio": tokens["audio"]._replace(value=moved)}, batch.draw)
    assert not torch.allclose(objective.predict(seen, places)["audio"], answers[0], atol=1e-3)


def test_the_convolutions_learn_by_a_share_of_the_gradient():
    batch, name = tiny_batch("wav2vec2"), "encoder.front.conv_layers.0.conv.weight"
    found = []
    for share in (1.0, 0.1):
        objective = speech("base", convolutions_gradient=share)
        torch.stack([*objective(batch).terms.values()]).sum().backward()
        found.append((objective.get_parameter(name).grad, objective.stream.fill.frame.grad))
    torch.testing.assert_close(found[1][0], 0.1 * found[0][0])
    torch.testing.assert_close(found[1][1], found[0][1])


def test_the_perplexity_of_codes_is_logged_and_codes_are_told():
    objective, batch = speech("base"), tiny_batch("wav2vec2")
    batch.views["audio.present"] = [torch.tensor([True] * 7 + [False])]
    output = objective(batch)
    assert 1 <= float(output.statistics["codes.perplexity"]) <= 8
    assert not output.statistics["codes.perplexity"].requires_grad
    codes = objective.eval().codes_of(batch)
    assert codes.shape == (8, 21, 2)
    assert (codes[:7] >= 0).all()
    assert (codes[7] == -1).all()
    assert objective.num_codes == 8
    # a quantiser that always answers the same is named by it
    with torch.no_grad():
        objective.stream.quantiser.weight_proj.weight.zero_()
        objective.stream.quantiser.weight_proj.bias[::8] = 100.0
    assert float(objective.train()(batch).statistics["codes.perplexity"]) == pytest.approx(1.0, abs=1e-3)


@torch.no_grad()
def test_an_absent_sound_has_no_loss():
    for method in SPEECH:
        objective: Any = tiny_objective(method).eval()
        batch = tiny_batch(method)
        begin(objective, batch)
        batch.views["audio.present"] = [torch.tensor([False] * 8)]
        output = objective(batch)
        assert float(output.terms["audio"]) == 0.0
        assert torch.equal(output.energy, torch.zeros(8))


@torch.no_grad()
def test_a_teacher_of_data2vec_drops_nothing_and_follows_the_layers_alone():
    encoder = tiny_encoder(tiny_modalities("data2vec_audio"), "wav2vec2", dropout=0.5)
    sizes = {"predictor_layers": 1, "predictor_width": 32, "predictor_heads": 2, "span_frames": 3, "top_layers": 1}
    objective = METHODS["data2vec_audio"](encoder, None, **sizes).train()
    tokens = objective.tokens(tiny_batch("data2vec_audio"))
    fixed = {"audio": tokens["audio"]}
    assert torch.equal(objective.target(fixed)["audio"].value, objective.target(fixed)["audio"].value)
    assert all(name.startswith("module.stock.") for name, _ in objective.target.named_parameters())
    with pytest.raises(ConfigError, match=r"method\.top_layers 2: the encoder has 1 layers"):
        METHODS["data2vec_audio"](encoder, None, **{**sizes, "top_layers": 2})


def test_methods_of_waveforms_refuse_other_encoders():
    encoder = tiny_encoder(tiny_modalities("audio_mae"))
    for method in SPEECH:
        with pytest.raises(ConfigError, match=r"expected encoder.name wav2vec2 and audio.form waveform"):
            METHODS[method](encoder, None)
