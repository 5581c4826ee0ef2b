"""Claims about augmentation: equal to torchvision one by one, and what a view does and does not depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from mmssl.augment import (
    augment,
    blur,
    draw_jitter,
    draw_sigma,
    flip,
    normalise,
    to_pixels,
    to_unit,
    without_colour,
)
from mmssl.colour import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from mmssl.crop import Crop, bilinear_weights, draw_crop, resized_crop
from mmssl.random import Draw
from mmssl.sections import ViewsConfig

ALL = ViewsConfig(flip_ratio=0.5, jitter_ratio=0.8, grey_ratio=0.2, blur_ratio=0.5)
NONE = {"smallest_area": 1.0, "flip_ratio": 0.0, "jitter_ratio": 0.0, "grey_ratio": 0.0, "blur_ratio": 0.0}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Bytes without any order, with flat and grey places among them."""
    pixels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    pixels[..., :2, :] = 0
    pixels[..., 2:3, :] = 255
    pixels[..., 0, 3:5, :] = pixels[..., 1, 3:5, :] = pixels[..., 2, 3:5, :]
    return pixels


def clips(count: int, height: int = 20, width: int = 24, frames: int = 1) -> torch.Tensor:
    """Pixels in [0, 1] as the operations take them."""
    return to_unit(noise(count, frames, 3, height, width))


def samples(count: int, first: int = 0) -> Draw:
    """The draws of some samples."""
    return Draw(5, torch.zeros(count, dtype=torch.long), torch.arange(first, first + count))


def only(**changed: float) -> ViewsConfig:
    """Nothing but one operation."""
    return ViewsConfig(**{**NONE, **changed})


@pytest.mark.parametrize("shape", [(12, 3, 16, 16), (12, 3, 3, 16, 20)])
@settings(max_examples=15)
@given(order=st.permutations(range(12)), cut=st.integers(1, 11))
def test_a_view_depends_neither_on_the_batch_nor_on_the_order(shape, order, cut):
    pixels, draw = noise(*shape), samples(12)
    whole = augment(pixels, draw, 0, ALL)
    parts = []
    for rows in (order[:cut], order[cut:]):
        parts.append(augment(pixels[rows], Draw(draw.seed, draw.epoch[rows], draw.index[rows]), 0, ALL))
    torch.testing.assert_close(torch.cat(parts), whole[order], rtol=0, atol=2e-6)


def test_views_epochs_samples_and_seeds_differ():
    pixels, draw = noise(1, 3, 16, 16).expand(6, -1, -1, -1), samples(6)
    reference = augment(pixels, draw, 0, ALL)
    assert torch.equal(augment(pixels, draw, 0, ALL), reference)
    others = {
        "view": augment(pixels, draw, 1, ALL),
        "epoch": augment(pixels, Draw(5, draw.epoch + 1, draw.index), 0, ALL),
        "sample": augment(pixels, samples(6, first=6), 0, ALL),
        "seed": augment(pixels, Draw(6, draw.epoch, draw.index), 0, ALL),
    }
    for other in others.values():
        assert ((other - reference).abs().amax((1, 2, 3)) > 0.05).all()


def test_all_frames_of_a_clip_get_the_same():
    frame, draw = noise(8, 1, 3, 16, 20), samples(8)
    view = augment(frame.expand(-1, 4, -1, -1, -1), draw, 0, ALL)
    torch.testing.assert_close(view, view[:, :1].expand_as(view), rtol=0, atol=2e-6)
    torch.testing.assert_close(view[:, 0], augment(frame[:, 0], draw, 0, ALL), rtol=0, atol=2e-6)


def test_frames_that_were_augmented_as_samples_of_their_own_would_differ():
    frame, draw = noise(8, 1, 3, 16, 20), samples(8)
    clip = augment(frame.expand(-1, 4, -1, -1, -1), draw, 0, ALL)
    alone = torch.stack([augment(frame[:, 0], samples(8, first=8 * number), 0, ALL) for number in range(4)], dim=1)
    assert torch.equal(alone[:, 0], augment(frame[:, 0], draw, 0, ALL))
    assert ((alone[:, 1:] - clip[:, 1:]).abs().amax((1, 2, 3, 4)) > 0.05).all()


@pytest.mark.parametrize(
    "key", ["smallest_area", "flip_ratio", "jitter_ratio", "grey_ratio", "blur_ratio", "solarise_ratio"]
)
def test_what_stays_in_a_clip_stays_in_its_view_and_what_moves_moves(key):
    still = noise(8, 1, 3, 16, 20).expand(-1, 4, -1, -1, -1).clone()
    moved = still.clone()
    moved[:, 2] = noise(8, 3, 16, 20, seed=1)
    changed = {key: 0.3 if key == "smallest_area" else 1.0}
    views = [augment(pixels, samples(8), 0, only(**changed)) for pixels in (still, moved)]
    torch.testing.assert_close(views[0], views[0][:, :1].expand_as(views[0]), rtol=0, atol=2e-6)
    for number in (0, 1, 3):  # a frame's view does not depend on its neighbours
        torch.testing.assert_close(views[1][:, number], views[0][:, number], rtol=0, atol=2e-6)
    assert ((views[1][:, 2] - views[0][:, 2]).abs().amax((1, 2, 3)) > 0.05).all()
    assert ((views[0] - to_unit(still)).abs().amax((1, 2, 3, 4)) > 0.02).any()  # something was done at all


def test_a_view_lies_between_black_and_white_and_keeps_its_input():
    pixels = noise(64, 3, 16, 16)
    before = pixels.clone()
    view = augment(pixels, samples(64), 0, ALL)
    assert view.dtype == torch.float32
    assert view.min() >= 0
    assert view.max() <= 1 + 1e-6
    assert torch.equal(pixels, before)


def test_ratios_of_zero_and_an_area_of_one_change_nothing():
    pixels = noise(5, 3, 17, 23)
    assert torch.equal(augment(pixels, samples(5), 0, only()), to_unit(pixels))


def test_autocast_does_not_coarsen_a_view():
    pixels = noise(4, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        view = augment(pixels, samples(4), 0, ALL)
    assert torch.equal(view, augment(pixels, samples(4), 0, ALL))


@pytest.mark.parametrize("key", ["flip_ratio", "jitter_ratio", "grey_ratio", "blur_ratio"])
def test_a_ratio_is_the_share_of_samples_that_change_and_the_others_keep_every_bit(key):
    pixels = noise(400, 3, 12, 12)
    plain = to_unit(pixels)
    for ratio in (0.0, 0.3, 1.0):
        same = (augment(pixels, samples(400), 0, only(**{key: ratio})) == plain).flatten(1).all(1)
        assert abs((~same).float().mean() - ratio) <= 4 * (ratio * (1 - ratio) / 400) ** 0.5


def test_a_jitter_of_no_strength_changes_nothing():
    pixels = noise(5, 3, 16, 16)
    assert torch.equal(augment(pixels, samples(5), 0, only(jitter_ratio=1.0, jitter_strength=0.0)), to_unit(pixels))


@pytest.mark.parametrize("size", [(20, 24), (33, 47), (8, 9)], ids=["same", "larger", "smaller"])
def test_a_resized_crop_equals_torchvisions_with_antialias(size):
    pixels, crop = clips(40, frames=2), draw_crop(samples(40), 0, (20, 24), 0.08)
    ours = resized_crop(pixels, crop, size)
    for number, (top, left, height, width) in enumerate(torch.stack(crop, dim=1).tolist()):
        theirs = functional.resized_crop(pixels[number], top, left, height, width, list(size), antialias=True)
        torch.testing.assert_close(ours[number], theirs, rtol=0, atol=1e-4)


def test_without_antialias_a_crop_that_shrinks_would_differ():
    pixels, crop = clips(1), Crop(*(torch.tensor([number]) for number in (0, 0, 20, 24)))
    coarse = functional.resized_crop(pixels[0], 0, 0, 20, 24, [8, 9], antialias=False)
    assert (resized_crop(pixels, crop, (8, 9))[0] - coarse).abs().max() > 0.1


def test_a_crop_of_the_whole_picture_is_the_identity():
    pixels = clips(3, 20, 24)
    crop = Crop(*(torch.full((3,), number) for number in (0, 0, 20, 24)))
    assert torch.equal(resized_crop(pixels, crop, (20, 24)), pixels)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_weights_of_a_crop_are_a_mean_inside_the_window(num_in, length, num_out):
    length = min(length, num_in)
    start = num_in - length
    weights = bilinear_weights(torch.tensor([start]), torch.tensor([length]), num_in, num_out)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, num_out))
    assert (weights >= 0).all()
    assert (weights[..., :start] == 0).all()


@pytest.mark.parametrize("size", [(32, 32), (24, 32), (10, 64), (1, 1)])
def test_drawn_crops_lie_in_the_picture_and_their_areas_are_uniform(size):
    height, width = size
    crop = draw_crop(samples(4000), 0, size, 0.2)
    assert (crop.top >= 0).all()
    assert (crop.left >= 0).all()
    assert (crop.top + crop.height <= height).all()
    assert (crop.left + crop.width <= width).all()
    assert min(crop.height.min(), crop.width.min()) >= 1
    if size == (32, 32):
        area = (crop.height * crop.width).double() / (height * width)
        assert abs(area.mean() - 0.6) < 0.01
        assert abs(area.var() - 0.8**2 / 12) < 0.004
        aspect = (crop.width / crop.height).double().log()
        assert abs(aspect.mean()) < 0.01
        assert 1.2 < aspect.exp().max() < 1.45
        assert 0.69 < aspect.exp().min() < 0.83


def test_flip_is_torchvisions():
    pixels = clips(3, frames=2)
    assert torch.equal(flip(pixels), functional.horizontal_flip(pixels))


@pytest.mark.parametrize(
    "ours, theirs, tolerance",
    [
        (adjust_brightness, functional.adjust_brightness, 1e-5),
        (adjust_contrast, functional.adjust_contrast, 1e-5),
        (adjust_saturation, functional.adjust_saturation, 1e-5),
        (adjust_hue, functional.adjust_hue, 1e-4),
    ],
)
def test_colours_change_as_in_torchvision(ours, theirs, tolerance):
    pixels = clips(24, frames=2)
    factor = torch.linspace(-0.5, 0.5, 24) if theirs is functional.adjust_hue else torch.linspace(0, 2.5, 24)
    changed = ours(pixels, factor)
    for number in range(24):
        expected = theirs(pixels[number], float(factor[number]))
        torch.testing.assert_close(changed[number], expected, rtol=0, atol=tolerance)
    assert torch.equal(pixels, clips(24, frames=2))  # the input is kept


def test_jitter_is_torchvisions_in_the_drawn_order():
    pixels, draw = noise(30, 3, 12, 12), samples(30)
    view = augment(pixels, draw, 1, only(jitter_ratio=1.0, jitter_strength=1.0))
    order, factor = draw_jitter(draw, 1, 1.0)
    adjust = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    )
    for number in range(30):
        expected = to_unit(pixels[number])
        for turn in order[number].tolist():
            expected = adjust[turn](expected, float(factor[number, turn]))
        torch.testing.assert_close(view[number], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("strength", [0.5, 1.0, 4.0])
def test_jitter_factors_have_torchvisions_ranges_and_every_order_occurs(strength):
    order, factor = draw_jitter(samples(3000), 0, strength)
    hue = min(0.2 * strength, 0.5)
    jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, hue)
    ranges = torch.tensor([jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue])
    span = ranges[:, 1] - ranges[:, 0]
    assert (factor.amin(0) >= ranges[:, 0]).all()
    assert (factor.amax(0) <= ranges[:, 1]).all()
    assert (factor.amin(0) < ranges[:, 0] + 0.01 * span).all()
    assert (factor.amax(0) > ranges[:, 1] - 0.01 * span).all()
    counts = torch.unique(order, dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 125).abs() < 4 * (125 * 23 / 24) ** 0.5).all()


def test_grey_is_torchvisions():
    pixels = clips(3, frames=2)
    torch.testing.assert_close(without_colour(pixels), functional.rgb_to_grayscale(pixels, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size, kernel", [((20, 24), 3), ((70, 66), 7), ((2, 3), 3), ((96, 51), 5)])
def test_blur_is_torchvisions_with_a_sigma_for_each_sample(size, kernel):
    pixels, sigma = clips(8, *size, frames=2), draw_sigma(samples(8), 0)
    blurred = blur(pixels, sigma)
    for number in range(8):
        expected = functional.gaussian_blur(pixels[number], [kernel, kernel], [float(sigma[number])] * 2)
        torch.testing.assert_close(blurred[number], expected, rtol=0, atol=1e-5)


def test_blur_keeps_what_is_flat_however_small():
    for size in ((1, 1), (1, 5), (2, 2)):
        pixels = torch.full((2, 1, 3, *size), 0.25)
        torch.testing.assert_close(blur(pixels, torch.tensor([0.1, 2.0])), pixels)


def test_drawn_sigmas_fill_their_range():
    sigma = draw_sigma(samples(3000), 0)
    assert 0.1 <= sigma.min() < 0.12
    assert 1.98 < sigma.max() <= 2.0
    assert abs(sigma.mean() - 1.05) < 4 * 1.9 / 12**0.5 / 3000**0.5


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 3, 5, 7), (2, 4, 3, 5, 7)])
def test_every_byte_survives_normalisation(shape):
    pixels = noise(*shape)
    normalised = normalise(to_unit(pixels))
    assert torch.equal(to_pixels(normalised), pixels)
    assert normalised.min() == -2
    assert normalised.max() == 2
    assert to_pixels(torch.tensor([-9.0, 9.0, 0.0])[:, None, None]).flatten().tolist() == [0, 255, 128]
