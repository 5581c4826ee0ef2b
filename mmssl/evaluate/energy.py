"""How well the energy tells compatible pairs (x, y) from incompatible ones, in units that all methods share."""

from collections.abc import Sequence
from math import isfinite

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.errors import DataError
from mmssl.evaluate import finite

HISTOGRAM_BINS = 40
OTHERS = 15  # among which and the true one the lowest energy is looked for


def auroc(compatible: Float[Tensor, " P"], incompatible: Float[Tensor, " Q"]) -> float:
    """P(E_compatible < E_incompatible) + P(tie) / 2 over all P * Q pairs: 1 is perfect, 0.5 chance; exact, by ranks."""
    low = finite("energies of compatible pairs", compatible).cpu().double().sort().values
    high = finite("energies of incompatible pairs", incompatible).cpu().double()

    # Each incompatible energy counts the compatible ones below it once, and again with its ties: two half points.
    half_points = torch.searchsorted(low, high).sum() + torch.searchsorted(low, high, right=True).sum()
    return int(half_points) / (2 * len(low) * len(high))


def gap(compatible: Float[Tensor, " P"], incompatible: Float[Tensor, " Q"]) -> float:
    """Mean incompatible minus mean compatible energy, in standard deviations of the compatible (Glass 1976's delta).

    The deviation is the sample's (divided by P - 1). Where the compatible energies are all equal it is 0.0 if the
    means are equal too, else plus or minus infinity. DataError where P < 2.
    """
    matched = finite("energies of compatible pairs", compatible).cpu().double()
    mismatched = finite("energies of incompatible pairs", incompatible).cpu().double()
    if len(matched) < 2:
        raise DataError("energies of compatible pairs: got 1, expected at least 2 to have a standard deviation")

    # Measured from one of them, so that equal energies have a deviation of exactly zero.
    matched, mismatched = matched - matched[0], mismatched - matched[0]
    difference = mismatched.mean() - matched.mean()
    return float(difference / matched.std()) if difference != 0 else 0.0


def rivals(energies: Float[Tensor, "B B"], thing: Int[Tensor, " B"] | None = None) -> Bool[Tensor, "B B"]:
    """Which y are wrong for which x: those of samples that show another thing, by default of all others."""
    things = torch.arange(len(energies)) if thing is None else thing
    return (things[:, None] != things).to(energies.device)


def of_matrix(
    energies: Float[Tensor, "B B"], thing: Int[Tensor, " B"] | None = None
) -> tuple[Float[Tensor, " B"], Float[Tensor, " P"]]:
    """The energies of compatible pairs (the diagonal) and of all others (row by row), but for those of samples that
    show the same thing.
    """
    return energies.diagonal(), energies[rivals(energies, thing)]


def of_same_class(
    energies: Float[Tensor, "B B"], label: Int[Tensor, " B"], thing: Int[Tensor, " B"] | None = None
) -> Float[Tensor, " P"]:
    """The energies of x and the y of another sample with the same label, row by row, but for those that show the same
    thing; -1 is no label.
    """
    return energies[(label[:, None] == label) & (label >= 0) & rivals(energies, thing)]


def of_other_class(energies: Float[Tensor, "B B"], label: Int[Tensor, " B"]) -> Float[Tensor, " P"]:
    """The energies of x and the y of another sample with another label, row by row; -1 is no label."""
    known = label >= 0
    return energies[(label[:, None] != label) & known[:, None] & known]


def is_first(
    energies: Float[Tensor, "B B"], hard: Sequence[Float[Tensor, " B"]], there: Sequence[Bool[Tensor, " B"]]
) -> Float[Tensor, " R"]:
    """1 where the compatible pair has the lowest energy among itself and OTHERS others, 0 where not, 1 / T where T are
    the lowest alike; of the samples that have as many.

    The others are those of `hard` that are `there`, one for each kind, then those of the samples behind in `energies`.
    """
    count = len(energies)
    behind = (torch.arange(count)[:, None] + torch.arange(1, count)) % count
    others = torch.cat([*(kind[:, None] for kind in hard), energies.gather(1, behind)], 1)
    chosen = torch.cat([*(kind[:, None] for kind in there), torch.ones_like(behind, dtype=torch.bool)], 1)
    chosen &= chosen.cumsum(1) <= OTHERS
    own = energies.diagonal()[:, None]
    lower, alike = (others < own) & chosen, (others == own) & chosen
    first = torch.where(lower.any(1), 0.0, 1 / (1 + alike.sum(1)))
    return first[chosen.sum(1) == OTHERS]


def summary(compatible: Float[Tensor, " P"], incompatible: dict[str, Float[Tensor, " _"]]) -> dict[str, float]:
    """The `energy.*` keys of `evaluation.json`, given the energies of each kind of negative.

    `energy.auroc` and `energy.gap` are of the kind "other" (the y of another sample), or of the first kind given
    where that one is missing; `energy.ladder.<kind>` is each kind's AUROC. A gap that is not finite is left out:
    JSON has no infinity.
    """
    if not incompatible:
        raise DataError("energies of incompatible pairs: got no kind of negative, expected at least one")
    headline = incompatible["other"] if "other" in incompatible else next(iter(incompatible.values()))

    values = {"energy.auroc": auroc(compatible, headline), "energy.gap": gap(compatible, headline)}
    values |= {f"energy.ladder.{kind}": auroc(compatible, energies) for kind, energies in incompatible.items()}
    return {key: value for key, value in values.items() if isfinite(value)}


def histogram(compatible: Float[Tensor, " P"], incompatible: Float[Tensor, " Q"]) -> dict[str, list[float]]:
    """Counts of both kinds of pair in HISTOGRAM_BINS equal bins, for the report."""
    both = torch.cat([compatible, incompatible]).double()
    edges = torch.linspace(float(both.min()), float(both.max()) + 1e-6, HISTOGRAM_BINS + 1, dtype=torch.float64)
    return {
        "edges": edges.tolist(),
        "compatible": torch.histogram(compatible.double(), edges).hist.tolist(),
        "incompatible": torch.histogram(incompatible.double(), edges).hist.tolist(),
    }
