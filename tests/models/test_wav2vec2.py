"""The encoder of waveforms is the stock wav2vec 2.0, whichever way the weights go."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, AutoModel, Wav2Vec2Config, Wav2Vec2ForPreTraining, Wav2Vec2Model

from mmssl.errors import CheckpointError, ConfigError
from mmssl.modalities.grids import Grid, Waveform
from mmssl.models import ENCODERS
from mmssl.models.export import export_encoder
from mmssl.models.wav2vec2 import WaveformEncoder, styled
from mmssl.tokens import Place, Tokens, take, without

SOUND = Waveform("audio", 203, 8000)
SMALL = {
    "layers": 2, "width": 16, "heads": 2, "intermediate": 24, "conv_widths": [8, 12, 8], "conv_sizes": [10, 3, 2],
    "conv_steps": [5, 2, 2], "position_size": 6, "position_groups": 2, "dropout": 0.0,
}  # fmt: skip
STYLES = ("base", "large")


def made(style: str = "base", **options) -> WaveformEncoder:
    """A small encoder with random weights."""
    torch.manual_seed(0)
    return ENCODERS["wav2vec2"]({"audio": SOUND}, **{**SMALL, "style": style, **options}).eval()


def sounds(count: int = 3, length: int = 203) -> Tensor:
    """Noise."""
    return torch.randn(count, length, generator=torch.Generator().manual_seed(1))


def stock_config(style) -> Wav2Vec2Config:
    """The same sizes, as the stock class names them."""
    return Wav2Vec2Config(
        num_hidden_layers=2, hidden_size=16, num_attention_heads=2, intermediate_size=24, conv_dim=[8, 12, 8],
        conv_kernel=[10, 3, 2], conv_stride=[5, 2, 2], num_conv_pos_embeddings=6, num_conv_pos_embedding_groups=2,
        num_codevectors_per_group=4, codevector_dim=8, proj_codevector_dim=8, **styled(style),
    )  # fmt: skip


def normalised(view: Tensor) -> Tensor:
    """As a waveform is tokenised."""
    return SOUND.tokenize([view]).value[..., 0]


@pytest.mark.parametrize("style", STYLES)
@torch.no_grad()
def test_an_exported_encoder_is_the_stock_model(style, tmp_path: Path):
    encoder, view = made(style), 3 * sounds() + 1
    export_encoder(encoder, tmp_path)
    stock = AutoModel.from_pretrained(tmp_path).eval()
    assert type(stock) is Wav2Vec2Model
    given = AutoFeatureExtractor.from_pretrained(tmp_path)(list(view.numpy()), sampling_rate=8000, return_tensors="pt")
    found = encoder({"audio": SOUND.tokenize([view])})["audio"]
    torch.testing.assert_close(stock(given.input_values).last_hidden_state, found.value, atol=1e-5, rtol=0)
    assert found.place.grid == (9,) == (encoder.frames(203),)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("stock_class", [Wav2Vec2Model, Wav2Vec2ForPreTraining])
@torch.no_grad()
def test_a_stock_folder_becomes_our_encoder(style, stock_class, tmp_path: Path):
    torch.manual_seed(3)
    stock = stock_class(stock_config(style)).eval()
    stock.save_pretrained(tmp_path)
    encoder = made(style, pretrained=str(tmp_path))
    view = sounds()
    expected = getattr(stock, "wav2vec2", stock)(normalised(view)).last_hidden_state
    found = encoder({"audio": SOUND.tokenize([view])})["audio"].value
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    # the control: without the weights it is another
    assert not torch.allclose(made(style)({"audio": SOUND.tokenize([view])})["audio"].value, expected, atol=1e-2)


@pytest.mark.parametrize("style", STYLES)
def test_the_gradient_is_that_of_the_stock_model(style, tmp_path: Path):
    encoder = made(style)
    export_encoder(encoder, tmp_path)
    stock = Wav2Vec2Model.from_pretrained(tmp_path).eval()
    weight = torch.randn(3, 9, 16, generator=torch.Generator().manual_seed(2))
    (stock(normalised(sounds())).last_hidden_state * weight).sum().backward()
    (encoder({"audio": SOUND.tokenize([sounds()])})["audio"].value * weight).sum().backward()
    theirs = {name: value.grad for name, value in stock.named_parameters()}
    pairs = {
        "context.stock.layers.0.attention.q_proj.weight": "encoder.layers.0.attention.q_proj.weight",
        "front.conv_layers.0.conv.weight": "feature_extractor.conv_layers.0.conv.weight",
        "front.conv_layers.0.layer_norm.weight": "feature_extractor.conv_layers.0.layer_norm.weight",
        "front.projection.projection.bias": "feature_projection.projection.bias",
    }
    for ours, name in pairs.items():
        torch.testing.assert_close(encoder.get_parameter(ours).grad, theirs[name], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_frames_that_are_not_seen_are_nothing_to_the_others():
    encoder = made("large")
    frames = encoder.front(SOUND.tokenize([sounds()])).projected
    seen = take(frames, torch.tensor([[0, 1, 4, 6, 8]] * 3))
    hidden = torch.tensor([2, 3, 5, 7])
    changed = Tokens(frames.value.index_fill(1, hidden, 7.0), frames.place)
    found, again = (encoder.context({"audio": take(part, seen.place.position)})["audio"] for part in (frames, changed))
    assert torch.equal(found.value, again.value)
    assert found.place.position.tolist() == seen.place.position.tolist()
    # positions are those on the whole grid: as if what is not seen were 0 and nobody looked there
    zeros = frames.value.index_fill(1, hidden, 0.0)
    document = frames.place.document.clone().index_fill(1, hidden, -1)
    whole = encoder.context({"audio": Tokens(zeros, Place(frames.place.position, document, (9,)))})["audio"].value
    torch.testing.assert_close(found.value, whole[:, seen.place.position[0]], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_sound_that_is_not_there_gives_frames_that_are_padding():
    tokens = without(SOUND.tokenize([torch.zeros(2, 203)]), torch.tensor([True, False]))
    found = made()({"audio": tokens})["audio"]
    assert found.place.valid.all(1).tolist() == [True, False]
    assert found.value.isfinite().all()


@torch.no_grad()
def test_what_layers_add_and_answer_is_told():
    encoder = made("large")
    frames = encoder.front(SOUND.tokenize([sounds()])).projected
    last = encoder.context({"audio": frames})["audio"].value
    assert len(encoder.context.added("audio", frames)) == 2
    norm = encoder.context.stock.layer_norm
    torch.testing.assert_close(norm(encoder.context.after(frames, 2)), last)
    assert not torch.allclose(norm(encoder.context.after(frames, 1)), last, atol=1e-2)


@pytest.mark.parametrize(
    "modalities, options, message",
    [
        ({"audio": Grid("audio", (16, 16), 1)}, {}, "expected audio.form=waveform"),
        ({"audio": SOUND, "image": Grid("image", (8, 8), 3)}, {}, "reads waveforms alone, the task audio, image"),
        ({"audio": SOUND._replace(length=49)}, {}, "49 samples; expected 50 at least"),
        ({"audio": SOUND}, {"heads": 3}, "encoder.width 16 cannot be split into encoder.heads 3"),
        ({"audio": SOUND}, {"conv_steps": [5, 2]}, r"\(3, 3, 2\) of them; expected as many of each"),
    ],
)
def test_what_it_cannot_read_is_refused(modalities, options, message):
    with pytest.raises(ConfigError, match=message):
        ENCODERS["wav2vec2"](modalities, **{**SMALL, **options})


def test_a_folder_of_other_sizes_is_refused(tmp_path: Path):
    Wav2Vec2Model(stock_config("base")).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"encoder\.style"):
        made("large", pretrained=str(tmp_path))
    with pytest.raises(ConfigError, match=r"encoder\.layers"):
        made(layers=1, pretrained=str(tmp_path))
    with pytest.raises(CheckpointError, match=r"encoder\.pretrained"):
        made(intermediate=32, pretrained=str(tmp_path))
    with pytest.raises(ConfigError, match="pretrained nowhere"):
        made(pretrained="nowhere/at all")
