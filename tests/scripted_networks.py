"""Networks that a user might supply as TorchScript files."""

from pathlib import Path

import torch
from torch import Tensor, nn


class Difference(nn.Module):
    """Stands for LPIPS: the mean difference of two pictures in [-1, 1]."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().mean((1, 2, 3), keepdim=True)


class Brightness(nn.Module):
    """Stands for the features of FVD: the mean of each channel over time and place."""

    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((2, 3, 4))


def saved(module: nn.Module, path: Path) -> str:
    """The path of the network's file."""
    torch.jit.script(module).save(str(path))
    return str(path)
