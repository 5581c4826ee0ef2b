"""Changes of colour, each sample by its own factor: what torchvision's `adjust_*` do to one picture, for a batch.

Every function takes pixels in [0, 1] and one number per sample; all frames of a clip share it. A picture is a clip of
one frame.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

Clips = Float[Tensor, "B L 3 H W"]
PerSample = Float[Tensor, " B"]


def greyscale(pixels: Clips) -> Float[Tensor, "B L 1 H W"]:
    """Luma of ITU-R BT.601, with torchvision's digits."""
    red, green, blue = pixels.split(1, dim=2)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def adjust_brightness(pixels: Clips, factor: PerSample) -> Clips:
    """0 is black, 1 changes nothing."""
    return (pixels * _per_pixel(factor)).clamp_(0, 1)


def adjust_contrast(pixels: Clips, factor: PerSample) -> Clips:
    """0 is the frame's mean grey, 1 changes nothing; the mean is each frame's own, as in torchvision."""
    mean = greyscale(pixels).mean(dim=(2, 3, 4), keepdim=True)
    return torch.lerp(mean, pixels, _per_pixel(factor)).clamp_(0, 1)


def adjust_saturation(pixels: Clips, factor: PerSample) -> Clips:
    """0 is grey, 1 changes nothing."""
    return torch.lerp(greyscale(pixels), pixels, _per_pixel(factor)).clamp_(0, 1)


def adjust_hue(pixels: Clips, factor: PerSample) -> Clips:
    """Turns the hue of HSV by `factor` of the circle, in [-0.5, 0.5].

    Of HSV only the hue is computed: a channel is lowest + range * (how far the hue reaches into it), and neither the
    lowest nor the range of the channels changes. In sixths of the circle, with channels scaled to [0, 1] by lowest and
    range, the hue is 1 - red + green + blue from red over green (2) to cyan (3), and minus that on the side of blue.
    """
    red, green, blue = pixels.split(1, dim=2)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    range_ = torch.maximum(torch.maximum(red, green), blue).sub_(lowest)
    from_red = (green + blue).sub_(red).sub_(lowest).div_(range_.clamp(min=1e-30)).add_(1)  # grey has no hue: 0 / 1e-30
    hue = from_red.copysign_(green - blue).add_(6 * _per_pixel(factor))
    hue.sub_((hue / 6).floor_().mul_(6))

    turned = torch.empty_like(pixels)
    for channel, (centre, offset, sign) in enumerate(((3, -1, 1), (2, 2, -1), (4, 2, -1))):
        reach = (hue - centre).abs_().mul_(sign).add_(offset).clamp_(0, 1)
        torch.addcmul(lowest, reach, range_, out=turned[:, :, channel : channel + 1])
    return turned.clamp_(0, 1)


def _per_pixel(factor: PerSample) -> Float[Tensor, "B 1 1 1 1"]:
    return rearrange(factor, "b -> b 1 1 1 1")
