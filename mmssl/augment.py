"""Augmentation of pictures and clips, in batch and on their device, from counter-based draws.

Each operation is a function of explicit parameters per sample, beside the function that draws them; what a sample gets
depends on its (seed, epoch, index) and the view only. The recipe is Chen et al. 2020 (arXiv:2002.05709, appendix A) in
torchvision's order: crop, flip, jitter, grey, blur; then solarise, as in Grill et al. 2020 (arXiv:2006.07733, appendix
B). All frames of a clip get the same parameters.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from mmssl.colour import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, greyscale
from mmssl.crop import Clips, draw_crop, draw_pieces, resample, resized_crop, resized_pieces
from mmssl.random import Draw, sent
from mmssl.sections import ViewsConfig, sides

MEAN, DEVIATION = 0.5, 0.25  # of all channels: near those of natural pictures, and [0, 1] becomes [-2, 2]
SIGMAS = (0.1, 2.0)  # of the blur, in pixels
JITTERS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


class View(NamedTuple):
    """How a method wants one view of a picture, beside what the config says of all of them; of a sound `size` alone
    counts, as (columns, bands) of a window of time, and only where it is a pair.

    Views of several sizes are the multi-crop of Caron et al. 2020 (arXiv:2006.09882, section 3.2).
    """

    size: int | tuple[int, int] = 0  # pixels of a side or (height, width), of a piece where there are pieces; 0: all
    area: tuple[float, float] | None = None  # of a random crop, as ratios; None: from views.smallest_area to 1
    pieces: int = 0  # a side of a jigsaw: (B, pieces^2, 3, h, w) in an order of each sample's own; 0: whole
    is_rotated: bool = False  # by 0, 90, 180 or 270 degrees: `turns` says by how many quarters

    def sized(self, whole: tuple[int, int]) -> "View":
        """The same with the size that it has of a picture of this height and width: of all of it, or of a cell."""
        height, width = (round(side / (self.pieces or 1)) for side in whole)
        return self._replace(size=self.size or (height, width))


WHOLE = View()


class Jitter(NamedTuple):
    """Change of colours of each sample: the order of JITTERS, and the factor of each of them."""

    order: Int[Tensor, "B 4"]
    factor: Float[Tensor, "B 4"]


def augment(
    pixels: UInt8[Tensor, "B *L 3 H W"], draw: Draw, view: int, views: ViewsConfig, wanted: View = WHOLE
) -> Float[Tensor, "B *K 3 S T"]:
    """One view of pictures (B, 3, H, W) or clips (B, L, 3, H, W), in [0, 1]; of the same shape, or as `wanted` says."""
    # parameters are decided on the CPU, so that the device is not waited for again and again
    draw = draw.on_host()
    clips = rearrange(to_unit(pixels), "b ... c h w -> b (...) c h w")
    with torch.autocast(pixels.device.type, enabled=False):
        cut = jigsaw if wanted.pieces else cropped
        clips = recoloured(cut(clips, draw, view, views, wanted), draw, view, views)
        if wanted.is_rotated:
            assert clips.shape[-2] == clips.shape[-1], f"view of {tuple(clips.shape[-2:])} pixels, expected a square"
            quarters = turns(draw, view)
            for quarter in range(1, 4):
                clips = _change(clips, quarters == quarter, partial(torch.rot90, k=quarter, dims=(-2, -1)))
    return clips if wanted.pieces else clips.reshape(*pixels.shape[:-2], *clips.shape[-2:])


def cropped(clips: Clips, draw: Draw, view: int, views: ViewsConfig, wanted: View) -> Float[Tensor, "B L 3 S T"]:
    """A random window of each clip, mirrored in some."""
    height, width = clips.shape[-2:]
    size = sides(wanted.sized((height, width)).size)
    area = wanted.area or (views.smallest_area, 1.0)
    if area[0] < 1 or size != (height, width):
        clips = resized_crop(clips, draw_crop(draw, view, (height, width), *area, shape=size), size)
    return _change(clips, _chosen(draw, "flip", view, views.flip_ratio), flip)


def jigsaw(
    clips: Float[Tensor, "B 1 3 H W"], draw: Draw, view: int, views: ViewsConfig, wanted: View
) -> Float[Tensor, "B K 3 S T"]:
    """The pieces of a random window of each picture as frames of a clip, in the order of `order_of_pieces`; mirrored
    before they are cut.
    """
    height, width = clips.shape[-2:]
    size = sides(wanted.sized((height, width)).size)
    area = wanted.area or (views.smallest_area, 1.0)
    crop = draw_crop(draw, view, (height, width), *area, shape=size)
    clips = _change(clips, _chosen(draw, "flip", view, views.flip_ratio), flip)
    return resized_pieces(clips, draw_pieces(draw, view, crop, wanted.pieces), size)


def recoloured(clips: Clips, draw: Draw, view: int, views: ViewsConfig) -> Clips:
    """The clips with other colours, in place: jitter, grey, blur, solarise."""
    chosen = _chosen(draw, "jitter", view, views.jitter_ratio)
    order, factor = draw_jitter(draw, view, views.jitter_strength)
    for turn in range(len(JITTERS) if views.jitter_strength else 0):
        for number, adjust in enumerate(JITTERS):
            clips = _change(clips, chosen & (order[:, turn] == number), adjust, factor[:, number])

    clips = _change(clips, _chosen(draw, "grey", view, views.grey_ratio), without_colour)
    clips = _change(clips, _chosen(draw, "blur", view, views.blur_ratio), blur, draw_sigma(draw, view))
    return _change(clips, _chosen(draw, "solarise", view, views.solarise_ratio), solarise)


def turns(draw: Draw, view: int) -> Int[Tensor, " B"]:
    """By how many quarters of a circle, counter-clockwise, each sample's view is turned where `is_rotated`: 0 to 3
    (Gidaris et al. 2018, arXiv:1803.07728).
    """
    return draw.integers(f"turn/{view}", 4)


def ratio_of(ratios: float | list[float], view: int) -> float:
    """The ratio of one view: of a list, that of its place, or the last."""
    return ratios[min(view, len(ratios) - 1)] if isinstance(ratios, list) else ratios


def to_unit(pixels: UInt8[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """Bytes as numbers in [0, 1]."""
    return pixels.float().div_(255)


def normalise(pixels: Float[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """From [0, 1] to what encoders see: (pixels - MEAN) / DEVIATION, the same for every data set and channel."""
    return (pixels - MEAN).div_(DEVIATION)


def to_pixels(normalised: Float[Tensor, "*B 3 H W"]) -> UInt8[Tensor, "*B 3 H W"]:
    """The inverse of `normalise`, as bytes: rounded, cut off at black and white."""
    return (normalised.float() * DEVIATION).add_(MEAN).clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def flip(pixels: Clips) -> Clips:
    """Left becomes right."""
    return pixels.flip(-1)


def draw_jitter(draw: Draw, view: int, strength: float) -> Jitter:
    """Factors of torchvision's ColorJitter(0.8 s, 0.8 s, 0.8 s, 0.2 s) at strength s, in an order of each sample's
    own.
    """
    width, turn = 0.8 * strength, min(0.2 * strength, 0.5)
    low = torch.tensor([max(0.0, 1 - width)] * 3 + [-turn])
    high = torch.tensor([1 + width] * 3 + [turn])
    factor = low + (high - low) * draw.uniform(f"jitter_factor/{view}", 4)
    return Jitter(draw.uniform(f"jitter_order/{view}", 4).argsort(dim=1, stable=True), factor)


def without_colour(pixels: Clips) -> Clips:
    """Grey in three equal channels."""
    return greyscale(pixels).expand_as(pixels)


def draw_sigma(draw: Draw, view: int) -> Float[Tensor, " B"]:
    """The width of the blur, uniform in SIGMAS."""
    return SIGMAS[0] + (SIGMAS[1] - SIGMAS[0]) * draw.uniform(f"blur_sigma/{view}")


def blur(pixels: Clips, sigma: Float[Tensor, " B"]) -> Clips:
    """Gaussian blur, its kernel a tenth of the shorter side wide (odd, 3 at least), mirrored at the edges."""
    kernel = max(3, min(pixels.shape[-2:]) // 10 | 1)
    return resample(pixels, *(gaussian_weights(sigma, side, kernel) for side in pixels.shape[-2:]))


def gaussian_weights(sigma: Float[Tensor, " B"], side: int, kernel: int) -> Float[Tensor, "B N N"]:
    """How much each pixel of a side adds to each pixel of the blurred one."""
    offset = torch.arange(kernel, device=sigma.device) - kernel // 2
    taps = torch.softmax(-0.5 * (offset / sigma[:, None]) ** 2, dim=-1)
    source = (torch.arange(side, device=sigma.device)[:, None] + offset).abs()
    source = (side - 1 - (side - 1 - source).abs()).clamp(min=0)  # mirrored, the edge itself not repeated
    weights = taps.new_zeros(len(sigma), side, side)
    return weights.scatter_add_(2, source.expand(len(sigma), -1, -1), taps[:, None].expand(-1, side, -1))


def solarise(pixels: Clips) -> Clips:
    """Inverted from 0.5 on."""
    return torch.where(pixels < 0.5, pixels, 1 - pixels)


def _chosen(draw: Draw, operation: str, view: int, ratios: float | list[float]) -> Bool[Tensor, " B"]:
    return draw.uniform(f"{operation}/{view}") < ratio_of(ratios, view)


def _change(
    pixels: Clips, chosen: Bool[Tensor, " B"], operation: Callable[..., Clips], *parameters: Float[Tensor, " B"]
) -> Clips:
    """Applies an operation to the chosen samples, in place; the others keep every bit."""
    rows = chosen.nonzero()[:, 0]
    if len(rows):
        there = sent(rows, pixels.device)
        given = (sent(parameter[rows], pixels.device) for parameter in parameters)
        pixels.index_copy_(0, there, operation(pixels.index_select(0, there), *given))
    return pixels
