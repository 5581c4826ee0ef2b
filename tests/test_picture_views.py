"""Claims about views of other sizes, in pieces and turned: what torchvision makes one by one, and what config says."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from mmssl.augment import View, augment, solarise, to_unit, turns
from mmssl.config import Config, load_config
from mmssl.crop import PIECE, Crop, draw_crop, draw_pieces, order_of_pieces, resized_pieces
from mmssl.errors import ConfigError
from mmssl.random import Draw
from mmssl.sections import ViewsConfig

PLAIN = ViewsConfig(smallest_area=1.0, flip_ratio=0.0, jitter_ratio=0.0, grey_ratio=0.0)
ALL = ViewsConfig(blur_ratio=0.5, solarise_ratio=0.3)
KINDS = {
    "small": View(size=8, area=(0.05, 0.3)),
    "large": View(size=40),
    "pieces": View(pieces=3, area=(0.6, 1.0)),
    "rotated": View(is_rotated=True),
    "all": View(size=9, area=(0.2, 0.9), pieces=2, is_rotated=True),
}


def noise(*shape: int) -> torch.Tensor:
    """Bytes without any order."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def samples(count: int, first: int = 0, seed: int = 5) -> Draw:
    """The draws of some samples."""
    return Draw(seed, torch.zeros(count, dtype=torch.long), torch.arange(first, first + count))


def only(**changed: float | list[float]) -> ViewsConfig:
    """Nothing but one operation."""
    return ViewsConfig(**{**PLAIN.model_dump(), **changed})


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_alone_gets_the_views_that_it_gets_in_a_batch(kind):
    pixels, draw = noise(6, 3, 24, 24), samples(6)
    whole = augment(pixels, draw, 2, ALL, KINDS[kind])
    assert torch.equal(augment(pixels, draw, 2, ALL, KINDS[kind]), whole)
    for number in (0, 3, 5):
        alone = augment(pixels[number : number + 1], samples(1, first=number), 2, ALL, KINDS[kind])
        torch.testing.assert_close(alone[0], whole[number], rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_views_epochs_samples_and_seeds_differ(kind):
    pixels, draw, wanted = noise(1, 3, 24, 24).expand(24, -1, -1, -1), samples(24), KINDS[kind]
    reference = augment(pixels, draw, 0, ALL, wanted)
    others = {
        "view": augment(pixels, draw, 1, ALL, wanted),
        "epoch": augment(pixels, Draw(5, draw.epoch + 1, draw.index), 0, ALL, wanted),
        "sample": augment(pixels, samples(24, first=24), 0, ALL, wanted),
        "seed": augment(pixels, samples(24, seed=6), 0, ALL, wanted),
    }
    for other in others.values():
        assert ((other - reference).abs().flatten(1).amax(1) > 0.05).all()
        assert other.min() >= -1e-6
        assert other.max() <= 1 + 1e-6


def test_a_small_view_is_torchvisions_resized_crop_of_the_wanted_area():
    pixels, draw, wanted = noise(20, 3, 30, 36), samples(20), View(size=12, area=(0.1, 0.3))
    view = augment(pixels, draw, 3, PLAIN, wanted)
    crop = torch.stack(draw_crop(draw, 3, (30, 36), 0.1, 0.3), dim=1)
    for number, (top, left, height, width) in enumerate(crop.tolist()):
        theirs = functional.resized_crop(to_unit(pixels[number]), top, left, height, width, [12, 12], antialias=True)
        torch.testing.assert_close(view[number], theirs, rtol=0, atol=1e-4)
    # the window that the config asks for is another one
    assert (augment(pixels, draw, 3, only(smallest_area=0.2), View(size=12)) - view).abs().amax() > 0.1


def test_small_views_have_other_windows_than_the_big_ones():
    big, small = draw_crop(samples(50), 0, (96, 96), 0.25), draw_crop(samples(50), 2, (96, 96), 0.05, 0.25)
    same_draws = draw_crop(samples(50), 0, (96, 96), 0.05, 0.25)
    areas = torch.stack([(crop.height * crop.width).float() for crop in (big, same_draws, small)])
    # one view's draws make areas alike whatever their range; another view's do not
    likeness = areas.corrcoef()[0]
    assert likeness[1] > 0.99
    assert abs(likeness[2]) < 0.4


def test_areas_are_uniform_in_their_range():
    crop = draw_crop(samples(4000), 0, (224, 224), 0.05, 0.14)
    area = (crop.height * crop.width).double() / 224**2
    assert 0.0495 < area.min() < 0.051
    assert 0.139 < area.max() < 0.1415
    assert abs(area.mean() - 0.095) < 4 * 0.09 / 12**0.5 / 4000**0.5
    assert abs(area.var() - 0.09**2 / 12) < 4e-5
    with pytest.raises(AssertionError, match=r"area of a crop from 0\.5 to 0\.2"):
        draw_crop(samples(1), 0, (8, 8), 0.5, 0.2)


@pytest.mark.parametrize("shape", [(3, 3, 20, 20), (3, 4, 3, 20, 20), (3, 3, 10, 40)])
def test_a_size_without_a_random_crop_resizes_the_whole_picture(shape):
    pixels = noise(*shape)
    view = augment(pixels, samples(3), 0, PLAIN, View(size=12))
    theirs = functional.resize(to_unit(pixels), [12, 12], antialias=True)
    torch.testing.assert_close(view, theirs, rtol=0, atol=1e-4)


def test_solarise_is_torchvisions():
    pixels = to_unit(noise(5, 2, 3, 12, 12))
    pixels[:, :, :, 0] = 0.5
    assert torch.equal(solarise(pixels), functional.solarize(pixels, 0.5))
    assert not torch.equal(solarise(pixels), pixels)


def test_a_ratio_is_the_share_of_samples_that_are_solarised():
    pixels = noise(400, 3, 8, 8)
    for ratio in (0.0, 0.3, 1.0):
        view = augment(pixels, samples(400), 0, only(solarise_ratio=ratio))
        plain = (view == to_unit(pixels)).flatten(1).all(1)
        assert abs((~plain).float().mean() - ratio) <= 4 * (ratio * (1 - ratio) / 400) ** 0.5
        assert torch.equal(view[~plain], functional.solarize(to_unit(pixels)[~plain], 0.5))


@pytest.mark.parametrize("key", ["jitter_ratio", "grey_ratio", "blur_ratio", "solarise_ratio"])
def test_each_view_has_its_ratio_and_the_last_repeats(key):
    pixels = noise(20, 3, 12, 12)

    def changed(ratios: float | list[float]) -> list[bool]:
        views = [augment(pixels, samples(20), view, only(**{key: ratios})) for view in range(3)]
        same = [(view == to_unit(pixels)).flatten(1).all(1) for view in views]
        assert all(rows.all() or rows.sum() < 6 for rows in same)  # a blur of the smallest sigmas changes no bit
        return [not rows.all() for rows in same]

    assert changed([1.0, 0.0]) == [True, False, False]
    assert changed([0.0, 1.0]) == [False, True, True]
    assert changed([1.0]) == changed(1.0) == [True] * 3


def test_a_rotated_view_is_torchvisions_by_the_turns_that_are_told():
    pixels, draw = noise(40, 3, 15, 15), samples(40)
    upright = augment(pixels, draw, 1, ALL)
    view = augment(pixels, draw, 1, ALL, View(is_rotated=True))
    for number, quarters in enumerate(turns(draw, 1).tolist()):
        assert torch.equal(view[number], functional.rotate(upright[number], 90 * quarters))
    assert ((view == upright).flatten(1).all(1) == (turns(draw, 1) == 0)).all()


def test_turns_are_even_and_another_views_are_others():
    counts = turns(samples(4000), 0).bincount()
    assert counts.shape == (4,)
    assert ((counts - 1000).abs() < 4 * (4000 * 3 / 16) ** 0.5).all()
    assert 0.2 < (turns(samples(4000), 0) == turns(samples(4000), 1)).float().mean() < 0.3


def test_only_a_square_view_is_rotated():
    with pytest.raises(AssertionError, match=r"view of \(8, 9\) pixels, expected a square"):
        augment(noise(2, 3, 8, 9), samples(2), 0, PLAIN, View(is_rotated=True))
    assert augment(noise(2, 3, 8, 9), samples(2), 0, PLAIN, View(size=8, is_rotated=True)).shape == (2, 3, 8, 8)


@pytest.mark.parametrize("pieces, flip_ratio", [(2, 0.0), (3, 0.0), (3, 1.0)])
def test_every_cell_of_a_jigsaw_is_found_again_by_its_order(pieces, flip_ratio):
    colours = noise(5, pieces**2, 3)
    cells = colours.reshape(5, pieces, pieces, 3).movedim(-1, 1)
    pixels = cells.repeat_interleave(20, dim=2).repeat_interleave(20, dim=3)
    view = augment(pixels, samples(5), 1, only(flip_ratio=flip_ratio), View(pieces=pieces))
    assert view.shape == (5, pieces**2, 3, 20, 20)
    # each piece is of one cell
    torch.testing.assert_close(view, view[..., :1, :1].expand_as(view), rtol=0, atol=1e-6)
    found, order = view[..., 0, 0], order_of_pieces(samples(5), 1, pieces)
    expected = (cells.flip(-1) if flip_ratio else cells) / 255
    for number in range(5):
        for piece, cell in enumerate(order[number].tolist()):
            colour = expected[number, :, cell // pieces, cell % pieces]
            torch.testing.assert_close(found[number, piece], colour, rtol=0, atol=1e-6)
    # without the order they lie elsewhere
    assert (found - expected.flatten(2).mT).abs().amax((1, 2)).median() > 0.05


def test_pieces_lie_at_a_random_place_of_their_cell_to_a_fraction_of_a_pixel():
    # a picture that says where each of its pixels is, so that a mean of neighbours says where between them
    row, column = torch.meshgrid(torch.arange(225), torch.arange(225), indexing="ij")
    pixels = torch.stack([row, column, row * 0]).to(torch.uint8).expand(8, -1, -1, -1)
    view = augment(pixels, samples(8), 0, PLAIN, View(size=64, pieces=3))
    window = draw_pieces(samples(8), 0, draw_crop(samples(8), 0, (225, 225), 1.0), 3)
    assert (window.height == 64).all()
    steps = torch.arange(64)
    torch.testing.assert_close(255 * view[:, :, 0, :, 5].double(), window.top[..., None] + steps, rtol=0, atol=1e-3)
    torch.testing.assert_close(255 * view[:, :, 1, 5].double(), window.left[..., None] + steps, rtol=0, atol=1e-3)
    # from one end of a cell to the other, in two directions apart
    order = order_of_pieces(samples(8), 0, 3)
    gaps = torch.stack([window.top - 75 * (order // 3), window.left - 75 * (order % 3)])
    assert 0 <= gaps.min() < 1
    assert 10 < gaps.max() <= 11
    assert gaps.frac().count_nonzero() == gaps.numel()
    assert gaps.flatten(1).corrcoef()[0, 1].abs() < 0.4


def test_windows_of_a_jigsaw_lie_in_the_cells_of_its_crop():
    draw = samples(300)
    crop = draw_crop(draw, 0, (50, 70), 0.3, 0.8)
    window, order = draw_pieces(draw, 0, crop, 3), order_of_pieces(draw, 0, 3)
    for start, length, corner, side, cell in (
        (window.top, window.height, crop.top, crop.height, order // 3),
        (window.left, window.width, crop.left, crop.width, order % 3),
    ):
        cell_side = side[:, None].double() / 3
        torch.testing.assert_close(length, PIECE * cell_side.expand_as(length))
        assert (start >= corner[:, None] + cell * cell_side).all()
        assert (start + length <= corner[:, None] + (cell + 1) * cell_side + 1e-9).all()


def test_pieces_are_torchvisions_resized_crops():
    pixels = to_unit(noise(4, 1, 3, 20, 24))
    crops = [draw_crop(samples(4), view, (20, 24), 0.1, 0.5) for view in range(6)]
    window = Crop(*(torch.stack(numbers, dim=1) for numbers in zip(*crops, strict=True)))
    for size in ((7, 9), (16, 16)):
        ours = resized_pieces(pixels, window, size)
        for number in range(4):
            for piece, crop in enumerate(crops):
                top, left, height, width = (int(numbers[number]) for numbers in crop)
                theirs = functional.resized_crop(
                    pixels[number, 0], top, left, height, width, list(size), antialias=True
                )
                torch.testing.assert_close(ours[number, piece], theirs, rtol=0, atol=1e-4)


def test_all_pieces_of_a_sample_change_colour_as_its_whole_view_does():
    pixels = noise(8, 3, 1, 1).expand(-1, -1, 18, 18)
    views = ViewsConfig(jitter_ratio=0.8, grey_ratio=0.4, blur_ratio=0.5, solarise_ratio=0.5)
    whole = augment(pixels, samples(8), 0, views)
    pieces = augment(pixels, samples(8), 0, views, View(pieces=3))
    expected = whole[:, None, :, :1, :1].expand(-1, 9, -1, 6, 6)
    torch.testing.assert_close(pieces, expected, rtol=0, atol=1e-5)
    assert (pieces[:, 0, :, 0, 0] - pixels[:, :, 0, 0] / 255).abs().amax(1).gt(0.01).sum() >= 5


def test_orders_are_permutations_and_each_is_as_likely():
    order = order_of_pieces(samples(2400), 0, 2)
    counts = torch.unique(order, dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 100).abs() < 4 * (100 * 23 / 24) ** 0.5).all()
    assert torch.equal(order.sort(1).values, torch.arange(4).expand(2400, -1))
    assert (order_of_pieces(samples(50), 0, 3) != order_of_pieces(samples(50), 1, 3)).any(1).all()


@pytest.fixture
def load(tmp_path):
    def words(network): ...

    def stack(vocabulary): ...

    def load_text(text: str, *overrides: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(f"task: words\nrun: out\n{text}")
        return load_config(path, overrides, methods={"bert": words}, encoders={"bert": stack})

    return load_text


def test_a_ratio_is_a_number_or_a_list_in_a_file_and_on_the_command_line(load):
    views = load("views:\n  blur_ratio: [1, 0.1]\n", "views.solarise_ratio=[0.0, 0.2]", "views.grey_ratio=1").views
    assert (views.blur_ratio, views.solarise_ratio, views.grey_ratio) == ([1.0, 0.1], [0.0, 0.2], 1.0)


@pytest.mark.parametrize(
    "value, said",
    [
        ("1.5", "views.blur_ratio: got 1.5, expected at most 1.0 or a list"),
        ("[0.5, -1]", "views.blur_ratio.1: got -1, expected at least 0.0"),
        ("[0.5, much]", 'views.blur_ratio.1: got "much", expected a number'),
        ("[]", "views.blur_ratio: got [], expected a number or a list of at least 1"),
    ],
)
def test_ratios_out_of_range_are_refused_in_one_line(load, value, said):
    with pytest.raises(ConfigError) as caught:
        load("", f"views.blur_ratio={value}")
    assert str(caught.value) == f"command line: {said}"
