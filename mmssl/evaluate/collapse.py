"""Whether the embeddings have collapsed: to one point (complete), or into few of their dimensions (partial).

What the thresholds mean, of B samples of D features:

- The singular values of an isotropic Gaussian sample follow Marchenko & Pastur (1967): its effective rank is
  min(B - 1, D) where one of the two is far larger, and 2 e^(4/3) / (3 pi) = 0.805 of it, its least, where they are
  equal. Eigenvalues n^-alpha of D dimensions reach 2/e = 0.74 of D at alpha = 1, which alpha-ReQ calls healthy
  (D large; 0.86 at D = 64).
  So both have three quarters of what can be reached or more, and a tenth of it is far below: what isotropic
  embeddings of a tenth of the dimensions have, or eigenvalues n^-3.0 of 128 dimensions (n^-2.2 of 1024).
- An effective rank below 2 is less than that of two equal directions: one line, with something around it.
- The squared standard deviation is at most 1 - the mean cosine over pairs, equal to it where all features vary alike.
  At 0.05 the mean cosine is 0.9975: a softmax over cosines at temperature 0.1 is then flat within e^0.025; at 0.2
  it is 0.96, and the softmax flat within e^0.4 = 1.5.
"""

from math import inf, isfinite, nan
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmssl.errors import DataError
from mmssl.evaluate import finite

Verdict = Literal["healthy", "partial", "complete"]

COMPLETE_STANDARD_DEVIATION = 0.05  # where isotropic embeddings have 1: the mean cosine is 0.9975
PARTIAL_STANDARD_DEVIATION = 0.2  # of what is compared: the mean cosine is 0.96
COMPLETE_RANK = 2.0  # all samples lie on little more than one line
PARTIAL_RANK_RATIO = 0.1  # of the rank that B random embeddings of D features could reach, min(B - 1, D)
COMPARED = ("verdict", "effective_rank", "reachable_rank", "std")  # what is said of compared vectors
SEVERITY: tuple[Verdict, ...] = ("healthy", "partial", "complete")


def spectrum(embeddings: Float[Tensor, "B D"]) -> Float[Tensor, " K"]:
    """The K = min(B, D) singular values, largest first, of the embeddings minus their mean; float64.

    Values below the rounding of float32 (relative to the norm of the embeddings as given, mean included) are zero,
    so equal embeddings have no spectrum whatever the order of summation leaves. DataError where B < 2.
    """
    values = finite("embeddings", embeddings).cpu().double()
    if len(values) < 2:
        raise DataError(f"embeddings: got {len(values)} sample, expected at least 2")
    singular_values = torch.linalg.svdvals(values - values.mean(dim=0))
    rounding = torch.finfo(torch.float32).eps * values.norm()
    return torch.where(singular_values > rounding, singular_values, 0.0)


def effective_rank(singular_values: Float[Tensor, " K"]) -> float:
    """RankMe: the exponential of the entropy of the singular values over their sum; 0 where all of them are zero.

    Garrido et al. 2023, arXiv:2210.02885, eq. 1, with two differences: `spectrum` centres the embeddings (there, a
    constant offset counts as a dimension and hides a collapse), and 0 log 0 = 0 replaces the added epsilon of 1e-7.
    """
    if not singular_values.any():
        return 0.0
    return float(torch.special.entr(singular_values / singular_values.sum()).sum().exp())


def alpha_req(singular_values: Float[Tensor, " K"]) -> float:
    """The exponent alpha of the power law n^-alpha that the eigenvalues of the covariance follow; near 1 is healthy.

    Agrawal et al. 2022, "alpha-ReQ". Least squares of log eigenvalue against log n over all eigenvalues that are
    not zero, each weighted 1 / n (as Stringer et al. 2019), so that every octave of n counts alike. Infinite where
    fewer than two are left.
    """
    eigenvalues = singular_values[singular_values > 0] ** 2
    if len(eigenvalues) < 2:
        return inf
    order = torch.arange(1, len(eigenvalues) + 1, dtype=eigenvalues.dtype)
    weight = 1 / order / (1 / order).sum()
    x, y = order.log(), eigenvalues.log()
    x, y = x - (weight * x).sum(), y - (weight * y).sum()
    return float(-(weight * x * y).sum() / (weight * x * x).sum())


def standard_deviation(embeddings: Float[Tensor, "B D"]) -> float:
    """The mean over features of the standard deviation of the L2-normalised embeddings, times sqrt(D).

    1 where they are isotropic, 0 where all are equal (Chen & He 2021, arXiv:2011.10566, section 4.1). A constant
    offset lowers it, as it should: then all cosines are near 1.
    """
    return float(deviation(finite("embeddings", embeddings).cpu().double()))


def deviation(embeddings: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """`standard_deviation` where the embeddings are, without waiting for their device and whatever their values."""
    directions = functional.normalize(embeddings, dim=1)
    return directions.std(dim=0, correction=0).mean() * directions.shape[1] ** 0.5


def alignment(x: Float[Tensor, "B D"], y: Float[Tensor, "B D"]) -> float:
    """The mean squared distance of two views of a sample, L2-normalised: 0 where they agree, 2 of unrelated ones.

    Wang & Isola 2020, arXiv:2005.10242, section 4.1, alpha = 2.
    """
    x, y = (functional.normalize(finite("embeddings of a view", view).cpu().double(), dim=1) for view in (x, y))
    return float((x - y).square().sum(1).mean())


def uniformity(embeddings: Float[Tensor, "B D"]) -> float:
    """log of the mean over pairs of exp(-2 * squared distance), L2-normalised; DataError where B < 2.

    0 where all are equal, -4 where they are uniform on a sphere of many dimensions (Wang & Isola 2020,
    arXiv:2005.10242, section 4.1, t = 2).
    """
    values = finite("embeddings", embeddings).cpu().double()
    if len(values) < 2:
        raise DataError(f"embeddings: got {len(values)} sample, expected at least 2")
    return float(torch.pdist(functional.normalize(values, dim=1)).square().mul(-2).exp().mean().log())


def mean_ratio(x: Float[Tensor, "B D"], y: Float[Tensor, "B D"]) -> float:
    """E|x - y|^2 / E|y - mean of y|^2, of embeddings as they are; NaN where all y are equal.

    The error of predicting one view by the other, in that of predicting the mean of the batch: 0 is perfect, 1 and
    more no better than not looking at x.
    """
    x, y = (finite("embeddings of a view", view).cpu().double() for view in (x, y))
    spread = y - y.mean(dim=0)
    if spread.norm() <= torch.finfo(torch.float32).eps * y.norm():
        return nan
    return float((x - y).square().sum() / spread.square().sum())


def lidar(embeddings: Float[Tensor, "S V D"], shrinkage: float = 1e-4) -> float:
    """LiDAR: the effective rank, over S samples, of what V views of a sample share, seen in units of what they do not.

    Thilak et al. 2024, arXiv:2312.04000, the entropy of the eigenvalues of W^-1/2 B W^-1/2, W the covariance of the
    views around their sample's mean plus `shrinkage` times the identity, B the covariance of these means.
    `shrinkage` is absolute, so the value depends on the scale of the embeddings. 0 where all means are equal.
    DataError where S or V is 1.
    """
    values = finite("embeddings of views", embeddings).cpu().double()
    if min(values.shape[:2]) < 2:
        raise DataError(f"embeddings of views: got shape {tuple(values.shape)}, expected at least 2 samples of 2 views")
    means = values.mean(dim=1)
    between = means - means.mean(dim=0)
    if between.norm() <= torch.finfo(torch.float32).eps * means.norm():
        return 0.0
    within = rearrange(values - rearrange(means, "s d -> s 1 d"), "s v d -> (s v) d")

    # B = between^T between / S, so the eigenvalues are squared singular values of the means whitened by W = L L^T.
    identity = torch.eye(values.shape[2], dtype=values.dtype)
    factor = torch.linalg.cholesky(within.T @ within / len(within) + shrinkage * identity)
    whitened = torch.linalg.solve_triangular(factor, between.T, upper=False)
    return effective_rank(torch.linalg.svdvals(whitened) ** 2)


def verdict(embeddings: Float[Tensor, "B D"]) -> Verdict:
    """How far the embeddings have collapsed, judged against the min(B - 1, D) that random embeddings could reach.

    "complete": the standard deviation is below 0.05, or the effective rank below 2 (below the middle between 1 and
    what can be reached, where that is less). "partial": the effective rank is below a tenth of what can be reached.
    Else "healthy".
    """
    return _verdict(effective_rank(spectrum(embeddings)), standard_deviation(embeddings), embeddings.shape)


def worse(a: Verdict, b: Verdict) -> Verdict:
    """The worse of two verdicts."""
    return SEVERITY[max(SEVERITY.index(a), SEVERITY.index(b))]


def _verdict(rank: float, deviation: float, shape: tuple[int, ...]) -> Verdict:
    reachable = min(shape[0] - 1, shape[1])
    if deviation < COMPLETE_STANDARD_DEVIATION or rank < min(COMPLETE_RANK, (1 + reachable) / 2):
        return "complete"
    return "partial" if rank < PARTIAL_RANK_RATIO * reachable else "healthy"


def panel(embeddings: Float[Tensor, "B D"], views: Float[Tensor, "S V D"] | None = None) -> dict[str, Any]:
    """The `collapse.*` keys of `evaluation.json`; those that compare views only where embeddings of views are given.

    Of the views the first two are compared, all of them by `collapse.lidar`. What is not finite is left out:
    `collapse.alpha_req` of fewer than two eigenvalues, `collapse.mean_ratio` of equal embeddings.
    """
    singular_values, spread = spectrum(embeddings), standard_deviation(embeddings)
    rank = effective_rank(singular_values)
    values: dict[str, Any] = {
        "collapse.verdict": _verdict(rank, spread, embeddings.shape),
        "collapse.effective_rank": rank,
        "collapse.reachable_rank": float(min(len(embeddings) - 1, embeddings.shape[1])),
        "collapse.std": spread,
        "collapse.alpha_req": alpha_req(singular_values),
    }
    if views is not None:
        x, y = views[:, 0], views[:, 1]
        values |= {
            "collapse.lidar": lidar(views),
            "collapse.alignment": alignment(x, y),
            "collapse.uniformity": (uniformity(x) + uniformity(y)) / 2,
            "collapse.mean_ratio": mean_ratio(x, y),
        }
    return {key: value for key, value in values.items() if isinstance(value, str) or isfinite(value)}


def with_compared(values: dict[str, Any], compared: Float[Tensor, "B P"], part: str = "") -> dict[str, Any]:
    """A panel beside `collapse.compared.*`, the same of the vectors that the energy compares (of a part by its name).

    `collapse.verdict` becomes the worse of both: where all compared vectors are one point the energy is flat, whatever
    the encoder still tells apart. Features may lie beside a common offset, compared vectors may not: these are called
    partial below a standard deviation of 0.2.
    """
    prefix = f"{part}.collapse.compared" if part else "collapse.compared"
    own = panel(compared)
    if own["collapse.std"] < PARTIAL_STANDARD_DEVIATION:
        own["collapse.verdict"] = worse(own["collapse.verdict"], "partial")
    kept = {f"{prefix}.{key}": own[f"collapse.{key}"] for key in COMPARED}
    verdict = worse(values["collapse.verdict"], own["collapse.verdict"])
    return {**values, **kept, "collapse.verdict": verdict}
