"""Claims about the encoder that is a stock ASTModel: both say the same, weights go both ways, and the rest is named."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import GRIDS, MEDIA, gradients, tiny_batch, tiny_encoder
from torch import Tensor
from transformers import ASTConfig, ASTForAudioClassification, ASTModel, AutoModel

from mmssl.errors import CheckpointError, ConfigError
from mmssl.methods import METHODS
from mmssl.modalities.grids import Grid, Modality
from mmssl.models.export import export_encoder
from mmssl.models.transformer import TransformerEncoder

SOUNDS: dict[str, Modality] = {"audio": Grid("audio", (24, 16), 1)}  # 6 times x 4 bands of patches of 4 x 4
STOCK: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "patch_size": 4,
    "frequency_stride": 4, "time_stride": 4, "max_length": 24, "num_mel_bins": 16,
}  # fmt: skip


def ours(**options) -> TransformerEncoder:
    """Of two layers."""
    encoder = tiny_encoder(SOUNDS, "ast", layers=2, **options)
    assert isinstance(encoder, TransformerEncoder)
    return encoder.eval()


def spectrograms(count: int = 3) -> Tensor:
    return torch.randn(count, 24, 16, generator=torch.Generator().manual_seed(0))


def stock_folder(folder: Path, **options) -> Path:
    """A stock model of random weights, all of them, biases and positions too."""
    torch.manual_seed(1)
    made = ASTModel(ASTConfig(**{**STOCK, **options}))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    made.save_pretrained(folder)
    return folder


@torch.no_grad()
def assert_same(encoder: TransformerEncoder, stock: ASTModel) -> None:
    """Our tokens are the stock ones, bands before times, and our summary its pooler's output."""
    view = spectrograms()
    found, theirs = encoder({"audio": encoder.cut("audio").tokenize([view])})["audio"], stock(input_values=view)
    expected = theirs.last_hidden_state[:, 2:].reshape(3, 4, 6, 32).transpose(1, 2).reshape(3, 24, 32)
    torch.testing.assert_close(found.value, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.summary, theirs.pooler_output, atol=1e-5, rtol=0)


def test_what_is_exported_loads_as_a_stock_model_and_says_the_same(tmp_path):
    encoder = ours()
    export_encoder(encoder, tmp_path)
    stock = AutoModel.from_pretrained(tmp_path).eval()
    assert type(stock) is ASTModel
    assert_same(encoder, stock)
    # the control: with the places in our order it says something else
    with torch.no_grad():
        stock.embeddings.position_embeddings[:, 2:] = encoder.modality["audio"]
    with pytest.raises(AssertionError):
        assert_same(encoder, stock)


@pytest.mark.parametrize("options", [{}, {"qkv_bias": False}, {"layer_norm_eps": 1e-3}])
def test_an_encoder_begins_with_the_weights_of_a_stock_model(tmp_path, options):
    folder = stock_folder(tmp_path, **options)
    assert_same(ours(pretrained=str(folder)), ASTModel.from_pretrained(folder).eval())


def test_it_begins_with_the_encoder_of_a_classifier_and_comes_back_the_same(tmp_path):
    torch.manual_seed(2)
    whole = ASTForAudioClassification(ASTConfig(**STOCK)).eval()
    whole.save_pretrained(tmp_path / "whole")
    encoder = ours(pretrained=str(tmp_path / "whole"))
    assert_same(encoder, whole.audio_spectrogram_transformer)
    export_encoder(encoder, tmp_path / "again")
    assert_same(encoder, ASTModel.from_pretrained(tmp_path / "again").eval())


@pytest.mark.parametrize(
    "options, said",
    [
        ({"frequency_stride": 2, "time_stride": 2}, "patches of 4 that overlap .*expected strides of a whole patch"),
        ({"max_length": 28}, r"data.seconds / audio.hop_seconds 24: .* has 28"),
        ({"num_mel_bins": 20}, r"audio.bands 16: .* has 20"),
        ({"num_attention_heads": 4}, r"encoder.heads 2: .* has 4"),
    ],
)
def test_a_stock_model_of_other_shapes_is_named(tmp_path, options, said):
    folder = stock_folder(tmp_path, **options)
    with pytest.raises(ConfigError, match=said):
        ours(pretrained=str(folder))


def test_a_stock_model_with_other_layers_is_named(tmp_path):
    with pytest.raises((ConfigError, CheckpointError), match=r"intermediate|mlp"):
        ours(pretrained=str(stock_folder(tmp_path, intermediate_size=48)))


def test_other_modalities_and_stereo_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="encoder ast: reads sounds alone, the task reads video, audio"):
        tiny_encoder({"video": GRIDS["video"], "audio": GRIDS["audio"]}, "ast")
    stereo = tiny_encoder({"audio": Grid("audio", (16, 16), 2)}, "ast")
    with pytest.raises(ConfigError, match="spectrograms of 2 channels, ASTModel reads one"):
        export_encoder(stereo, tmp_path)


def test_a_vit_of_spectrograms_stays_a_vit(tmp_path):
    export_encoder(tiny_encoder(dict(SOUNDS)), tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)).__name__ == "ViTModel"


def test_a_masked_autoencoder_learns_on_it_and_hides_patches_without_moving_the_others():
    encoder = tiny_encoder({"audio": GRIDS["audio"]}, "ast")
    assert isinstance(encoder, TransformerEncoder)
    objective = METHODS["audio_mae"](encoder, None, **MEDIA["audio_mae"][1])
    batch = tiny_batch("audio_mae")
    loss = torch.stack([*objective(batch).terms.values()]).sum()
    loss.backward()
    for name in ("first", "modality.audio"):
        assert gradients(encoder)[name].abs().sum() > 0
    # positions belong to places: tokens in another order have the same embeddings in that order
    tokens = encoder.cut("audio").tokenize(batch.views["audio"])
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    place = tokens.place._replace(position=tokens.place.position[:, order], document=tokens.place.document[:, order])
    moved = tokens._replace(value=tokens.value[:, order], place=place)
    with torch.no_grad():
        found, plain = (encoder({"audio": part})["audio"].value for part in (moved, tokens))
    torch.testing.assert_close(found, plain[:, order], atol=1e-5, rtol=0)


def test_a_spectrogram_of_another_size_is_refused():
    encoder = ours()
    tokens = encoder.cut("audio").tokenize([torch.zeros(1, 16, 16)])
    with pytest.raises(ConfigError, match="4 x 4 patches: the encoder learns positions of 6 x 4"):
        encoder({"audio": tokens})
