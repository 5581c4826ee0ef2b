"""Claims about the ResNet: it is the stock one on whole pictures, and says what it cannot do."""

import copy

import pytest
import torch
from tiny import GRIDS, RESNET, patterns, tiny_encoder, words_of_tests
from torch import nn

from mmssl.drop import drop_random
from mmssl.errors import ConfigError
from mmssl.models.convnet import resnet
from mmssl.models.normalization import BatchNorm
from mmssl.random import Draw
from mmssl.tokens import without

PICTURES = {"image": GRIDS["image"]}


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
    for modalities in ({"audio": GRIDS["audio"]}, {**PICTURES, "text": words_of_tests()}):
        with pytest.raises(ConfigError, match=r"reads pictures only, expected encoder\.name vit"):
            resnet(modalities)
    with pytest.raises(ConfigError, match=r"encoder\.widths \[8\] and encoder\.depths \[1, 1\]: expected as many"):
        resnet(PICTURES, widths=[8], depths=[1, 1])
