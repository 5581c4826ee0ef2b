"""Normality: embeddings seen from any side are normally distributed, so they cannot lie at one point."""

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views
from mmssl.random import hashed


class SketchedNormality(Criterion):
    """SIGReg of LeJEPA (Balestriero & LeCun 2025, arXiv:2511.08544, algorithm 1): `weight` times the statistic of Epps
    & Pulley of each view's gathered samples along random directions, the mean over directions and views.

    It grows with the number of samples B where they are not normal, and is about 1.05 at any B where they are; all at
    the origin it is 0.41 B. The paper's listing draws 256 directions a step, its experiments and lightly 1024. It
    integrates over [-5, 5]; as the authors' later code we do over [0, 3], doubled, with as many knots.

    Directions are a function of the step alone; while evaluating they are those of step 0, so that held-out losses of
    different steps can be compared.
    """

    turn: Tensor  # the steps made

    def __init__(
        self, weight: float = 1.0, num_directions: int = 256, num_knots: int = 17, highest_frequency: float = 3.0
    ) -> None:
        super().__init__()
        self.weight, self.num_directions = weight, num_directions
        self.num_knots, self.highest_frequency = num_knots, highest_frequency
        self.register_buffer("turn", torch.tensor(0))

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        return {"normality": self.weight * self.statistic(queries.gathered())}

    def settle(self, progress: float) -> None:
        self.turn += 1

    def statistic(self, views: Views) -> Float[Tensor, ""]:
        """The mean over directions and views, without the weight."""
        # it is B times a small square: what bfloat16 rounds would not be small
        with torch.autocast(views.value.device.type, enabled=False):
            along = views.value @ self.directions(views.value)
            return epps_pulley(along, views.present, self.num_knots, self.highest_frequency).mean()

    def directions(self, value: Float[Tensor, "V B D"]) -> Float[Tensor, "D K"]:
        """Random unit vectors, drawn on the CPU so that every device has the same."""
        generator = torch.Generator().manual_seed(hashed("directions", int(self.turn) if self.training else 0))
        drawn = torch.randn(value.shape[-1], self.num_directions, generator=generator)
        return (drawn / drawn.norm(dim=0)).to(value.device)


class PredictionAndNormality(Criterion):
    """LeJEPA's loss (Balestriero & LeCun 2025, arXiv:2511.08544, algorithm 2): views predict the mean of the sample's
    keys, which are its global views, and are normally distributed.

    prediction: 1 - `weight` times the squared distance to that mean, the mean over features, over the views that a
    sample has and over samples; gradient flows into both. normality: `weight` times that of `SketchedNormality`; at
    weight 0 any constant embedding is a minimum. The paper tries weights of 0.01 to 0.1, the authors' example has 0.02.
    """

    def __init__(self, weight: float = 0.02, num_directions: int = 256) -> None:
        super().__init__()
        self.weight = weight
        self.normality = SketchedNormality(num_directions=num_directions)

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        views, answers = queries.gathered(), keys.gathered()
        known = answers.present[..., None]
        centre = torch.where(known, answers.value, 0.0).sum(0) / known.sum(0).clamp(min=1)
        counts = views.present & answers.present.any(0)
        apart = torch.where(counts, (views.value - centre).square().mean(-1), 0.0).sum(0) / counts.sum(0).clamp(min=1)
        return {
            "prediction": (1 - self.weight) * apart.mean(),
            "normality": self.weight * self.normality.statistic(views),
        }

    def settle(self, progress: float) -> None:
        self.normality.settle(progress)


def epps_pulley(
    along: Float[Tensor, "V B K"], present: Bool[Tensor, "V B"], num_knots: int = 17, highest_frequency: float = 3.0
) -> Float[Tensor, "V K"]:
    """B times the integral over t of |phi(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), phi the characteristic function of the B
    samples that are present, by the trapezoidal rule on [0, `highest_frequency`], doubled since it is even.

    Epps & Pulley 1983, "A test for normality based on the empirical characteristic function".
    """
    # the knot at 0 is left out: there every characteristic function is 1
    frequency = torch.linspace(0, highest_frequency, num_knots, device=along.device)[1:]
    normal = (-frequency.square() / 2).exp()
    step = torch.full_like(frequency, 2 * highest_frequency / (num_knots - 1))
    step[-1] /= 2
    angle = along[..., None] * frequency
    weight = present.float()
    count = weight.sum(1)
    share = weight / count.clamp(min=1)[:, None]
    real = einsum(angle.cos(), share, "v b k t, v b -> v k t")
    imaginary = einsum(angle.sin(), share, "v b k t, v b -> v k t")
    squared = (real - normal).square() + imaginary.square()
    return count[:, None] * (squared * normal * step).sum(-1)
