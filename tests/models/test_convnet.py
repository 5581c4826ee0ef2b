"""Claims about ResNet and RegNet: they are the papers' on whole pictures, and say what they cannot do."""

import copy
import re

import pytest
import torch
import torchvision
from tiny import GRIDS, RESNET, patterns, tiny_encoder, words_of_tests
from torch import nn

from mmssl.drop import drop_random
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Grid
from mmssl.models.convnet import regnet_y, resnet
from mmssl.models.normalization import BatchNorm
from mmssl.random import Draw
from mmssl.tokens import without

PICTURES = {"image": GRIDS["image"]}
REGNET = {"widths": [8, 16], "depths": [1, 2], "groups_width": 4}
LARGE = {"widths": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3], "bottleneck": True}
SEER = [  # RegNetY-32GF and 128GF: torchvision counts 145.0 and 644.8 million, of which 3.7 and 7.4 classify
    ([232, 696, 1392, 3712], [2, 5, 12, 1], 232, 141.3),
    ([528, 1056, 2904, 7392], [2, 7, 17, 1], 264, 637.4),
]


@pytest.mark.parametrize("small_stem, grid", [(True, (8, 8)), (False, (2, 2))])
@pytest.mark.parametrize("bottleneck", [False, True])
@torch.no_grad()
def test_tokens_are_the_cells_of_the_stock_feature_map(small_stem, grid, bottleneck):
    encoder = tiny_encoder(PICTURES, "resnet", small_stem=small_stem, bottleneck=bottleneck).eval()
    (picture,) = patterns("image", 3, 1)
    found = encoder({"image": encoder.cuts["image"].tokenize([picture])})["image"]
    expected = copy.deepcopy(encoder.stock)(picture).last_hidden_state
    assert found.place.grid == expected.shape[2:] == grid
    assert found.value.shape[2] == encoder.width == RESNET["widths"][-1]
    for cell in range(grid[0] * grid[1]):
        torch.testing.assert_close(found.value[:, cell], expected[:, :, cell // grid[1], cell % grid[1]])
    assert torch.equal(found.place.position[0], torch.arange(grid[0] * grid[1]))


@pytest.mark.parametrize("small_stem, grid", [(True, (8, 8)), (False, (2, 2))])
@torch.no_grad()
def test_tokens_of_a_regnet_are_the_cells_of_the_stock_feature_map(small_stem, grid):
    torch.manual_seed(0)
    encoder = regnet_y(PICTURES, **REGNET, small_stem=small_stem).eval()
    (picture,) = patterns("image", 3, 1)
    found = encoder({"image": encoder.cuts["image"].tokenize([picture])})["image"]
    expected = copy.deepcopy(encoder.stock)(picture).last_hidden_state
    assert found.place.grid == expected.shape[2:] == grid
    torch.testing.assert_close(found.value, expected.flatten(2).mT)
    assert encoder.stock.config.layer_type == "y"


def with_weights_of(stock: nn.Module, theirs: nn.Module, *, shortcut_last: bool) -> None:
    """Load a network of torchvision: its weights come in the stock order, but for the place of a shortcut."""
    names = list(stock.state_dict())
    blocks = [re.split(r"\.shortcut|\.layer\.", name)[0] for name in names]
    order = sorted(
        range(len(names)), key=lambda n: (blocks.index(blocks[n]), shortcut_last and "shortcut" in names[n], n)
    )
    values = theirs.state_dict().values()
    stock.load_state_dict({names[n]: value for n, value in zip(order, values, strict=True)})


@pytest.mark.parametrize(
    "name, make, options", [("resnet18", resnet, {}), ("resnet50", resnet, LARGE), ("regnet_y_400mf", regnet_y, {})]
)
@torch.no_grad()
def test_sizes_by_numbers_give_the_network_of_torchvision(name, make, options):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)().eval()
    theirs.fc = nn.Identity()
    for part in theirs.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.weight.uniform_(0.5, 1.0)
    encoder = make({"image": Grid("image", (64, 64), 3)}, **options).eval()
    picture = torch.randn(1, 3, 64, 64)
    tokens = encoder.cuts["image"].tokenize([picture])
    assert not torch.allclose(
        encoder({"image": tokens})["image"].value.mean(1), theirs(picture), rtol=0.1
    )  # the control
    with_weights_of(encoder.stock, theirs, shortcut_last=make is resnet)
    found = encoder({"image": tokens})["image"].value.mean(1)
    torch.testing.assert_close(found, theirs(picture), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("widths, depths, groups_width, millions", SEER)
def test_the_numbers_of_seer_give_as_many_weights_as_it_says(widths, depths, groups_width, millions):
    with torch.device("meta"):
        encoder = regnet_y(PICTURES, widths=widths, depths=depths, groups_width=groups_width)
    assert sum(weight.numel() for weight in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


@torch.no_grad()
def test_a_view_of_another_size_has_the_grid_of_its_own():
    encoder = tiny_encoder(PICTURES, "resnet").eval()
    for size, grid in ((16, (8, 8)), (12, (6, 6)), (10, (5, 5))):
        view = torch.randn(2, 3, size, size)
        found = encoder({"image": encoder.cuts["image"].tokenize([view])})["image"]
        assert found.place.grid == grid
        torch.testing.assert_close(found.value, copy.deepcopy(encoder.stock)(view).last_hidden_state.flatten(2).mT)


def test_its_batch_normalisation_is_ours_with_the_stock_names():
    encoder = tiny_encoder(PICTURES, "resnet")
    kinds = {type(part) for part in encoder.modules()}
    assert BatchNorm in kinds
    assert nn.BatchNorm2d not in kinds


def test_weights_lie_in_memory_as_a_checkpoint_holds_them():
    # fused AdamW reads a weight and its moments in the order of memory: a restored moment would meet another weight
    assert all(weight.is_contiguous() for weight in tiny_encoder(PICTURES, "resnet").parameters())


@torch.no_grad()
def test_what_a_sample_lacks_is_padding_afterwards():
    encoder = tiny_encoder(PICTURES, "resnet").eval()
    tokens = encoder.cuts["image"].tokenize(patterns("image", 3, 1))
    found = encoder({"image": without(tokens, torch.tensor([True, False, True]))})["image"]
    assert found.place.valid.all(1).tolist() == [True, False, True]
    assert not found.place.valid[1].any()


def test_a_part_of_a_picture_is_refused():
    encoder = tiny_encoder(PICTURES, "resnet")
    tokens = encoder.cuts["image"].tokenize(patterns("image", 2, 1))
    draw = Draw(0, torch.zeros(2, dtype=torch.long), torch.arange(2))
    with pytest.raises(ConfigError, match=r"resnet: sees whole pictures only; expected encoder\.name vit"):
        encoder({"image": drop_random(0.5)(tokens, draw)[0]})


def test_other_modalities_and_sizes_that_do_not_match_are_refused():
    for make in (resnet, regnet_y):
        for modalities in ({"audio": GRIDS["audio"]}, {**PICTURES, "text": words_of_tests()}):
            with pytest.raises(ConfigError, match=r"reads pictures only, expected encoder\.name vit"):
                make(modalities)
        with pytest.raises(ConfigError, match=r"encoder\.widths \[8\] and encoder\.depths \[1, 1\]: expected as many"):
            make(PICTURES, widths=[8], depths=[1, 1])
    with pytest.raises(ConfigError, match=r"encoder\.widths 12 cannot be split into groups of encoder\.groups_width 8"):
        regnet_y(PICTURES, widths=[4, 8, 12], depths=[1, 1, 1], groups_width=8)
