"""Claims about critics and generators: critics reach the optima that are known, penalties the values worked by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmssl.losses.adversarial import GAMES, Game, along, slope, squared_slope

COUNT = 4096


def quantiles(mean: float) -> Tensor:
    """Equally likely values of N(mean, 1), as samples of one number: a Gaussian without chance."""
    share = (torch.arange(COUNT, dtype=torch.float64) + 0.5) / COUNT
    return mean + torch.special.ndtri(share).reshape(COUNT, 1, 1)


def quadratic(weights: Tensor) -> Callable[[Tensor], Tensor]:
    """a + b y + c y^2."""
    return lambda y: (weights[0] + weights[1] * y + weights[2] * y.square())[:, 0, 0]


def fitted(game: Game, real: Tensor, generated: Tensor, penalty_weight: float, share: Tensor | None = None) -> Tensor:
    """The quadratic critic that lowers its term and the penalty most, from a start that is wrong."""
    weights = torch.tensor([1.0, -0.5, 0.05], dtype=torch.float64, requires_grad=True)
    critic = quadratic(weights)
    share = torch.zeros(len(real), dtype=torch.float64) if share is None else share
    stepper = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        stepper.zero_grad()
        found = game.critic(critic(real), critic(generated)).mean()
        squared = squared_slope(critic, game.point(real, generated, share))
        found = found + penalty_weight * game.penalty(squared).mean()
        found.backward()
        return found

    stepper.step(loss)  # type: ignore[arg-type]
    return weights.detach()


def test_between_two_gaussians_the_logistic_critic_is_the_logarithm_of_their_ratio():
    # log N(y; -1, 1) - log N(y; 1, 1) = -2 y
    weights = fitted(GAMES["non_saturating"], quantiles(-1), quantiles(1), 0.0)
    torch.testing.assert_close(weights, torch.tensor([0.0, -2.0, 0.0], dtype=torch.float64), atol=0.02, rtol=0)


def test_where_both_are_one_the_logistic_critic_says_nothing():
    weights = fitted(GAMES["non_saturating"], quantiles(0.5), quantiles(0.5), 0.0)
    torch.testing.assert_close(weights, torch.zeros(3, dtype=torch.float64), atol=1e-3, rtol=0)


def test_r1_makes_the_critic_less_steep_than_the_ratio():
    weights = fitted(GAMES["non_saturating"], quantiles(-1), quantiles(1), 1.0)
    assert -1.0 < weights[1] < -0.1


@pytest.mark.parametrize("distance", [0.5, 3.0])
def test_between_points_that_lie_apart_the_wasserstein_critic_has_slope_1_and_tells_their_distance(distance):
    # of equal weights: slope s minimises -s d + w (s - 1)^2, so s = 1 + d / 2 w
    real, generated = torch.zeros(64, 1, 1).double(), torch.full((64, 1, 1), distance).double()
    share = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    weights = fitted(GAMES["wasserstein"], real, generated, 100.0, share)
    critic = quadratic(weights)
    told = (critic(real) - critic(generated)).mean()
    assert abs(float(told) - distance) < 0.05 * distance
    middle = weights[1] + weights[2] * distance  # the slope in the middle of the two
    assert abs(float(middle) + 1 + distance / 200) < 1e-3


def test_between_gaussians_that_are_shifted_the_wasserstein_critic_tells_the_shift():
    share = torch.rand(COUNT, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real, generated = quantiles(0.0), quantiles(2.0)
    weights = fitted(GAMES["wasserstein"], real, generated, 100.0, share)
    critic = quadratic(weights)
    assert abs(float((critic(real) - critic(generated)).mean()) - 2) < 0.1
    # the control: without the penalty a steeper critic tells more than there is
    steep = quadratic(3 * weights)
    assert float((steep(real) - steep(generated)).mean()) > 5


def test_penalties_of_a_linear_critic_are_those_worked_by_hand():
    # a slope of (3, 4) has the squared norm 25: R1 25 / 2, the gradient penalty (5 - 1)^2
    weight = torch.tensor([3.0, 4.0])
    squared = squared_slope(lambda y: (y * weight).sum((1, 2)), torch.zeros(2, 1, 2))
    assert squared.tolist() == [25.0, 25.0]
    assert GAMES["non_saturating"].penalty(squared).tolist() == [12.5, 12.5]
    assert GAMES["wasserstein"].penalty(squared).tolist() == [16.0, 16.0]


def test_the_penalties_teach_the_weights_of_the_critic():
    # d/dw |w|^2 / 2 = w; d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    for name, expected in (("non_saturating", [3.0, 4.0]), ("wasserstein", [8 * 0.6, 8 * 0.8])):
        weight = torch.tensor([3.0, 4.0], requires_grad=True)
        squared = squared_slope(lambda y, w=weight: (y * w).sum((1, 2)), torch.zeros(3, 1, 2))
        GAMES[name].penalty(squared).mean().backward()
        torch.testing.assert_close(weight.grad, torch.tensor(expected))


def test_a_critic_that_is_flat_has_a_penalty_with_a_gradient():
    weight = torch.zeros(2, requires_grad=True)
    for game in GAMES.values():
        game.penalty(squared_slope(lambda y: (y * weight).sum((1, 2)), torch.zeros(3, 1, 2))).mean().backward()
    assert weight.grad is not None
    assert torch.isfinite(weight.grad).all()


def test_r1_looks_at_what_is_real_and_the_gradient_penalty_between():
    real, generated, share = torch.ones(2, 1, 1), torch.full((2, 1, 1), 5.0), torch.tensor([0.25, 1.0])
    assert GAMES["non_saturating"].point(real, generated, share).flatten().tolist() == [1.0, 1.0]
    assert GAMES["wasserstein"].point(real, generated, share).flatten().tolist() == [4.0, 1.0]


def test_losses_are_those_of_the_papers_at_known_scores():
    real, generated = torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0])
    expected = -torch.log(torch.sigmoid(real)) - torch.log(1 - torch.sigmoid(generated))
    torch.testing.assert_close(GAMES["non_saturating"].critic(real, generated), expected)
    torch.testing.assert_close(GAMES["non_saturating"].generator(generated), -torch.log(torch.sigmoid(generated)))
    assert GAMES["wasserstein"].critic(real, generated).tolist() == [0.0, -3.0]
    assert GAMES["wasserstein"].generator(generated).tolist() == [0.0, 1.0]


def test_along_has_the_value_and_the_gradient_of_the_critic_and_leaves_its_weights_alone():
    weights = torch.tensor([1.0, -0.5, 0.3], requires_grad=True)
    made = torch.tensor([0.7, -2.0]).reshape(2, 1, 1).requires_grad_()
    shown = made.detach().requires_grad_()
    scores = quadratic(weights)(shown)
    followed = along(scores, shown, made)
    torch.testing.assert_close(followed, scores)
    followed.square().sum().backward()
    assert weights.grad is None
    # d (a + b y + c y^2)^2 = 2 (a + b y + c y^2) (b + 2 c y)
    y = made.detach().flatten()
    expected = 2 * (1 - 0.5 * y + 0.3 * y.square()) * (-0.5 + 0.6 * y)
    assert made.grad is not None
    torch.testing.assert_close(made.grad.flatten(), expected)


def test_slopes_belong_to_the_samples_they_are_of():
    inputs = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1).requires_grad_()
    found = slope(inputs.square().sum((1, 2)), inputs)
    assert found.flatten().tolist() == [2.0, 4.0, 6.0]
    assert not found.requires_grad
