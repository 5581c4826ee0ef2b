"""Whitening: views of one sample agree after all features were made to vary alike and independently."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mmssl.errors import ConfigError
from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, mean_of_pairs, pairs
from mmssl.random import permutation


class WhitenedError(Criterion):
    """W-MSE: 2 - 2 cos of whitened views (Ermolov et al. 2021, arXiv:2007.06346, eq. 3-5), the mean over samples of
    the mean over pairs of views.

    The gathered batch falls at random into slices of at least `sub_batch` samples (the paper: twice the features),
    equal in number but for one, the same for all views; each view of each slice is whitened by itself, as in the
    authors' code, `iterations` times with other slices. A batch smaller than `sub_batch` is one slice. What is not
    `whiten`ed may collapse.

    `epsilon` shrinks a covariance towards its mean variance, so at any scale alike (the authors' code: towards 1).
    While evaluating, a batch may have fewer samples than features: it is one slice, shrunk by at least D / (D + B).

    Raises ConfigError where a slice of training has no more samples than features. A covariance of lower rank for
    another reason (a collapsed encoder, absent samples) makes the loss NaN.
    """

    turn: Tensor  # the steps made: slices are a function of it alone

    def __init__(self, epsilon: float = 0.0, sub_batch: int = 128, iterations: int = 1, *, whiten: bool = True) -> None:
        super().__init__()
        self.epsilon, self.sub_batch, self.iterations, self.whiten = epsilon, sub_batch, iterations, whiten
        self.register_buffer("turn", torch.tensor(0))

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        views = queries.gathered()
        # bfloat16 holds neither a covariance that has an inverse nor a small 2 - 2 cos
        with torch.autocast(views.value.device.type, enabled=False):
            if not self.whiten:
                return {"whitened": normalised_error(views)}
            drawn = [self.whitened(views, number) for number in range(self.iterations if self.training else 1)]
            return {"whitened": torch.stack([normalised_error(one) for one in drawn]).mean()}

    def settle(self, progress: float) -> None:
        self.turn += 1

    def whitened(self, views: Views, iteration: int) -> Views:
        """The views whitened slice by slice, in the order of the slices."""
        _, count, width = views.value.shape
        slices = max(1, count // self.sub_batch) if self.training else 1
        if self.training and count // slices <= width:
            raise ConfigError(
                f"whitening inverts the covariance of {width} features over slices of {count // slices} samples; "
                "expected more samples than features: a larger train.batch_size or sub_batch, or a smaller "
                "method.embedding_width"
            )
        shrinkage = self.epsilon if self.training else max(self.epsilon, width / (width + count))
        rows, filled = self.slices(views.present, slices, iteration)
        present = views.present[:, rows] & filled
        value = whitened_slices(views.value[:, rows], present, shrinkage)
        joined = rearrange(value, "v k s d -> v (k s) d")
        return Views(joined, rearrange(present, "v k s -> v (k s)"), views.number)

    def slices(
        self, present: Bool[Tensor, "V B"], number: int, iteration: int
    ) -> tuple[Int[Tensor, "K S"], Bool[Tensor, "K S"]]:
        """Which samples each slice holds; the last place of some may hold none, and is not filled."""
        count = present.shape[1]
        drawn = permutation(0, int(self.turn), count, f"slices/{iteration}")
        order = torch.from_numpy(drawn).to(present.device)
        # dealt like cards, the complete samples first: no slice is left with those that lack a view
        order = order[present.sum(0)[order].argsort(descending=True, stable=True)]
        places = torch.arange(count + -count % number, device=order.device)
        dealt = rearrange(places, "(s k) -> k s", k=number)
        return order[dealt % count], dealt < count


def whitened_slices(
    value: Float[Tensor, "V K S D"], present: Bool[Tensor, "V K S"], shrinkage: float = 0.0
) -> Float[Tensor, "V K S D"]:
    """Each slice of each view with mean 0 and covariance 1 over the samples that are present; NaN where the covariance
    has no inverse.
    """
    weight = present[..., None].float()
    count = weight.sum(2, keepdim=True)
    centred = (value - (value * weight).sum(2, keepdim=True) / count.clamp(min=1)) * weight
    covariance = centred.mT @ centred / (count - 1).clamp(min=1)
    factor, fault = torch.linalg.cholesky_ex(shrunk(covariance, shrinkage))
    # NaN stops the run before it can reach the weights; an exception would wait for the device
    factor = factor.masked_fill(fault[..., None, None] != 0, torch.nan)
    return torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT


def shrunk(covariance: Float[Tensor, "V K D D"], shrinkage: float) -> Float[Tensor, "V K D D"]:
    """A share of it replaced by that of independent features of the same mean variance."""
    if shrinkage == 0:
        return covariance
    # of a collapsed batch the least variance that float32 holds as a square
    variance = covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-12)
    identity = torch.eye(covariance.shape[-1], device=covariance.device)
    return (1 - shrinkage) * covariance + shrinkage * variance[..., None, None] * identity


def normalised_error(views: Views) -> Float[Tensor, ""]:
    """2 - 2 cos, the mean over samples of the mean over the pairs of views that each has."""
    unit = normalize(views.value, dim=-1)
    apart = 2 - 2 * torch.einsum("v b d, w b d -> v w b", unit, unit)
    num_samples = views.present.any(0).sum().clamp(min=1)
    return mean_of_pairs(apart, pairs(views, views)).sum() / num_samples
