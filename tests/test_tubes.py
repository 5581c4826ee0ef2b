"""Claims about what is hidden of a clip: exact counts, no side preferred in space or time, no look into the future."""

from math import prod

import pytest
import torch
from tiny import GRIDS, patterns, tiny_encoder
from torch import Tensor
from whole_grids import draws, whole

from mmssl.batch import Batch
from mmssl.models.stock_video import stock_encoder
from mmssl.random import Draw
from mmssl.tubes import Grid, Order, cuboids, hide, taking_turns, tubes

GRID = (4, 6, 5)
ORDERS = {
    "tubes": tubes(0.9), "short": cuboids(0.9, 0.15), "long": cuboids(0.9, 0.7), "cuboids": cuboids(0.6, 0.3, 0.5),
    "turns": taking_turns([cuboids(0.8, 0.15), cuboids(0.8, 0.7)]),
}  # fmt: skip
NUM_HIDDEN = {"tubes": 4 * 27, "short": 4 * 27, "long": 4 * 27, "cuboids": 72, "turns": 4 * 24}
CHI_SQUARE = {1: 15.1, 29: 66.2}  # degrees of freedom -> what is exceeded once in 10,000


def hidden_map(order: Order, draw: Draw, seen_times: int = 0, grid: Grid = GRID) -> Tensor:
    """(count, times, rows, columns): True where hidden."""
    count = len(draw.index)
    _, hidden = hide(order, seen_times)(whole(count, grid), draw)
    mask = torch.zeros(count, prod(grid), dtype=torch.bool)
    return mask.scatter_(1, hidden.position, hidden.valid).reshape(count, *grid)


@pytest.mark.parametrize("name", ORDERS)
def test_every_clip_hides_as_many_and_the_rest_is_seen(name):
    tokens = whole(20, GRID)
    seen, hidden = hide(ORDERS[name])(tokens, draws(20))
    assert hidden.position.shape == (20, NUM_HIDDEN[name])
    together = torch.cat([seen.place.position, hidden.position], 1)
    assert torch.equal(together.sort(1).values, tokens.place.position)
    for place in (seen.place, hidden):
        assert (place.position.diff(dim=1) > 0).all()
        assert place.grid == GRID
    assert torch.equal(seen.value[..., 0].long(), seen.place.position)


@pytest.mark.parametrize("name", ["tubes", "short", "long", "turns"])
def test_the_same_cells_are_hidden_at_all_times(name):
    mask = hidden_map(ORDERS[name], draws(20))
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    brief = hidden_map(ORDERS["cuboids"], draws(20))
    assert not torch.equal(brief, brief[:, :1].expand_as(brief))  # the control: blocks of half of the times


def unevenness(order: Order, count: int = 3000) -> float:
    """Chi-square of how often each cell of a frame is hidden, each set of so many cells being equally likely."""
    mask = hidden_map(order, draws(count))[:, 0].flatten(1).double()
    share, cells = float(mask.mean()), mask.shape[1]
    squared = (mask.sum(0) - count * share).square().sum() / (count * share * (1 - share))
    return float(squared * (cells - 1) / cells)


def leaning(grid: Grid, draw: Draw) -> tuple[Tensor, int]:
    """Tubes that are hidden a little more often the later a cell comes."""
    cells = grid[1] * grid[2]
    tube = (draw.uniform("mask", cells) * (1 - 0.005 * torch.arange(cells))).argsort(1)
    return torch.cat([tube + time * cells for time in range(grid[0])], 1).reshape(-1, grid[0], cells).mT.flatten(1), 60


def test_tubes_hide_each_cell_alike():
    assert unevenness(tubes(0.5)) < CHI_SQUARE[29]
    assert unevenness(leaning) > CHI_SQUARE[29]  # the control: cells that are hidden a few percent more often show


def lean(order: Order, axis: int, seen_times: int = 0, count: int = 1500) -> float:
    """Chi-square of on which side of the middle of an axis more is hidden of each clip."""
    mask = hidden_map(order, draws(count), seen_times).double()[:, : seen_times or GRID[0]]
    weight = mask.sum([one for one in (1, 2, 3) if one != axis])
    middle = (weight.shape[1] - 1) / 2
    side = (weight * (torch.arange(weight.shape[1]) - middle)).sum(1).sign()
    later, earlier = int((side > 0).sum()), int((side < 0).sum())
    assert later + earlier > count / 10
    return (later - earlier) ** 2 / (later + earlier)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_blocks_prefer_no_side_in_time_or_space(axis, monkeypatch):
    order = cuboids(0.3, 0.3, 0.5)
    assert lean(order, axis) < CHI_SQUARE[1]
    assert axis == 1 or lean(cuboids(0.5, 0.15), axis, 2) < CHI_SQUARE[1]
    uniform = Draw.uniform
    drawn = {1: "block_start", 2: "block_top", 3: "block_left"}[axis]
    monkeypatch.setattr(Draw, "uniform", lambda self, name, *shape: uniform(self, name, *shape) * (
        0.9 if name == drawn else 1.0))  # fmt: skip
    assert lean(order, axis) > CHI_SQUARE[1]  # the control: starts that are drawn from nine tenths


@pytest.mark.parametrize("name", ORDERS)
def test_a_causal_mask_shows_early_times_alone_and_hides_as_many(name):
    mask = hidden_map(ORDERS[name], draws(30), seen_times=2)
    assert mask[:, 2:].all()
    hidden = mask[:, :2].flatten(1).sum(1)
    assert hidden.tolist() == [NUM_HIDDEN[name] // 2] * 30
    assert not hidden_map(ORDERS[name], draws(30))[:, 2:].all(1).all()  # the control


def test_two_masks_of_a_step_are_one_of_each_kind():
    index = torch.arange(6)
    for epoch in (0, 3):
        batch = Batch({}, Draw(0, torch.full((6,), epoch), index)).times(2)
        both = hidden_map(ORDERS["turns"], batch.draw)
        kinds = [hidden_map(cuboids(0.8, ratio), batch.draw) for ratio in (0.15, 0.7)]
        assert torch.equal(both, torch.cat([kinds[0][:6], kinds[1][6:]]))
        assert not torch.equal(both, kinds[0])


@pytest.mark.parametrize("name", ORDERS)
def test_what_is_hidden_belongs_to_the_sample_not_to_its_batch(name):
    together = hidden_map(ORDERS[name], draws(8))
    index = torch.tensor([6, 1, 3])
    alone = hidden_map(ORDERS[name], Draw(0, torch.zeros(3, dtype=torch.long), index))
    assert torch.equal(alone, together[index])
    for other in (draws(8, seed=1), draws(8, epoch=1)):
        assert not torch.equal(hidden_map(ORDERS[name], other), together)


@pytest.mark.parametrize("encoder", ["vit", "videomae", "vjepa2"])
@pytest.mark.parametrize("name", ["tubes", "turns"])
@torch.no_grad()
def test_hidden_pixels_do_not_reach_what_is_seen_but_do_in_the_stock_class(encoder, name):
    made = tiny_encoder({"video": GRIDS["video"]}, encoder, layers=2).eval()
    clip, cut = patterns("video", 4, 1)[0], made.cuts["video"]
    tokens = cut.tokenize([clip])
    seen, hidden = hide(ORDERS[name])(tokens, draws(4))
    value = tokens.value.scatter(1, hidden.position[..., None].expand(-1, -1, tokens.value.shape[-1]), 7.0)
    changed = cut.paste(value)
    again, _ = hide(ORDERS[name])(cut.tokenize([changed]), draws(4))
    assert not torch.equal(changed, clip)
    assert torch.equal(made({"video": seen})["video"].value, made({"video": again})["video"].value)
    if encoder == "vjepa2":  # the control: the mask of the stock class is laid upon features that have seen all
        stock = stock_encoder(made).eval()
        features = [
            stock(view, context_mask=[seen.place.position], target_mask=[hidden.position], skip_predictor=True)
            for view in (clip, changed)
        ]
        assert not torch.allclose(features[0].masked_hidden_state, features[1].masked_hidden_state, atol=1e-2)
