"""A sound drawn as its waveform."""

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor

from mmssl.report.pictures import Picture

HEIGHT, COLUMNS = 64, 192  # pixels
PAPER, WAVE = 255, 64  # grey levels


def waveform_picture(samples: Float[Tensor, " T"]) -> Picture:
    """In each column a bar from the lowest to the highest of its samples, -1 at the bottom and 1 at the top; what is
    louder is cut off.
    """
    samples = samples.detach().cpu().float().nan_to_num(0.0).clamp(-1, 1)
    parts = samples.tensor_split(min(COLUMNS, len(samples)))
    bounds = torch.tensor([[float(part.min()), float(part.max())] for part in parts])
    top, bottom = ((1 - bounds.flip(1)) / 2 * (HEIGHT - 1)).round().unbind(1)
    row = torch.arange(HEIGHT)[:, None]
    grey = torch.where((row >= top) & (row <= bottom), WAVE, PAPER).to(torch.uint8)
    return repeat(grey, "h w -> c h w", c=3).contiguous()
