"""Given one modality of a sample, find its other among those of all samples."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmssl.evaluate import finite

RANKS = (1, 5, 10)


def recalls(energies: Float[Tensor, "B B"], rivals: Bool[Tensor, "B B"] | None = None) -> dict[str, float]:
    """R@1, R@5, R@10: the share of rows whose own column is among the k of lowest energy; ties count as worse.

    With B samples chance is k / B. With `rivals` the own column stands among these alone.
    """
    energies = finite("retrieval: energies", energies)
    own = energies.diagonal()[:, None]
    is_before = (energies < own) | ((energies == own) & ~torch.eye(len(energies), dtype=torch.bool))
    rank = (is_before if rivals is None else is_before & rivals).sum(1)
    return {f"r{k}": float((rank < k).double().mean()) for k in RANKS}
