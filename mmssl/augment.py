"""Augmentation of pictures and clips, in batch and on their device, from counter-based draws.

Each operation is a function of explicit parameters per sample, beside the function that draws them; what a sample gets
depends on its (seed, epoch, index) and the view only. The recipe is Chen et al. 2020 (arXiv:2002.05709, appendix A) in
torchvision's order: crop, flip, jitter, grey, blur. All frames of a clip get the same parameters.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from mmssl.colour import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation, greyscale
from mmssl.random import Draw
from mmssl.sections import ViewsConfig

Clips = Float[Tensor, "B L 3 H W"]  # pixels in [0, 1]; a picture is a clip of one frame
MEAN, DEVIATION = 0.5, 0.25  # of all channels: near those of natural pictures, and [0, 1] becomes [-2, 2]
ASPECTS = (3 / 4, 4 / 3)  # of a random crop, width to height
SIGMAS = (0.1, 2.0)  # of the blur, in pixels
JITTERS = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)


class View(NamedTuple):
    """How a method wants one view of a picture, beside what the config says of all of them."""

    size: int = 0  # pixels of a side; 0: that of the picture
    area: tuple[float, float] | None = None  # of a random crop, as ratios; None: from views.smallest_area to 1
    pieces: int = 0  # a side of a jigsaw: (B, pieces^2, 3, h, w) in an order of each sample's own; 0: whole
    is_rotated: bool = False  # by 0, 90, 180 or 270 degrees: `turns` says by how many quarters


class Crop(NamedTuple):
    """A window of each sample, in whole pixels."""

    top: Int[Tensor, " B"]
    left: Int[Tensor, " B"]
    height: Int[Tensor, " B"]
    width: Int[Tensor, " B"]


class Jitter(NamedTuple):
    """Change of colours of each sample: the order of JITTERS, and the factor of each of them."""

    order: Int[Tensor, "B 4"]
    factor: Float[Tensor, "B 4"]


def augment(
    pixels: UInt8[Tensor, "B *L 3 H W"], draw: Draw, view: int, views: ViewsConfig
) -> Float[Tensor, "B *L 3 H W"]:
    """One view of pictures (B, 3, H, W) or clips (B, L, 3, H, W), in [0, 1] and of the same size."""
    # parameters are decided on the CPU, so that the device is not waited for again and again
    draw = Draw(draw.seed, draw.epoch.cpu(), draw.index.cpu())
    height, width = pixels.shape[-2:]
    clips = rearrange(to_unit(pixels), "b ... c h w -> b (...) c h w")
    with torch.autocast(pixels.device.type, enabled=False):
        if views.smallest_area < 1:
            clips = resized_crop(clips, draw_crop(draw, view, (height, width), views.smallest_area), (height, width))
        clips = _change(clips, _chosen(draw, f"flip/{view}", views.flip_ratio), flip)

        chosen = _chosen(draw, f"jitter/{view}", views.jitter_ratio)
        order, factor = draw_jitter(draw, view, views.jitter_strength)
        for turn in range(len(JITTERS) if views.jitter_strength else 0):
            for number, adjust in enumerate(JITTERS):
                clips = _change(clips, chosen & (order[:, turn] == number), adjust, factor[:, number])

        clips = _change(clips, _chosen(draw, f"grey/{view}", views.grey_ratio), without_colour)
        clips = _change(clips, _chosen(draw, f"blur/{view}", views.blur_ratio), blur, draw_sigma(draw, view))
    return clips.reshape(pixels.shape)


def to_unit(pixels: UInt8[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """Bytes as numbers in [0, 1]."""
    return pixels.float().div_(255)


def normalise(pixels: Float[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """From [0, 1] to what encoders see: (pixels - MEAN) / DEVIATION, the same for every data set and channel."""
    return (pixels - MEAN).div_(DEVIATION)


def to_pixels(normalised: Float[Tensor, "*B 3 H W"]) -> UInt8[Tensor, "*B 3 H W"]:
    """The inverse of `normalise`, as bytes: rounded, cut off at black and white."""
    return (normalised.float() * DEVIATION).add_(MEAN).clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def draw_crop(draw: Draw, view: int, size: tuple[int, int], smallest_area: float) -> Crop:
    """Area uniform in [smallest_area, 1] of the picture, aspect log-uniform in ASPECTS, place uniform.

    torchvision draws both again, ten times, until the window fits. Here the aspect is drawn among those that fit with
    the area, so that areas stay uniform; in a picture too oblong for any of them the window is cut to it.
    """
    height, width = size
    uniform = draw.uniform(f"crop/{view}", 4).double()
    area = smallest_area + (1 - smallest_area) * uniform[:, 0]
    narrowest = (area * width / height).clamp(min=ASPECTS[0]).log()
    widest = (width / height / area).clamp(max=ASPECTS[1]).log()
    aspect = torch.lerp(narrowest, widest, uniform[:, 1]).exp()
    pixels = area * height * width
    crop_height = (pixels / aspect).sqrt().round().clamp(1, height)
    crop_width = (pixels * aspect).sqrt().round().clamp(1, width)
    top = (uniform[:, 2] * (height - crop_height + 1)).floor()
    left = (uniform[:, 3] * (width - crop_width + 1)).floor()
    return Crop(top.long(), left.long(), crop_height.long(), crop_width.long())


def resized_crop(pixels: Clips, crop: Crop, size: tuple[int, int]) -> Float[Tensor, "B L 3 S T"]:
    """The windows at one size: bilinear, antialiased where it shrinks, as torchvision with antialias=True."""
    top, left, height, width = (numbers.to(pixels.device) for numbers in crop)
    rows = bilinear_weights(top, height, pixels.shape[-2], size[0])
    columns = bilinear_weights(left, width, pixels.shape[-1], size[1])
    return resample(pixels, rows, columns)


def bilinear_weights(
    start: Int[Tensor, " B"], length: Int[Tensor, " B"], num_in: int, num_out: int
) -> Float[Tensor, "B S N"]:
    """How much each of the N pixels of a side adds to each of the S pixels that a window of it becomes."""
    start, length = start.float()[:, None, None], length.float()[:, None, None]
    scale = length / num_out  # pixels of the window in one of the result
    source = torch.arange(num_in, device=start.device) + 0.5
    centre = start + scale * (torch.arange(num_out, device=start.device) + 0.5)[:, None]
    weights = (1 - (source - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    weights *= (source > start) & (source < start + length)
    return weights / weights.sum(-1, keepdim=True)


def resample(
    pixels: Clips, rows: Float[Tensor, "B S H"], columns: Float[Tensor, "B T W"]
) -> Float[Tensor, "B L 3 S T"]:
    """Weighted means along the columns and along the rows of each sample's frames."""
    num_frames = pixels.shape[1]
    across = rearrange(pixels, "b l c h w -> b (l c h) w") @ rearrange(columns, "b t w -> b w t")
    down = rows[:, None] @ rearrange(across, "b (f h) t -> b f h t", f=3 * num_frames)
    return rearrange(down, "b (l c) s t -> b l c s t", l=num_frames)


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


def _chosen(draw: Draw, name: str, ratio: float) -> Bool[Tensor, " B"]:
    return draw.uniform(name) < ratio


def _change(
    pixels: Clips, chosen: Bool[Tensor, " B"], operation: Callable[..., Clips], *parameters: Float[Tensor, " B"]
) -> Clips:
    """Applies an operation to the chosen samples, in place; the others keep every bit."""
    rows = chosen.nonzero()[:, 0]
    if len(rows):
        there = rows.to(pixels.device)
        given = (parameter[rows].to(pixels.device) for parameter in parameters)
        pixels.index_copy_(0, there, operation(pixels.index_select(0, there), *given))
    return pixels
