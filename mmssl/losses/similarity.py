"""Similarity alone: what keeps it from collapse lies in the teacher and the predictor."""

import torch
from torch import Tensor

from mmssl.energy import cosine
from mmssl.losses.views import Views, pairs


def regression(queries: Views, keys: Views) -> dict[str, Tensor]:
    """2 - 2 cos(query, key of the other view) (Grill et al. 2020, arXiv:2006.07733, eq. 2), the mean over samples of
    the mean over pairs of views.
    """
    energy = 2 * cosine(queries.value[:, None], keys.value[None])
    pair = pairs(queries.present, keys.present)
    return {"similarity": (torch.where(pair, energy, 0.0).sum((0, 1)) / pair.sum((0, 1)).clamp(min=1)).mean()}
