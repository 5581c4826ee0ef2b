"""Windows of pictures and clips at one size: random crops, and the pieces of a jigsaw, each resampled only once."""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int, Real
from torch import Tensor

from mmssl.random import Draw, sent

Clips = Float[Tensor, "B L 3 H W"]  # pixels in [0, 1]; a picture is a clip of one frame
ASPECTS = (3 / 4, 4 / 3)  # of a random crop, width to height, over that of what it becomes
PIECE = 64 / 75  # of a side of a jigsaw's cell: what is left between pieces says nothing of their order


class Crop(NamedTuple):
    """A window of each sample (B,), or several (B, K), in pixels: whole ones, but for the pieces of a jigsaw."""

    top: Real[Tensor, "B *K"]
    left: Real[Tensor, "B *K"]
    height: Real[Tensor, "B *K"]
    width: Real[Tensor, "B *K"]


def draw_crop(
    draw: Draw, view: int, size: tuple[int, int], smallest_area: float, largest_area: float = 1.0,
    shape: tuple[int, int] = (1, 1),
) -> Crop:  # fmt: skip
    """Area uniform in [smallest_area, largest_area] of the picture, aspect log-uniform in ASPECTS times that of the
    `shape` (height, width) that it becomes, place uniform; with a smallest area of 1 all of the picture.

    torchvision draws both again, ten times, until the window fits. Here the aspect is drawn among those that fit with
    the area, so that areas stay uniform; in a picture too oblong for any of them the window is cut to it.
    """
    height, width = size
    assert 0 < smallest_area <= largest_area <= 1, f"area of a crop from {smallest_area} to {largest_area}"
    if smallest_area == 1:
        return Crop(*(torch.full_like(draw.index, number) for number in (0, 0, height, width)))
    uniform = draw.uniform(f"crop/{view}", 4).double()
    area = smallest_area + (largest_area - smallest_area) * uniform[:, 0]
    low, high = (aspect * shape[1] / shape[0] for aspect in ASPECTS)
    narrowest = (area * width / height).clamp(min=low).log()
    widest = (width / height / area).clamp(max=high).log()
    aspect = torch.lerp(narrowest, widest, uniform[:, 1]).exp()
    pixels = area * height * width
    crop_height = (pixels / aspect).sqrt().round().clamp(1, height)
    crop_width = (pixels * aspect).sqrt().round().clamp(1, width)
    top = (uniform[:, 2] * (height - crop_height + 1)).floor()
    left = (uniform[:, 3] * (width - crop_width + 1)).floor()
    return Crop(top.long(), left.long(), crop_height.long(), crop_width.long())


def order_of_pieces(draw: Draw, view: int, pieces: int) -> Int[Tensor, "B K"]:
    """Which of the K = pieces^2 cells of the grid, counted row by row, each piece of a jigsaw is from."""
    return draw.uniform(f"order/{view}", pieces**2).argsort(dim=1, stable=True)


def draw_pieces(draw: Draw, view: int, crop: Crop, pieces: int) -> Crop:
    """From each cell of a grid of pieces x pieces over the crop a window at a random place, PIECE of its side.

    Noroozi & Favaro 2016 (arXiv:1603.09246, figure 3), in an order of each sample's own as in Misra & van der Maaten
    2019 (arXiv:1912.01991); in fractions of pixels, where they resize the crop to whole cells first.
    """
    order = order_of_pieces(draw, view, pieces)
    place = (1 - PIECE) * draw.uniform(f"piece/{view}", pieces**2, 2).double()
    top, left, height, width = (rearrange(numbers, "b -> b 1") for numbers in crop)
    height, width = height.double() / pieces, width.double() / pieces
    return Crop(
        top + height * (order // pieces + place[..., 0]),
        left + width * (order % pieces + place[..., 1]),
        (PIECE * height).expand(order.shape),
        (PIECE * width).expand(order.shape),
    )


def resized_crop(pixels: Clips, crop: Crop, size: tuple[int, int]) -> Float[Tensor, "B L 3 S T"]:
    """The windows at one size: bilinear, antialiased where it shrinks, as torchvision with antialias=True."""
    top, left, height, width = (sent(numbers, pixels.device) for numbers in crop)
    rows = bilinear_weights(top, height, pixels.shape[-2], size[0])
    columns = bilinear_weights(left, width, pixels.shape[-1], size[1])
    return resample(pixels, rows, columns)


def resized_pieces(pixels: Float[Tensor, "B 1 3 H W"], crop: Crop, size: tuple[int, int]) -> Float[Tensor, "B K 3 S T"]:
    """The same of K windows of each picture, as the frames of a clip."""
    num_samples, num_pieces = crop.top.shape
    top, left, height, width = (sent(rearrange(numbers, "b k -> (b k)").float(), pixels.device) for numbers in crop)
    rows = bilinear_weights(top, height, pixels.shape[-2], size[0])
    columns = bilinear_weights(left, width, pixels.shape[-1], size[1])
    # all windows of a picture in one product, so that it is not copied for each of them
    columns = rearrange(columns, "(b k) t w -> b w (k t)", b=num_samples)
    across = rearrange(pixels, "b 1 c h w -> b (c h) w") @ columns
    down = rows @ rearrange(across, "b (c h) (k t) -> (b k) h (c t)", c=3, k=num_pieces)
    return rearrange(down, "(b k) s (c t) -> b k c s t", k=num_pieces, c=3)


def bilinear_weights(
    start: Real[Tensor, " B"], length: Real[Tensor, " B"], num_in: int, num_out: int
) -> Float[Tensor, "B S N"]:
    """How much each of the N pixels of a side adds to each of the S pixels that a window of it becomes."""
    start, length = start.float()[:, None, None], length.float()[:, None, None]
    scale = length / num_out  # pixels of the window in one of the result
    source = torch.arange(num_in, device=start.device) + 0.5
    centre = start + scale * (torch.arange(num_out, device=start.device) + 0.5)[:, None]
    weights = (1 - (source - centre).abs() / scale.clamp(min=1)).clamp(min=0)
    weights *= (source + 0.5 > start) & (source - 0.5 < start + length)  # pixels of which a part is in the window
    return weights / weights.sum(-1, keepdim=True)


def resample(
    pixels: Clips, rows: Float[Tensor, "B S H"], columns: Float[Tensor, "B T W"]
) -> Float[Tensor, "B L 3 S T"]:
    """Weighted means along the columns and along the rows of each sample's frames."""
    num_frames = pixels.shape[1]
    across = rearrange(pixels, "b l c h w -> b (l c h) w") @ rearrange(columns, "b t w -> b w t")
    down = rows[:, None] @ rearrange(across, "b (f h) t -> b f h t", f=3 * num_frames)
    return rearrange(down, "b (l c) s t -> b l c s t", l=num_frames)


def window(view: Float[Tensor, "B *T"], start: Int[Tensor, " B"], length: int, axis: int) -> Float[Tensor, "B *W"]:
    """So much of a view of any kind along an axis, each sample's from a start of its own; nothing is resampled."""
    index = sent(start[:, None] + torch.arange(length, device=start.device), view.device)
    return view.take_along_dim(index.reshape(len(view), *[1] * (axis - 1), length, *[1] * (view.ndim - axis - 1)), axis)
