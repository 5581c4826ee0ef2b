"""Claims about the latent variable: its cost is the KL divergence, and its prior never sees the answer."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mmssl.models.latent import LOG_VARIANCES, Gaussian, GaussianLatent, divergence
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

GENERATOR = torch.Generator().manual_seed(0)


def gaussian(count: int = 6, width: int = 4) -> Gaussian:
    """Means and log variances of some size."""
    return Gaussian(*(2 * torch.randn(2, count, width, generator=GENERATOR)))


def normal(one: Gaussian) -> Normal:
    """The same distribution of PyTorch."""
    return Normal(one.mean.double(), (one.log_variance.double() / 2).exp())


def test_the_divergence_is_that_of_pytorch():
    q, p = gaussian(), gaussian()
    expected = kl_divergence(normal(q), normal(p)).sum(-1).float()
    torch.testing.assert_close(divergence(q, p), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(divergence(p, q), expected, rtol=0.1)  # the control: it is not symmetric


def test_the_divergence_worked_by_hand():
    q, p = (Gaussian(torch.tensor([[mean]]), torch.tensor([[0.0]])) for mean in (3.0, 1.0))
    assert divergence(q, p).item() == 2  # (3 - 1)^2 / 2
    assert divergence(q, q).item() == 0
    wide = Gaussian(torch.zeros(1, 1), torch.full((1, 1), 2.0))
    assert divergence(wide, p._replace(mean=torch.zeros(1, 1))).item() == pytest.approx((7.389056 - 2 - 1) / 2)


def test_the_point_at_a_noise_has_the_distribution():
    one = Gaussian(torch.tensor([[3.0]]), torch.tensor([[1.386294]]))  # variance 4
    assert one.at(torch.zeros(1, 1)).item() == 3
    assert one.at(torch.ones(1, 1)).item() == pytest.approx(5)
    count = 20_000
    noise = Draw(0, torch.zeros(count, dtype=torch.long), torch.arange(count)).normal("z", 1)
    found = Gaussian(*(part.expand(count, 1) for part in one)).at(noise)
    assert found.mean().item() == pytest.approx(3, abs=0.06)
    assert found.std().item() == pytest.approx(2, abs=0.05)


SEEN, HIDDEN = torch.tensor([[0, 1, 3]] * 2), torch.tensor([[2, 4]] * 2)
LATENT_WIDTH = 4


def made() -> GaussianLatent:
    """A tiny one with larger answers, so that differences show."""
    torch.manual_seed(0)
    latent = GaussianLatent({"video": 8}, 5, layers=1, width=16, heads=2, latent_width=LATENT_WIDTH, weight=0.5)
    with torch.no_grad():
        for reader in (latent.prior, latent.posterior):
            reader.question.answer.weight.mul_(20)
    return latent


def inputs(seed: int = 0) -> tuple[dict[str, Tokens], torch.Tensor, Place]:
    """What is seen, the answer and its places."""
    generator = torch.Generator().manual_seed(seed)
    sx = {"video": Tokens(torch.randn(2, 3, 8, generator=generator), Place(SEEN, torch.zeros_like(SEEN), (5,)))}
    return sx, torch.randn(2, 2, 5, generator=generator), Place(HIDDEN, torch.zeros_like(HIDDEN), (5,))


def test_the_posterior_reads_the_answer_and_the_prior_does_not():
    latent = made()
    sx, answer, place = inputs()
    answer.requires_grad_()
    prior = latent.prior(sx)
    assert prior.mean.shape == prior.log_variance.shape == (2, LATENT_WIDTH)
    assert torch.autograd.grad(prior.mean.sum(), answer, allow_unused=True) == (None,)
    z, cost, nats, _ = latent(sx, answer, place)
    assert torch.autograd.grad(z.square().sum(), answer, retain_graph=True)[0].abs().sum() > 0
    assert "answer" in latent.posterior.question.project
    assert "answer" not in latent.prior.question.project
    q = latent.posterior({**sx, "answer": Tokens(answer, place)})
    torch.testing.assert_close(nats, divergence(q, prior))
    torch.testing.assert_close(cost, 0.5 * nats)
    assert (cost > 1e-4).all()


@torch.no_grad()
def test_the_posterior_knows_where_the_answer_lies_and_only_its_own():
    latent = made()
    sx, answer, place = inputs()
    before = latent(sx, answer, place).z
    moved = latent(sx, answer, place._replace(position=place.position.flip(1))).z
    assert not torch.allclose(before, moved, atol=1e-4)
    other = answer.clone()
    other[1] += 5
    after = latent(sx, other, place).z
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, False]


@torch.no_grad()
def test_variances_stay_within_what_half_precision_holds():
    latent = made()
    latent.prior.question.answer.bias.fill_(1e4)
    assert latent.prior(inputs()[0]).log_variance.max().item() == LOG_VARIANCES[1]
    latent.prior.question.answer.bias.fill_(-1e4)
    assert latent.prior(inputs()[0]).log_variance.min().item() == LOG_VARIANCES[0]


def test_the_cost_gives_gradient_to_both():
    latent = made()
    latent(*inputs()).cost.sum().backward()
    for reader in (latent.prior, latent.posterior):
        silent = [name for name, weight in reader.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert [name for name in silent if "k_proj.bias" not in name] == []
