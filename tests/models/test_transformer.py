"""Claims about the encoder of patches: it sees what is seen, alone or fused, and knows where it lies."""

import math

import pytest
import torch
from tiny import GRIDS, VIT, patterns, tiny_encoder
from torch import Tensor

from mmssl.drop import drop_random
from mmssl.errors import ConfigError
from mmssl.models.transformer import Layers, TransformerEncoder, position_table, positions
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, take, without

COUNT = 3
DRAW = Draw(0, torch.zeros(COUNT, dtype=torch.long), torch.arange(COUNT))
BOTH = {name: GRIDS[name] for name in ("video", "audio")}


def encoder_of(*names: str, fused: bool = False) -> TransformerEncoder:
    """A tiny encoder of two layers."""
    found = tiny_encoder({name: GRIDS[name] for name in names}, layers=2, fused=fused).eval()
    assert isinstance(found, TransformerEncoder)
    return found


def tokens_of(encoder: TransformerEncoder, name: str) -> Tokens:
    """Those of some samples."""
    return encoder.cuts[name].tokenize(patterns(name, COUNT, 1))


def changed(tokens: Tokens, rows: Tensor | None = None) -> Tokens:
    """Other values at the same places, of all samples or of some."""
    other = torch.where(torch.ones(COUNT).bool()[:, None, None] if rows is None else rows[:, None, None], 9.0, 0.0)
    return tokens._replace(value=tokens.value + other)


@torch.no_grad()
def test_what_is_hidden_cannot_reach_the_encoder():
    encoder = encoder_of("image")
    tokens = tokens_of(encoder, "image")
    seen, hidden = drop_random(0.5)(tokens, DRAW)
    expected = encoder({"image": seen})["image"]
    for place, reaches in ((hidden, False), (seen.place, True)):  # the control: what is seen does
        value = tokens.value.clone()
        value[torch.arange(COUNT)[:, None], place.position] += 9
        found = encoder({"image": drop_random(0.5)(tokens._replace(value=value), DRAW)[0]})["image"]
        assert torch.equal(found.value, expected.value) is not reaches
    assert expected.place.position.tolist() == seen.place.position.tolist()


@torch.no_grad()
def test_seen_tokens_are_encoded_as_if_nothing_else_were_there():
    encoder = encoder_of("image")
    tokens = tokens_of(encoder, "image")
    seen, hidden = drop_random(0.5)(tokens, DRAW)
    padded = tokens.place.document.clone()
    padded[torch.arange(COUNT)[:, None], hidden.position] = -1  # hidden by the mask instead of dropped
    whole = encoder({"image": tokens._replace(place=tokens.place._replace(document=padded))})["image"]
    expected = whole.value[torch.arange(COUNT)[:, None], seen.place.position]
    torch.testing.assert_close(encoder({"image": seen})["image"].value, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(encoder({"image": tokens})["image"].value, whole.value, atol=1e-3)  # the control


@torch.no_grad()
def test_the_encoder_follows_the_order_of_its_tokens():
    encoder = encoder_of("image")
    tokens = tokens_of(encoder, "image")
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(seed)) for seed in range(COUNT)])
    expected = encoder({"image": tokens})["image"].value[torch.arange(COUNT)[:, None], order]
    found = encoder({"image": take(tokens, order)})["image"].value
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    moved = Tokens(take(tokens, order).value, tokens.place)  # the control: patches at other places are another picture
    assert not torch.allclose(encoder({"image": moved})["image"].value, expected, atol=1e-3)


@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_modalities_see_each_other_only_where_fused(fused):
    encoder = encoder_of("video", "audio", fused=fused)
    seen = {name: tokens_of(encoder, name) for name in BOTH}
    before, after = encoder(seen), encoder({**seen, "audio": changed(seen["audio"])})
    assert torch.equal(before["video"].value, after["video"].value) is not fused
    assert float((before["video"].value - after["video"].value).abs().max()) > 1e-3 or not fused
    assert not torch.equal(before["audio"].value, after["audio"].value)


@torch.no_grad()
def test_an_absent_modality_does_not_reach_the_other():
    encoder = encoder_of("video", "audio", fused=True)
    kept = torch.tensor([True, False, True])
    seen = {"video": tokens_of(encoder, "video"), "audio": without(tokens_of(encoder, "audio"), kept)}
    before = encoder(seen)["video"].value
    after = encoder({**seen, "audio": changed(seen["audio"])})["video"].value
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [False, True, False]
    # the sample that lacks its sound is encoded as if it had been given none
    alone = encoder({"video": seen["video"]})["video"].value
    torch.testing.assert_close(before[1], alone[1], atol=1e-5, rtol=0)
    assert not torch.allclose(before[0], alone[0], atol=1e-3)


@torch.no_grad()
def test_the_class_token_is_the_summary_of_each_sequence():
    seen = {name: tokens_of(encoder_of(*BOTH), name) for name in BOTH}
    fused = encoder_of(*BOTH, fused=True)(seen)
    assert fused["audio"].summary is None  # one sequence has one class token
    apart = encoder_of(*BOTH)(seen)
    found = [fused["video"].summary, *(tokens.summary for tokens in apart.values())]
    for one in found:
        assert one is not None
        assert one.shape == (COUNT, 32)
    after = encoder_of(*BOTH)({**seen, "video": changed(seen["video"], torch.tensor([True, False, True]))})["video"]
    assert after.summary is not None
    is_same = [torch.equal(*pair) for pair in zip(after.summary, apart["video"].summary, strict=True)]
    assert is_same == [False, True, False]  # it reads its own sample


@torch.no_grad()
def test_padding_stays_finite():
    encoder = encoder_of("image")
    absent = without(tokens_of(encoder, "image"), torch.zeros(COUNT, dtype=torch.bool))
    found = encoder({"image": absent})["image"]
    assert torch.isfinite(found.value).all()
    assert not found.place.valid.any()


@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch():
    encoder = encoder_of("image")
    tokens = tokens_of(encoder, "image")
    rows = torch.tensor([False, True, True])
    before, after = (encoder({"image": part})["image"].value for part in (tokens, changed(tokens, rows)))
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, False, False]


def test_the_position_table_worked_by_hand():
    table = position_table((2, 3), 9, torch.device("cpu"))  # 2 waves an axis, and one feature is left
    assert table.shape == (6, 9)
    for row in range(2):
        for column in range(3):
            expected = [
                math.sin(row), math.sin(row / 100), math.cos(row), math.cos(row / 100),
                math.sin(column), math.sin(column / 100), math.cos(column), math.cos(column / 100), 0.0,
            ]  # fmt: skip
            assert table[3 * row + column].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("grid", [(30,), (5, 6), (2, 3, 5)])
def test_no_two_places_have_the_same_position(grid):
    table = position_table(grid, 32, torch.device("cpu"))
    assert len({tuple(row.tolist()) for row in table}) == 30
    position = torch.tensor([[29, 0, 7]])
    found = positions(Place(position, torch.zeros_like(position), grid), 32)
    assert torch.equal(found[0], table[[29, 0, 7]])


def test_a_width_without_room_for_positions_or_heads_is_refused():
    with pytest.raises(ConfigError, match="a width of 5 has no room for positions on 3 axes; expected more"):
        position_table((2, 2, 2), 5, torch.device("cpu"))
    with pytest.raises(ConfigError, match="a width of 10 cannot be split into 4 heads; expected a multiple"):
        Layers(layers=1, width=10, heads=4, intermediate=8)


def test_the_gradient_reaches_every_weight_of_the_encoder():
    encoder = encoder_of("video", "audio", fused=True).train()
    found = encoder({name: tokens_of(encoder, name) for name in BOTH})
    sum((part.value**3).mean() for part in found.values()).backward()
    silent = [name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert [name for name in silent if "k_proj.bias" not in name] == []  # the softmax cancels a key's bias


def test_patches_that_do_not_fill_the_picture_are_refused():
    with pytest.raises(ConfigError, match=r"image of 16 x 16 cannot be cut into patches of 5 x 5; expected divisors"):
        tiny_encoder({"image": GRIDS["image"]}, patch=5)
    assert VIT["patch"] == 4


@torch.no_grad()
def test_a_view_of_another_size_lies_on_a_grid_of_its_own():
    encoder = encoder_of("image")
    (whole,) = patterns("image", COUNT, 1)
    for view, grid in ((whole[..., :8, :12], (2, 3)), (torch.cat([whole, whole], 3), (4, 8))):
        tokens = encoder.cuts["image"].tokenize([view])
        found = encoder({"image": tokens})["image"]
        assert tokens.place.grid == found.place.grid == grid
        # the encoder of that very size, with the same weights, answers the same
        other = tiny_encoder({"image": GRIDS["image"]._replace(size=tuple(view.shape[2:]))}, layers=2).eval()
        other.load_state_dict(encoder.state_dict())
        assert torch.equal(found.value, other({"image": other.cuts["image"].tokenize([view])})["image"].value)
        # a patch has the position of its own row and column, wherever it is in the row-major order
        last = grid[0] * grid[1] - 1
        expected = position_table((9, 9), 32, whole.device)[9 * (grid[0] - 1) + grid[1] - 1]
        torch.testing.assert_close(positions(tokens.place, 32)[0, last], expected)
        assert not torch.allclose(position_table((4, 4), 32, whole.device)[min(last, 15)], expected)  # the control


def test_a_view_that_patches_do_not_fill_is_refused():
    cut = tiny_encoder({"image": GRIDS["image"]}).cuts["image"]
    assert cut.sized((8, 12)).grid == (2, 3)
    for refused in (lambda: cut.sized((8, 10)), lambda: cut.tokenize([torch.zeros(2, 3, 8, 10)])):
        with pytest.raises(
            ConfigError, match=r"image of 8 x 10 cannot be cut into patches of 4 x 4; expected divisors"
        ):
            refused()
