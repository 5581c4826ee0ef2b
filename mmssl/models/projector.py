"""Projectors and predictors of joint embeddings: small perceptrons, and the head of self-distillation."""

import itertools

from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from mmssl.models.normalization import BatchNorm


def perceptron(*widths: int, last_norm: bool = False) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them; `last_norm`: one without parameters at the end."""
    parts: list[nn.Module] = []
    for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        is_last = number == len(widths) - 1
        parts.append(nn.Linear(before, after, bias=is_last and not last_norm))
        if not is_last:
            parts += [BatchNorm(after), nn.ReLU()]
    if last_norm:
        parts.append(BatchNorm(widths[-1], affine=False))
    return nn.Sequential(*parts)


class UnitLength(nn.Module):
    """Each embedding divided by its Euclidean norm."""

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return normalize(x, dim=-1)


class AtAllTimes(nn.Module):
    """The same point so many times side by side: that of what does not change, beside segments of what does."""

    def __init__(self, num_segments: int) -> None:
        super().__init__()
        self.num_segments = num_segments

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B S_P"]:
        return repeat(x, "b p -> b (s p)", s=self.num_segments)


class UnitLinear(nn.Module):
    """A linear layer without bias whose rows have unit length whatever the optimizer does to `weight`: weight
    normalisation (Salimans & Kingma 2016, arXiv:1602.07868, eq. 2) with g = 1.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.weight = nn.Linear(before, after, bias=False).weight

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B K"]:
        return linear(x, normalize(self.weight, dim=-1))


def distillation_head(*widths: int, bottleneck: int, out: int) -> nn.Sequential:
    """DINO's head: linear layers with GELU between them and no batch normalisation, down to a bottleneck of unit
    length, then `out` logits that are cosines (Caron et al. 2021, arXiv:2104.14294, section 3.1).

    The rows of the last layer have unit length, as in their code with `norm_last_layer`; it learns from the first step
    on, where theirs is frozen for an epoch.
    """
    parts: list[nn.Module] = []
    for before, after in itertools.pairwise((*widths, bottleneck)):
        layer = nn.Linear(before, after)
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
        parts += [layer, nn.GELU()]
    return nn.Sequential(*parts[:-1], UnitLength(), UnitLinear(bottleneck, out))
