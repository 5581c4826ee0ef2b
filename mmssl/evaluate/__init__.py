"""What a trained encoder is worth: pure functions from energies, embeddings and labels to `evaluation.json`."""

import torch
from jaxtyping import Float
from torch import Tensor

from mmssl.errors import DataError, NumericError


def finite(name: str, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values without their graph; DataError where there are none, NumericError where one is not finite."""
    if values.numel() == 0:
        raise DataError(f"{name}: got an empty tensor of shape {tuple(values.shape)}, expected at least one value")
    wrong = values.numel() - int(torch.isfinite(values).sum())
    if wrong:
        raise NumericError(f"{name}: {wrong} of {values.numel()} values are not finite, expected none")
    return values.detach()
