"""Projectors and predictors of joint embeddings: small perceptrons."""

import itertools

from torch import nn

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
