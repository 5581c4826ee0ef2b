"""What a model is given: every view is shown beside its sample, at one scale, the pieces of a jigsaw in a square."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl.augment import normalise, to_pixels, to_unit
from mmssl.batch import Batch
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.report.pictures import GAP, LINE, MARGIN
from mmssl.report.views import at_one_scale, draw_inputs, jigsaw, strip


def noise(*shape: int) -> torch.Tensor:
    """Bytes without any order."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def batch(*views: torch.Tensor) -> Batch:
    """Pictures in these views, as an encoder sees them."""
    index = torch.arange(len(views[0]))
    return Batch({"image": [normalise(to_unit(view)) for view in views]}, Draw(0, torch.zeros_like(index), index))


def drawn(folder: Path, plain: torch.Tensor, *views: torch.Tensor) -> np.ndarray:
    """The sheet of these views."""
    (path,) = draw_inputs(Objective(), batch(plain), batch(*views), ["text", "image"], folder, "views-")
    assert path == folder / "views-image.png"
    with Image.open(path) as image:
        assert image.info["Description"].startswith("A sample in each row")
        return np.asarray(image.convert("RGB"))


def test_every_view_stands_beside_its_sample_and_a_smaller_one_is_smaller(tmp_path: Path):
    plain, large, small = noise(2, 3, 32, 32), 255 - noise(2, 3, 32, 32), noise(2, 3, 16, 16)
    sheet = drawn(tmp_path, plain, large, small)
    left = MARGIN
    for view in (plain, large, small):
        side = 3 * view.shape[-1]
        for row in range(2):
            top = MARGIN + LINE + row * (96 + GAP) + (96 - side) // 2
            shown = sheet[top : top + side : 3]
            columns = range(left, left + 96)
            found = [x for x in columns if np.array_equal(shown[:, x : x + side : 3], view[row].permute(1, 2, 0))]
            assert len(found) == 3, "one view at each of the three pixels that a square is wide"
        left += 96 + GAP


def test_a_view_that_is_the_sample_itself_is_not_shown_twice(tmp_path: Path):
    plain = noise(2, 3, 32, 32)
    assert drawn(tmp_path, plain, plain).shape[1] == 2 * MARGIN + 96
    assert drawn(tmp_path, plain, plain.flip(-1)).shape[1] == 2 * MARGIN + 2 * 96 + GAP


def test_the_pieces_of_a_jigsaw_are_a_square_with_gaps_and_a_clip_is_a_strip():
    pieces = torch.arange(9, dtype=torch.uint8).mul(20)[:, None, None, None].expand(9, 3, 8, 8)
    shown = jigsaw(pieces)
    assert shown.shape == (3, 26, 26)
    assert shown[0, ::9, ::9].flatten().tolist() == [20 * number for number in range(9)]
    assert (shown[:, 8::9] == 255).all()
    assert (shown[:, :, 8::9] == 255).all()
    assert torch.equal(strip("image", normalise(to_unit(pieces))), shown)
    assert strip("video", normalise(to_unit(pieces))).shape == (3, 8, 72)


def test_a_jigsaw_is_drawn_beside_the_whole_picture(tmp_path: Path):
    plain, pieces = noise(2, 3, 32, 32), noise(2, 9, 3, 10, 10)
    assert drawn(tmp_path, plain, noise(2, 9, 3, 64, 64)).shape[1] == 2 * MARGIN + 96 + GAP + 3 * 64 + 2 * 8
    sheet = drawn(tmp_path, plain, pieces)
    wanted = jigsaw(pieces[1]).permute(1, 2, 0).numpy()
    size = wanted.shape[0]
    heights, widths = (range(length - 3 * size + 1) for length in sheet.shape[:2])
    places = [(y, x) for y in heights for x in widths if np.array_equal(sheet[y, x : x + 3 * size : 3], wanted[0])]
    assert any(np.array_equal(sheet[y : y + 3 * size : 3, x : x + 3 * size : 3], wanted) for y, x in places)


@pytest.mark.parametrize("sides, shown", [((32, 16), (96, 48)), ((32,), (96,)), ((16,), (96,)), ((224, 96), (224, 96)),
                                          ((600, 300), (200, 100))])  # fmt: skip
def test_views_keep_their_proportion_whatever_their_size(sides: tuple[int, ...], shown: tuple[int, ...]):
    found = at_one_scale([noise(3, side, side) for side in sides])
    assert tuple(picture.shape[-1] for picture in found) == shown


def test_a_shrunk_picture_has_the_means_of_its_squares():
    picture = noise(3, 512, 512)
    (found,) = at_one_scale([picture])
    assert torch.equal(found[:, 3, 5], picture[:, 6:8, 10:12].float().mean((1, 2)).round().to(torch.uint8))
    assert torch.equal(to_pixels(normalise(to_unit(picture))), picture)
