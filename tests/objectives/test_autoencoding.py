"""Claims about decoders that are given z alone: on linear-Gaussian data everything about them is known."""

from typing import Any

import pytest
import torch
from einops import rearrange
from tiny import part, tiny_batch, tiny_objective
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.drop import drop_right
from mmssl.modalities.grids import Grid
from mmssl.models.codes import GaussianCode
from mmssl.models.likelihood import NormalOutput
from mmssl.models.target import Tokenizer
from mmssl.objectives.autoencoding import Variational
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at

NUMBERS, WIDTH, DEVIATION, COUNT = 6, 2, 0.5, 500
SIDE = NUMBERS // 2  # numbers of a patch
# two orthogonal columns, so that the posterior's covariance is diagonal
LOADINGS = torch.tensor([[1.0, 1, 1, 1, 1, 1], [0.5, 0.5, 0.5, -0.5, -0.5, -0.5]]).T
PRECISION = LOADINGS.T @ LOADINGS / DEVIATION**2 + torch.eye(WIDTH)


class Points(Draw):
    """One of 2 Z points, +-sqrt(Z) along each axis: over them any quadratic has the mean that it has over a normal."""

    def normal(self, name: str, *shape: int) -> Tensor:
        point = torch.zeros(len(self.index), *shape)
        point[:, self.seed // 2] = (1 - 2 * (self.seed % 2)) * WIDTH**0.5
        return point


class Same(nn.Module):
    """Both patches side by side are their embedding."""

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        value, place = tokens["image"].value, tokens["image"].place
        both = torch.zeros(len(value), 2, 2, SIDE).scatter(2, position_of(place), value[:, None].expand(-1, 2, -1, -1))
        return {"image": Tokens(rearrange(both, "b n m d -> b n (m d)"), place_of_all(place))}


def position_of(place: Place) -> Tensor:
    """Indices for both copies of what is seen."""
    return place.position[:, None, :, None].expand(-1, 2, -1, SIDE)


def place_of_all(place: Place) -> Place:
    """Both places."""
    position = torch.arange(2).expand(len(place.position), -1)
    return Place(position, torch.zeros_like(position), place.grid)


class Linear(nn.Module):
    """Patches that are linear in z."""

    def __init__(self, loadings: Tensor) -> None:
        super().__init__()
        self.loadings = nn.Parameter(loadings.clone())

    def forward(self, z: dict[str, Tokens], place: Place) -> Tensor:
        whole = rearrange(z["image"].value @ self.loadings.T, "b 1 (n d) -> b n d", n=2)
        return at(Tokens(whole, place_of_all(place)), place)


def samples(count: int = COUNT) -> Batch:
    """Pictures of 1 x 6 numbers: W z + noise."""
    generator = torch.Generator().manual_seed(0)
    z, noise = torch.randn(count, WIDTH, generator=generator), torch.randn(count, NUMBERS, generator=generator)
    draw = Draw(1, torch.zeros(count, dtype=torch.long), torch.arange(count))
    return Batch({"image": [(z @ LOADINGS.T + DEVIATION * noise)[:, None, None]]}, draw)


def model(loadings: Tensor, *, deviation: float = DEVIATION, steps: int = 0) -> Variational:
    """A VAE with a linear encoder and a linear decoder."""
    code = GaussianCode(NUMBERS, WIDTH, spatial=False, weight=1.0, steps=steps)
    return Variational(
        cut=Grid("image", (1, NUMBERS), 1).cut((1, SIDE)), encoder=Same(), code=code, decoder=Linear(loadings),
        output=NormalOutput(deviation), corrupt=drop_right(0.5),
    )  # fmt: skip


def exact() -> Variational:
    """With the weights of the data, and the posterior that belongs to them (Tipping & Bishop 1999, eq. 25)."""
    made, covariance = model(LOADINGS), PRECISION.inverse()
    with torch.no_grad():
        made.code.answer.weight[:WIDTH] = covariance @ LOADINGS.T / DEVIATION**2
        made.code.answer.weight[WIDTH:] = 0
        made.code.answer.bias[WIDTH:] = covariance.diagonal().log()
    return made


@torch.no_grad()
def bound(made: Variational, batch: Batch) -> Tensor:
    """With the expectation over z taken exactly: the error is quadratic in it."""
    return torch.stack([made.bound(batch._replace(draw=Points(k, *batch.draw[1:]))) for k in range(2 * WIDTH)]).mean(0)


def log_likelihood(batch: Batch, loadings: Tensor, variance: float) -> Tensor:
    """log N(x; 0, W W^T + variance I) of each sample."""
    covariance = loadings.double() @ loadings.double().T + variance * torch.eye(NUMBERS, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(torch.zeros(NUMBERS, dtype=torch.float64), covariance)
    return normal.log_prob(batch.views["image"][0].flatten(1).double())


def likeliest(batch: Batch, deviation: float) -> Tensor:
    """The mean log-likelihood of the best weights there are, and of the best deviation where it is 0 (Tipping & Bishop
    1999, eq. 15-16, without a mean).
    """
    x = batch.views["image"][0].flatten(1).double()
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    variance = deviation**2 or float(values[:-WIDTH].mean())
    loadings = vectors[:, -WIDTH:] * (values[-WIDTH:] - variance).sqrt()
    return log_likelihood(batch, loadings, variance).mean()


def test_the_bound_is_the_log_likelihood_where_the_posterior_is_exact():
    batch = samples()
    expected = log_likelihood(batch, LOADINGS, DEVIATION**2)
    torch.testing.assert_close(bound(exact(), batch).double(), expected, rtol=1e-5, atol=1e-5)


def test_a_posterior_beside_the_exact_one_is_below_by_the_divergence():
    batch, made = samples(), exact()
    with torch.no_grad():
        made.code.answer.bias[0] += 0.1
        made.code.answer.bias[-1] += 0.5
    precision = PRECISION.diagonal().double()
    missed = 0.5 * (0.1**2 * precision[0] + torch.tensor(0.5).double().exp() - 1 - 0.5)
    expected = log_likelihood(batch, LOADINGS, DEVIATION**2) - missed
    torch.testing.assert_close(bound(made, batch).double(), expected, rtol=1e-5, atol=1e-5)


def test_the_loss_is_the_negative_bound_in_units_of_the_squared_error():
    batch, made = samples(), exact()
    terms = made(batch).terms
    price = 2 * DEVIATION**2 / NUMBERS
    constant = 0.5 * NUMBERS * torch.tensor(2 * torch.pi * DEVIATION**2).log()
    expected = price * (-made.bound(batch).mean() - constant)
    torch.testing.assert_close(terms["image"] + terms["image.z"], expected)
    torch.testing.assert_close(made(batch).energy.mean(), expected)


@pytest.mark.parametrize("deviation", [DEVIATION, 0.0])
def test_training_from_random_weights_reaches_the_best_likelihood(deviation):
    batch = samples(200)
    torch.manual_seed(0)
    made = model(0.1 * torch.randn(NUMBERS, WIDTH), deviation=deviation)
    best, before = likeliest(batch, deviation), bound(made, batch).mean()
    stepper = torch.optim.Adam(made.parameters(), lr=0.05, betas=(0.9, 0.99))
    for step in range(400):
        epoch = torch.full_like(batch.draw.index, step)
        loss = torch.stack([*made(batch._replace(draw=Draw(1, epoch, batch.draw.index))).terms.values()]).sum()
        loss.backward()
        stepper.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
        stepper.step()
        stepper.zero_grad()
        made.after_step(step / 400)
    assert best + 0.01 * best < bound(made, batch).mean() < best
    assert before < best + 0.2 * best  # the control
    assert abs(float(made.output.deviation()) - DEVIATION) < (0.05 if deviation == 0 else 1e-6)


def conditional() -> tuple[Tensor, Tensor]:
    """(W_h E[z | seen] as a matrix, the covariance of W_h z given what is seen)."""
    seen, hidden = LOADINGS[:SIDE], LOADINGS[SIDE:]
    covariance = (seen.T @ seen / DEVIATION**2 + torch.eye(WIDTH)).inverse()
    return hidden @ covariance @ seen.T / DEVIATION**2, hidden @ covariance @ hidden.T


def test_a_prediction_is_the_mean_of_what_is_hidden_given_what_is_seen():
    made, batch = model(LOADINGS, steps=200), part(samples(), slice(0, 20))
    _, seen, hidden = made.corrupted(batch)
    with torch.no_grad():  # as its callers do
        found = made.predict(seen, hidden)["image"][:, 0]
    matrix, _ = conditional()
    torch.testing.assert_close(found, seen["image"].value[:, 0] @ matrix.T, atol=0.01, rtol=0)
    assert not any(weight.grad is not None for weight in made.parameters())


@torch.no_grad()
def test_predictions_with_noise_are_draws_from_the_posterior():
    made, count = model(LOADINGS, steps=100), 3000
    one = part(samples(), slice(0, 1)).views["image"][0].expand(count, -1, -1, -1)
    draw = Draw(7, torch.zeros(count, dtype=torch.long), torch.arange(count))
    _, seen, hidden = made.corrupted(Batch({"image": [one]}, draw))
    found = made.predict(seen, hidden, lambda width: draw.normal("k", width))["image"][:, 0]
    matrix, covariance = conditional()
    torch.testing.assert_close(found.mean(0), matrix @ seen["image"].value[0, 0], atol=0.06, rtol=0)
    torch.testing.assert_close(found.T.cov(), covariance, atol=0.06, rtol=0)
    assert covariance.diagonal().min() > 0.2  # the control: without noise there is no spread


@torch.no_grad()
def test_energies_are_of_x_and_y_together_and_change_with_nothing_but_them():
    objective, batch = tiny_objective("vae").eval(), tiny_batch("vae")
    tokens, seen, hidden = objective.corrupted(batch)
    energies = objective.energies_of(seen, hidden, tokens)
    # of one pair by hand
    whole = tokens["image"].value[3].clone()
    whole[seen["image"].place.position[2]] = seen["image"].value[2]
    place = Place(torch.arange(16)[None], torch.zeros(1, 16, dtype=torch.long), (4, 4))
    coded = objective.coded(Tokens(whole[None], place))
    picture = objective.decode(coded.z, place)[0]
    mine = hidden["image"].position[2]
    error = (picture[mine] - tokens["image"].value[3, mine]).square().mean()
    torch.testing.assert_close(energies[2, 3], error + objective.cost(coded)[0])
    rest = objective.energies_of(
        *[{"image": value["image"]} for value in objective.corrupted(part(batch, [2]))[1:]], tokens
    )
    torch.testing.assert_close(rest[0], energies[2])


@pytest.mark.parametrize("options", [{}, {"free_nats": 5.0}, {"kl_weight": 0.5}, {"kl_weight": 0.0}])
def test_free_nats_cost_nothing_and_the_weight_scales_the_rest(options: dict[str, Any]):
    objective, batch = tiny_objective("vae", output_deviation=0.5, **options).eval(), tiny_batch("vae")
    coded = objective.coded(objective.tokens(batch))
    nats = (coded.nats - options.get("free_nats", 0.0)).clamp(min=0)
    expected = options.get("kl_weight", 1.0) * nats * 2 * 0.25 / (16 * 16 * 3)
    torch.testing.assert_close(objective.cost(coded), expected)
    torch.testing.assert_close(objective.bits({}, {}, {"image": objective.tokens(batch)}), coded.nats / 0.6931472)


@torch.no_grad()
def test_a_spatial_vae_offers_a_grid_of_latents_and_patches_of_them():
    objective, batch = tiny_objective("vae", spatial=True, latent_width=5).eval(), tiny_batch("vae")
    tokens = objective.tokens(batch)
    latents = objective.latents(tokens)
    assert latents.shape == (8, 16, objective.latent_width) == (8, 16, 5)
    picture = objective.decoded(latents, tokens.place)
    torch.testing.assert_close(picture, objective.decode(objective.coded(tokens).z, tokens.place))


@torch.no_grad()
def test_samples_of_a_vae_differ_and_without_noise_they_are_the_same():
    objective, batch = tiny_objective("vae", inference_steps=3).eval(), tiny_batch("vae")
    _, seen, hidden = objective.corrupted(batch)
    first, again, other = (
        objective.predict(seen, hidden, lambda width, k=k: batch.draw.normal(f"sample/{k}", width))["image"]
        for k in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(objective.predict(seen, hidden)["image"], objective.predict(seen, hidden)["image"])


@torch.no_grad()
def test_a_vqvae_is_a_tokenizer_whose_codes_give_its_reconstruction():
    objective, batch = tiny_objective("vqvae").eval(), tiny_batch("vqvae")
    assert isinstance(objective, Tokenizer)
    assert objective.num_codes == 16
    tokens, seen, hidden = objective.corrupted(batch)
    codes = objective.codes(tokens["image"])
    assert codes.shape == (8, 16)
    expected = objective.predict(seen, hidden)["image"]
    torch.testing.assert_close(objective.patches(codes, tokens["image"].place), expected)
    # everything is seen and asked for: y is compared with what x's codes stand for
    energies = objective.energies(batch)
    error = (expected[2] - tokens["image"].value[5]).square().mean()
    commitment = objective.cost(objective.coded(tokens["image"]))[2]
    torch.testing.assert_close(energies[2, 5], error + commitment)
