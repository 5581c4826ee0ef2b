"""Claims about encoders with layers of each modality's own: whose weights see what, alone and fused."""

from typing import Any

import pytest
import torch
from tiny import BOTH, GRIDS, tiny_batch, tiny_encoder

from mmssl.errors import ConfigError
from mmssl.modalities.grids import Modality
from mmssl.models.separate import SeparateEncoder
from mmssl.tokens import Tokens

MODALITIES: dict[str, Modality] = {name: GRIDS[name] for name in BOTH}


def made(separate: int, *, fused: bool, layers: int = 3) -> SeparateEncoder:
    """A tiny encoder of clips and sounds."""
    found = tiny_encoder(MODALITIES, layers=layers, separate_layers=separate, fused=fused)
    assert isinstance(found, SeparateEncoder)
    return found


def tokens(encoder: SeparateEncoder) -> dict[str, Tokens]:
    """Of two clips with their sounds."""
    batch = tiny_batch("audio_visual_contrastive", 2)
    return {name: GRIDS[name].cut(encoder.cut(name).patch).tokenize(batch.views[name]) for name in BOTH}


def touched(encoder: SeparateEncoder, asked: str) -> set[str]:
    """The parts that the embedding of one modality depends on where both are given."""
    encoder(tokens(encoder))[asked].value.square().sum().backward()
    names = [name for name, weight in encoder.named_parameters() if weight.grad is not None and weight.grad.any()]
    return {".".join(name.split(".")[:2]) for name in names if name.startswith(("own", "layers"))}


@pytest.mark.parametrize("separate, fused, expected", [
    (3, False, {"own.video", "layers.norm"}),
    (2, False, {"own.video", "layers.layers", "layers.norm"}),
    (2, True, {"own.video", "own.audio", "layers.layers", "layers.norm"}),
])  # fmt: skip
def test_a_modality_goes_through_its_own_layers_then_through_those_of_all(separate, fused, expected):
    assert touched(made(separate, fused=fused), "video") == expected


def test_so_many_layers_are_own_and_the_others_shared():
    encoder = made(2, fused=True)
    own: Any = encoder.own
    assert [len(part.layers) for part in own.values()] == [2, 2]
    assert len(encoder.layers.layers) == 1
    plain: Any = tiny_encoder(MODALITIES, layers=3)
    assert not hasattr(plain, "own")
    assert len(plain.layers.layers) == 3


@torch.no_grad()
def test_a_modality_alone_is_the_same_whether_fused_or_not():
    fused, alone = made(2, fused=True), made(2, fused=False)
    alone.load_state_dict(fused.state_dict())
    given = tokens(fused)
    for name in BOTH:
        one = {name: given[name]}
        torch.testing.assert_close(fused(one)[name].value, alone(given)[name].value)
    assert not torch.allclose(fused(given)["video"].value, alone(given)["video"].value)  # the control


@torch.no_grad()
def test_the_layers_are_those_of_a_plain_encoder_where_all_own_ones_are_alike():
    encoder, plain = made(2, fused=False), tiny_encoder(MODALITIES, layers=3)
    plain.register_parameter("first", None)
    weights = {name: value for name, value in plain.state_dict().items() if not name.startswith("layers")}
    for name, value in plain.state_dict().items():
        if name.startswith("layers.layers."):
            number, rest = name.removeprefix("layers.layers.").split(".", 1)
            if int(number) < 2:
                weights |= {f"own.{part}.layers.{number}.{rest}": value for part in BOTH}
            else:
                weights[f"layers.layers.{int(number) - 2}.{rest}"] = value
    norms = {name: value for name, value in plain.state_dict().items() if name.startswith("layers.norm")}
    encoder.load_state_dict(weights | norms)
    given = tokens(encoder)
    for name in BOTH:
        torch.testing.assert_close(encoder(given)[name].value, plain(given)[name].value)


@pytest.mark.parametrize("names, layers", [(("video",), 1), (BOTH, 4)])
def test_one_modality_or_more_own_layers_than_there_are_is_refused(names, layers):
    with pytest.raises(ConfigError, match=f"encoder.separate_layers {layers}: of 3 layers"):
        tiny_encoder({name: GRIDS[name] for name in names}, layers=3, separate_layers=layers)
