"""k-means on one device (Lloyd 1982), with the repair of empty clusters that DeepCluster needs."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

CHUNK_ELEMENTS = 2**26  # of the scores held at once
SHAKE = 1e-3  # relative size of the perturbation of a centre that is split


class Clusters(NamedTuple):
    """Where the centres lie, and which is the nearest of each sample."""

    centres: Float[Tensor, "K D"]
    label: Int[Tensor, " N"]


def nearest(x: Float[Tensor, "N D"], centres: Float[Tensor, "K D"]) -> Int[Tensor, " N"]:
    """The nearest centre of each sample; ties go to the smaller number."""
    offset = centres.square().sum(1) / 2
    rows = max(1, CHUNK_ELEMENTS // len(centres))
    return torch.cat([(offset - part @ centres.T).argmin(1) for part in x.split(rows)])


def kmeans(
    x: Float[Tensor, "N D"], k: int, *, seed: int, iterations: int = 20, spherical: bool = False, repair: bool = True
) -> Clusters:
    """k clusters after `iterations` of Lloyd's from k samples drawn without replacement (with, where N < k).

    `spherical`: x are unit vectors, and so are the centres. `repair`: an empty cluster takes the centre of a random
    other one, a little moved in opposite directions (Caron et al. 2018, arXiv:1807.05520, section 3.3); without it, it
    keeps its centre.
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.randperm(len(x), generator=generator)[:k]
    if len(x) < k:
        start = torch.cat([start, torch.randint(len(x), (k - len(x),), generator=generator)])
    centres = x[start.to(x.device)].clone()
    for _ in range(iterations):
        label = nearest(x, centres)
        count = label.bincount(minlength=k)
        total = torch.zeros_like(centres).index_add_(0, label, x)
        centres = torch.where(count[:, None] > 0, total / count[:, None].clamp(min=1), centres)
        if repair:
            split_into_empty(centres, count, generator)
        if spherical:
            centres = normalize(centres, dim=1)
    return Clusters(centres, nearest(x, centres))


def split_into_empty(centres: Float[Tensor, "K D"], count: Int[Tensor, " K"], generator: torch.Generator) -> None:
    """Put a copy of the centre of a random cluster that is not empty into each empty one, in place."""
    empty, full = (count == 0).nonzero()[:, 0], (count > 1).nonzero()[:, 0]
    if not len(empty) or not len(full):
        return
    donor = full[torch.randint(len(full), (len(empty),), generator=generator).to(full.device)]
    shake = torch.randn(len(empty), centres.shape[1], generator=generator).to(centres.device)
    shake = SHAKE * shake * centres[donor].norm(dim=1, keepdim=True) / centres.shape[1] ** 0.5
    centres[empty] = centres[donor] + shake
    centres[donor] -= shake
