"""What a critic and a generator each lower, and what keeps the critic smooth; all of one sample at a time.

A critic's score is high where it holds a sample to be real; the energy is minus the score.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

Loss = Literal["non_saturating", "wasserstein"]
SMALLEST = 1e-12  # of a squared norm whose root is differentiated


class Game(NamedTuple):
    """The losses of the two, and the penalty on the critic's slope."""

    critic: Callable[[Tensor, Tensor], Tensor]  # scores of real and of generated samples (B,) -> (B,)
    generator: Callable[[Tensor], Tensor]  # scores of generated samples (B,) -> (B,)
    point: Callable[[Tensor, Tensor, Tensor], Tensor]  # real, generated (B, M, D), shares (B,) -> where, (B, M, D)
    penalty: Callable[[Tensor], Tensor]  # squared norms of the slope (B,) -> (B,)


def logistic(real: Float[Tensor, " B"], generated: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """-log D(real) - log(1 - D(generated)) where D = sigmoid(score); least where the score is log p_real /
    p_generated (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1 and proposition 1).
    """
    return softplus(-real) + softplus(generated)


def non_saturating(generated: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """-log D(generated): unlike log(1 - D) it has a slope where the critic is sure (the same, section 3)."""
    return softplus(-generated)


def at_real(real: Tensor, generated: Tensor, share: Tensor) -> Tensor:
    """Where R1 looks (Mescheder et al. 2018, arXiv:1801.04406, eq. 9)."""
    return real


def towards_zero(squared: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """norm^2 / 2: R1 with a weight of 1 (the same)."""
    return squared / 2


def difference(real: Float[Tensor, " B"], generated: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """generated - real: minus the Wasserstein distance of the two, at the best critic of slope 1 at most (Arjovsky et
    al. 2017, arXiv:1701.07875, eq. 2).
    """
    return generated - real


def negative(generated: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Minus the score."""
    return -generated


def between(real: Float[Tensor, "B M D"], generated: Float[Tensor, "B M D"], share: Float[Tensor, " B"]) -> Tensor:
    """The point at `share` of the way from the generated to the real sample (Gulrajani et al. 2017, arXiv:1704.00028,
    algorithm 1, line 6).
    """
    return torch.lerp(generated, real, rearrange(share, "b -> b 1 1"))


def towards_one(squared: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """(norm - 1)^2 (the same, eq. 3)."""
    return (squared.clamp(min=SMALLEST).sqrt() - 1).square()


GAMES: dict[Loss, Game] = {
    "non_saturating": Game(logistic, non_saturating, at_real, towards_zero),
    "wasserstein": Game(difference, negative, between, towards_one),
}


def slope(
    scores: Float[Tensor, " B"], inputs: Float[Tensor, "B M D"], *, differentiable: bool = False
) -> Float[Tensor, "B M D"]:
    """d score / d input of each sample; no score may depend on another sample's input, so one sum serves all.

    The graph of the scores stays; if `differentiable`, the slope has one of its own.
    """
    (found,) = torch.autograd.grad(scores.sum(), inputs, retain_graph=True, create_graph=differentiable)
    return found


def squared_slope(score: Callable[[Tensor], Tensor], point: Float[Tensor, "B M D"]) -> Float[Tensor, " B"]:
    """The squared norm of the score's slope at a point, for the weights of the score to learn from."""
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        return slope(score(point), point, differentiable=True).square().sum((1, 2))


def along(
    scores: Float[Tensor, " B"], shown: Float[Tensor, "B M D"], made: Float[Tensor, "B M D"]
) -> Float[Tensor, " B"]:
    """The scores as a function of what was made, and of nothing else: the critic as a plane at what it was shown.

    `shown` is `made` detached, so values and first derivatives are those of the critic itself; its weights get no
    gradient, and its forward serves both players.
    """
    return scores.detach() + ((made - shown.detach()) * slope(scores, shown)).sum((1, 2))
