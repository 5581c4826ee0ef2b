"""Claims about limits of z: what it tells is what densities say, each limit holds, and inference never does worse."""

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mmssl.models.discrete import DiscreteLatent
from mmssl.models.latent import GaussianLatent, Inferred, Latent, descended
from mmssl.models.limits import Mixture, NarrowLatent, SparseLatent, chosen
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

SHAPE = {"layers": 1, "width": 16, "heads": 2, "latent_width": 3}
READS = {"image": 8}, 5
MADE = {
    "noise": lambda: GaussianLatent(*READS, weight=0.5, **SHAPE),
    "dimension": lambda: NarrowLatent(*READS, deviation=0.1, **SHAPE),
    "sparsity": lambda: SparseLatent(*READS, weight=0.02, deviation=0.1, **SHAPE),
    "codes": lambda: DiscreteLatent(*READS, num_codes=4, **SHAPE),
}
COUNT = 6


def made(limit: str) -> Latent:
    """A tiny latent whose answers are large enough that differences show."""
    torch.manual_seed(0)
    latent = MADE[limit]()
    with torch.no_grad():
        for name, weight in latent.named_parameters():
            if name.endswith("answer.weight"):
                weight.mul_(30)
    return latent


def inputs() -> tuple[dict[str, Tokens], torch.Tensor, Place]:
    """What is seen, the answer and its places."""
    generator = torch.Generator().manual_seed(0)
    seen, hidden = torch.tensor([[0, 1, 3]] * COUNT), torch.tensor([[2, 4]] * COUNT)
    sx = {"image": Tokens(torch.randn(COUNT, 3, 8, generator=generator), Place(seen, torch.zeros_like(seen), (5,)))}
    return sx, torch.randn(COUNT, 2, 5, generator=generator), Place(hidden, torch.zeros_like(hidden), (5,))


def noise(width: int, count: int = COUNT) -> torch.Tensor:
    """Standard normal numbers."""
    return Draw(0, torch.zeros(count, dtype=torch.long), torch.arange(count)).normal("z", width)


def mixture(count: int = 1) -> Mixture:
    """Two components of weights 0.3 and 0.7 in two dimensions."""
    logits = torch.tensor([[0.3, 0.7]]).log()
    mean = torch.tensor([[[-4.0, 0.0], [4.0, 1.0]]])
    log_variance = torch.tensor([[[0.0, -2.0], [1.0, 0.0]]])
    return Mixture(*(part.expand(count, *part.shape[1:]) for part in (logits, mean, log_variance)))


def test_the_density_of_a_mixture_is_that_of_pytorch():
    one, z = mixture(5), torch.randn(5, 2, generator=torch.Generator().manual_seed(1)) * 3
    parts = Independent(Normal(one.mean, (one.log_variance / 2).exp()), 1)
    expected = MixtureSameFamily(Categorical(logits=one.logits), parts).log_prob(z)
    torch.testing.assert_close(one.log_probability(z), expected)


def test_draws_of_a_mixture_have_its_weights_means_and_deviations():
    count = 20_000
    z = mixture(count).at(noise(3, count))
    is_first = z[:, 0] < 0
    assert is_first.float().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / count) ** 0.5)
    second = z[~is_first]
    torch.testing.assert_close(second.mean(0), torch.tensor([4.0, 1.0]), atol=0.06, rtol=0)
    torch.testing.assert_close(second.std(0), torch.tensor([1.6487, 1.0]), atol=0.06, rtol=0)
    assert torch.equal(mixture().likeliest(), torch.tensor([[4.0, 1.0]]))


def test_a_number_in_0_to_1_falls_on_the_code_that_its_share_says():
    logits = torch.tensor([[0.1, 0.2, 0.7]]).log().expand(5, 3)
    point = torch.tensor([[0.0], [0.0999], [0.1001], [0.31], [1.0]])
    assert chosen(logits, point).tolist() == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("limit", ["dimension", "sparsity"])
@torch.no_grad()
def test_what_a_noisy_z_tells_is_the_density_of_its_channel_over_that_of_the_prior(limit):
    latent = made(limit)
    sx, answer, place = inputs()
    drawn = noise(3)
    point, found = latent(sx, answer, place).z, latent(sx, answer, place, drawn)
    torch.testing.assert_close(found.z, point + 0.1 * drawn)
    channel = Normal(point, 0.1).log_prob(found.z).sum(-1)
    torch.testing.assert_close(found.nats, channel - latent.prior(sx).log_probability(found.z), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_narrow_z_is_a_point_in_a_cube():
    latent = made("dimension")
    latent.posterior.answer.weight.mul_(100)
    z = latent(*inputs()).z
    assert z.abs().max() <= 1
    assert z.abs().max() > 0.99
    assert not latent(*inputs()).cost.any()


@torch.no_grad()
def test_a_sparse_z_costs_its_absolute_sum_in_deviations_of_the_noise():
    found = made("sparsity")(*inputs())
    torch.testing.assert_close(found.cost, 0.02 * found.z.abs().sum(-1) / 0.1)
    assert (found.cost > 0).all()


@torch.no_grad()
def test_a_code_is_the_nearest_one_and_tells_what_the_prior_did_not_expect():
    latent = made("codes").eval()
    sx, answer, place = inputs()
    value = latent.posterior({**sx, "answer": Tokens(answer, place)})
    nearest = torch.cdist(value, latent.codebook.centres).argmin(1)  # by brute force
    found = latent(sx, answer, place)
    torch.testing.assert_close(found.z, latent.codebook.centres[nearest])
    expected = -latent.prior(sx).log_softmax(-1)[torch.arange(COUNT), nearest]
    torch.testing.assert_close(found.nats, expected)


def test_the_prior_gives_no_gradient_to_what_is_seen_and_z_does():
    for limit in ("dimension", "sparsity", "codes"):
        latent = made(limit)
        sx, answer, place = inputs()
        sx["image"].value.requires_grad_()
        found = latent(sx, answer, place, noise(latent.noise_width) if latent.noise_width else None)
        (none,) = torch.autograd.grad(
            found.terms["prior"].sum(), sx["image"].value, retain_graph=True, allow_unused=True
        )
        assert none is None or not none.any()
        (some,) = torch.autograd.grad(found.z.square().sum(), sx["image"].value)
        assert some.abs().sum() > 0


@pytest.mark.parametrize("limit", MADE)
@torch.no_grad()
def test_a_draw_needs_what_is_seen_alone_and_its_noise_chooses_it(limit):
    latent = made(limit).eval()
    sx, _, _ = inputs()
    first, second = (latent.drawn(sx, noise(latent.prior_width) + shift) for shift in (0.0, 2.0))
    assert first.shape == latent.drawn(sx).shape == (COUNT, 3)
    assert not torch.allclose(first, second)
    assert torch.equal(first, latent.drawn(sx, noise(latent.prior_width)))


def bowl(latent: Latent) -> tuple[Inferred, torch.Tensor]:
    """Where inference begins, and the point of no energy."""
    sx, answer, place = inputs()
    return latent(sx, answer, place), torch.tensor([0.3, -0.2, 0.4])


@pytest.mark.parametrize("limit", MADE)
@torch.no_grad()
def test_inference_comes_below_the_amortised_energy_and_no_steps_are_that_energy(limit):
    latent = made(limit).eval()
    sx, _, _ = inputs()
    found, target = bowl(latent)
    amortised = (found.z - target).square().sum(-1) + found.cost
    none, some = (latent.minimum(lambda z: (z - target).square().sum(-1), sx, found, steps) for steps in (0, 60))
    torch.testing.assert_close(none, amortised)
    assert (some <= none + 1e-6).all()
    assert float((none - some).max()) > 0.05


@torch.no_grad()
def test_the_free_energy_over_codes_is_the_lowest_of_all():
    latent = made("codes").eval()
    sx, _, _ = inputs()
    found, target = bowl(latent)
    expected = torch.stack([(centre - target).square().sum() for centre in latent.codebook.centres]).min()
    lowest = latent.minimum(lambda z: (z - target).square().sum(-1), sx, found, 1)
    torch.testing.assert_close(lowest, expected.expand(COUNT))


def test_descent_reaches_the_minimum_of_a_bowl_and_stays_within_its_bound():
    target, start = torch.tensor([0.5, 3.0]), torch.zeros(4, 2)
    free = descended(lambda z: (z - target).square().sum(-1), start, 300)
    assert float(free.max()) < 1e-3
    bounded = descended(lambda z: (z - target).square().sum(-1), start, 300, bound=1.0)
    torch.testing.assert_close(bounded, torch.full((4,), 4.0), atol=1e-3, rtol=0)  # (3 - 1)^2


def alike(count: int) -> dict[str, Tokens]:
    """The first of the inputs, many times."""
    tokens = inputs()[0]["image"]
    place = Place(*(part[:1].expand(count, 3) for part in tokens.place[:2]), tokens.place.grid)
    return {"image": Tokens(tokens.value[:1].expand(count, 3, 8), place)}


def test_a_prior_that_is_trained_on_two_kinds_of_z_draws_both_in_their_shares():
    torch.manual_seed(0)
    prior = NarrowLatent(*READS, deviation=0.1, **SHAPE).prior
    z = torch.tensor([[-0.8, 0.0, 0.0]] * 2 + [[0.8, 0.0, 0.0]] * 4)  # one question, two kinds of answers
    stepper = torch.optim.Adam(prior.parameters(), lr=1e-2)
    for _ in range(200):
        stepper.zero_grad()
        (-prior(alike(COUNT)).log_probability(z).mean()).backward()
        stepper.step()
    count = 3000
    with torch.no_grad():
        drawn = prior(alike(count)).at(noise(4, count))[:, 0]
    assert (drawn < 0).float().mean().item() == pytest.approx(1 / 3, abs=0.05)
    near = torch.minimum((drawn + 0.8).abs(), (drawn - 0.8).abs())
    assert float((near < 0.5).float().mean()) > 0.98
