"""Claims about the encoders of VideoMAE and V-JEPA 2: they are the stock ones, on seen tokens too, both ways."""

import pytest
import torch
from tiny import GRIDS, patterns, tiny_encoder, tiny_modalities
from transformers import AutoModel, VideoMAEConfig, VideoMAEModel, VJEPA2Config, VJEPA2Model
from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

from mmssl.drop import drop_random
from mmssl.errors import CheckpointError, ConfigError
from mmssl.modalities.grids import Grid
from mmssl.models import ENCODERS
from mmssl.models.export import export_encoder
from mmssl.models.rotary import ratio_of
from mmssl.models.transformer import TransformerEncoder, row_table
from mmssl.random import Draw

KINDS = {"videomae": (VideoMAEModel, {}), "vjepa2": (VJEPA2Model, {"skip_predictor": True})}
CLIP = patterns("video", 3, 1)[0]
SHARED = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4, "tubelet_size": 2}


def clips() -> dict:
    """What the encoders read."""
    return {"video": GRIDS["video"]}


def sharpened(name: str, **options) -> TransformerEncoder:
    """An encoder whose weights and vectors all matter."""
    encoder = tiny_encoder(clips(), name, layers=2, **options)
    assert isinstance(encoder, TransformerEncoder)
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    return encoder.eval()


def features(encoder: TransformerEncoder):
    """Those of whole clips."""
    return encoder({"video": encoder.cuts["video"].tokenize([CLIP])})["video"].value


def other_stock(name: str):
    """A stock model that we did not make; its epsilon is not ours, and matters."""
    torch.manual_seed(3)
    if name == "videomae":
        config = VideoMAEConfig(
            image_size=12, num_frames=8, intermediate_size=64, use_mean_pooling=False, layer_norm_eps=0.1, **SHARED
        )
        made = VideoMAEModel(config)
    else:
        made = VJEPA2Model(VJEPA2Config(
            crop_size=12, frames_per_clip=8, mlp_ratio=2.0, pred_num_hidden_layers=1, pred_hidden_size=12,
            pred_num_attention_heads=2, layer_norm_eps=0.1, **SHARED,
        ))  # fmt: skip
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    return made.eval()


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_an_exported_encoder_gives_the_same_features(name, tmp_path):
    encoder, (kind, options) = sharpened(name), KINDS[name]
    export_encoder(encoder, tmp_path)
    stock = AutoModel.from_pretrained(tmp_path).eval()
    assert type(stock) is kind
    found = stock(CLIP, **options).last_hidden_state
    torch.testing.assert_close(found, features(encoder), atol=1e-5, rtol=0)
    again = sharpened(name, pretrained=str(tmp_path))  # changed after it was loaded: the control
    assert not torch.allclose(features(again), found, atol=1e-2)
    loaded = tiny_encoder(clips(), name, layers=2, pretrained=str(tmp_path)).eval()
    torch.testing.assert_close(features(loaded), found, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_a_stock_model_loads_and_comes_back_as_it_was(name, tmp_path):
    stock, (_, options) = other_stock(name), KINDS[name]
    stock.save_pretrained(tmp_path / "theirs")
    encoder = tiny_encoder(clips(), name, layers=2, pretrained=str(tmp_path / "theirs")).eval()
    expected = stock(CLIP, **options).last_hidden_state
    torch.testing.assert_close(features(encoder), expected, atol=1e-5, rtol=0)
    export_encoder(encoder, tmp_path / "ours")
    back = type(stock).from_pretrained(tmp_path / "ours").state_dict()
    known = {key: value for key, value in stock.state_dict().items() if not key.startswith("predictor.")}
    assert set(known) == set(back) - {key for key in back if key.startswith("predictor.")}
    assert all(torch.equal(back[key], value) for key, value in known.items())


@torch.no_grad()
def test_v_jepa_2_on_some_tokens_is_its_stock_layers_on_their_ids():
    encoder = sharpened("vjepa2")
    tokens = encoder.cuts["video"].tokenize([CLIP])
    seen, _ = drop_random(0.5)(tokens, Draw(0, torch.zeros(3).long(), torch.arange(3)))
    stock = encoder.layers
    x, ids = encoder.embed["video"](seen.value) + encoder.modality["video"], seen.place.position
    stock.config._attn_implementation = "eager"
    for layer in stock.layers:
        x = layer(x, ids)[0]
    stock.config._attn_implementation = "mmssl_in_row"
    found = encoder({"video": seen})["video"].value
    torch.testing.assert_close(found, stock.norm(x), atol=1e-5, rtol=0)
    # the control: where tokens lie matters
    moved = seen._replace(place=seen.place._replace(position=ids.flip(1)))
    assert not torch.allclose(encoder({"video": moved})["video"].value, found, atol=1e-2)


@pytest.mark.parametrize("tokens, width", [(7, 6), (36, 32), (5, 9)])
def test_positions_in_a_row_are_those_of_the_stock_class(tokens, width):
    expected = get_sinusoid_encoding_table(tokens, width)[0]
    torch.testing.assert_close(row_table((tokens,), width, torch.device("cpu")), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_bias_of_keys_changes_nothing():
    encoder = sharpened("videomae")
    before = features(encoder)
    encoder.layers.layers[0].attention.k_proj.bias.add_(3.0)
    torch.testing.assert_close(features(encoder), before, atol=1e-5, rtol=0)
    encoder.layers.layers[0].attention.q_proj.bias.add_(3.0)
    assert not torch.allclose(features(encoder), before, atol=1e-2)  # the control


@pytest.mark.parametrize("name", KINDS)
def test_a_stock_model_of_other_sizes_is_refused(name, tmp_path):
    other_stock(name).save_pretrained(tmp_path)
    given = {"layers": 2, "pretrained": str(tmp_path)}
    for key, value in {"layers": 1, "heads": 4, "frames": 4, "patch": 6}.items():
        with pytest.raises(ConfigError, match=f"encoder.{key} {value}: .* has .*; expected the same"):
            tiny_encoder(clips(), name, **{**given, key: value})
    with pytest.raises(CheckpointError, match="does not fit"):
        tiny_encoder(clips(), name, **given, intermediate=72)
    with pytest.raises(ConfigError, match=r"pretrained .*nowhere"):
        tiny_encoder(clips(), name, pretrained=str(tmp_path / "nowhere"))
    other = {"videomae": "vjepa2", "vjepa2": "videomae"}[name]
    with pytest.raises(ConfigError, match=f"pretrained .*: a {name} with gelu; expected a"):
        tiny_encoder(clips(), other, **given)


def test_what_is_no_square_clip_is_refused():
    for name in KINDS:
        with pytest.raises(ConfigError, match="reads clips alone"):
            ENCODERS[name](tiny_modalities("audio_visual_jepa"))
    oblong = {"video": Grid("video", (4, 8, 12), 3)}
    with pytest.raises(ConfigError, match="8 x 12 pixels; expected square ones"):
        tiny_encoder(oblong, "vjepa2")
    with pytest.raises(ConfigError, match="6 numbers a head"):
        tiny_encoder(clips(), "vjepa2", heads=8)


def test_the_stock_perceptron_becomes_as_wide_whatever_the_ratio():
    for width in (12, 24, 96, 100, 768):
        for intermediate in range(1, 4 * width, 7):
            assert int(width * ratio_of(intermediate, width)) == intermediate
