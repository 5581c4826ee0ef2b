"""Sparse codes: the z of least energy under a dictionary, found by iterations or by a network that has learned them."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

LANGEVIN = 0.2  # a step of sampling, in steps of descent
Seen = Bool[Tensor, "B D"]  # which numbers of y are known; the energy is that of these alone


def soft_threshold(z: Float[Tensor, "..."], threshold: float | Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Every number nearer to 0 by `threshold`, but not beyond: the proximal operator of threshold * ||z||_1."""
    return z.sign() * (z.abs() - threshold).clamp(min=0)


def sparse_energy(
    y: Float[Tensor, "B D"], z: Float[Tensor, "B K"], dictionary: Float[Tensor, "D K"], l1_weight: float,
    seen: Seen | None = None,
) -> Float[Tensor, " B"]:  # fmt: skip
    """E(y, z) = 1/2 ||y - W z||^2 + l1_weight ||z||_1: sums over D and K, a mean over nothing (Olshausen & Field 1996,
    eq. 2-4, with S(x) = |x|).
    """
    return 0.5 * known(y - z @ dictionary.T, seen).square().sum(-1) + l1_weight * z.abs().sum(-1)


def known(difference: Float[Tensor, "B D"], seen: Seen | None) -> Float[Tensor, "B D"]:
    """The difference where y is known, 0 elsewhere."""
    return difference if seen is None else torch.where(seen, difference, 0.0)


def curvature(dictionary: Float[Tensor, "D K"]) -> Float[Tensor, ""]:
    """The largest eigenvalue of W^T W: the gradient's Lipschitz constant L; hiding some of y makes it no larger."""
    rows, columns = dictionary.shape
    gram = dictionary @ dictionary.T if rows < columns else dictionary.T @ dictionary
    return torch.linalg.eigvalsh(gram)[-1].clamp(min=1e-6)


@torch.no_grad()
def ista(
    y: Float[Tensor, "B D"], dictionary: Float[Tensor, "D K"], l1_weight: float, steps: int, seen: Seen | None = None
) -> Float[Tensor, "B K"]:
    """`steps` proximal gradient steps of size 1 / L on E from z = 0 (Beck & Teboulle 2009, eq. 3.1)."""
    size = 1 / curvature(dictionary)
    z = y.new_zeros(len(y), dictionary.shape[1])
    for _ in range(steps):
        z = proximal_step(y, z, dictionary, l1_weight, size, seen)
    return z


@torch.no_grad()
def fista(
    y: Float[Tensor, "B D"], dictionary: Float[Tensor, "D K"], l1_weight: float, steps: int, seen: Seen | None = None
) -> Float[Tensor, "B K"]:
    """The same with momentum, so that the error falls with 1 / steps^2 (Beck & Teboulle 2009, eq. 4.1-4.3).

    No gradient passes: at the minimum that of F(y) = min_z E(y, z) is that of E(y, z) at this z, held fixed.
    """
    size = 1 / curvature(dictionary)
    z = ahead = y.new_zeros(len(y), dictionary.shape[1])
    pace = 1.0  # the paper's t_k
    for _ in range(steps):
        before, z = z, proximal_step(y, ahead, dictionary, l1_weight, size, seen)
        faster = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        ahead, pace = z + (pace - 1) / faster * (z - before), faster
    return z


@torch.no_grad()
def sampled(
    y: Float[Tensor, "B D"], z: Float[Tensor, "B K"], dictionary: Float[Tensor, "D K"], l1_weight: float,
    temperature: float, noise: Float[Tensor, "S B K"], seen: Seen | None = None,
) -> Float[Tensor, "B K"]:  # fmt: skip
    """A z drawn from exp(-E(y, z) / temperature): S steps of Langevin dynamics from `z`, with standard normal numbers
    for each, the L1 cost by its proximal operator (Durmus, Moulines & Pereyra 2018, arXiv:1612.07471, section 3.2; here
    a proximal gradient step, then noise).

    A step is LANGEVIN / L, so that the variance is too large by a tenth along the steepest direction.
    """
    size = LANGEVIN / curvature(dictionary)
    spread = (2 * size * temperature).sqrt()
    for numbers in noise:
        z = proximal_step(y, z, dictionary, l1_weight, size, seen) + spread * numbers
    return z


def proximal_step(
    y: Float[Tensor, "B D"], z: Float[Tensor, "B K"], dictionary: Float[Tensor, "D K"], l1_weight: float,
    size: Float[Tensor, ""], seen: Seen | None,
) -> Float[Tensor, "B K"]:  # fmt: skip
    """One step down the squared error, then the threshold of the L1 cost."""
    down = known(y - z @ dictionary.T, seen) @ dictionary
    return soft_threshold(z + size * down, l1_weight * size)


class Dictionary(nn.Module):
    """K atoms of unit norm, the columns of W: y is W z, and nothing else (linear, no bias)."""

    def __init__(self, width: int, num_atoms: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, num_atoms))
        self.project()

    def forward(self, z: Float[Tensor, "*B K"]) -> Float[Tensor, "*B D"]:
        return z @ self.weight.T

    @torch.no_grad()
    def project(self) -> None:
        """Every atom back to norm 1, after each step: otherwise they grow and z shrinks, and L1 costs nothing."""
        self.weight.div_(self.weight.norm(dim=0).clamp(min=1e-12))


class Lista(nn.Module):
    """ISTA of a few steps whose matrices and thresholds are learned (Gregor & LeCun 2010, algorithm 3).

    z <- threshold(z + A (y - B z)): their S is I - A B here (the coupling of Chen et al. 2018, arXiv:1808.10038,
    theorem 1), so that what of y is unknown can be left out. It begins as ISTA on the dictionary, to the same numbers.
    """

    def __init__(self, dictionary: Float[Tensor, "D K"], l1_weight: float, layers: int) -> None:
        super().__init__()
        self.layers, size = layers, 1 / curvature(dictionary.detach())
        self.down = nn.Parameter((size * dictionary.detach()).clone())
        self.dictionary = nn.Parameter(dictionary.detach().clone())
        self.threshold = nn.Parameter((l1_weight * size).repeat(dictionary.shape[1]))

    def forward(self, y: Float[Tensor, "B D"], seen: Seen | None = None) -> Float[Tensor, "B K"]:
        z = y.new_zeros(len(y), self.dictionary.shape[1])
        for _ in range(self.layers):
            z = soft_threshold(z + known(y - z @ self.dictionary.T, seen) @ self.down, self.threshold)
        return z
