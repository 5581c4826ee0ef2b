"""Claims about latent variables: one that is given up, one that nothing holds, and one that is used are told apart."""

from functools import cache

import pytest
import torch
from tiny import part, tiny_batch, tiny_objective

from mmssl.evaluate.latents import active_units, latent_results, prior_gap, verdict
from mmssl.objectives import Objective
from mmssl.optimizer import optimizer
from mmssl.sections import TrainConfig

STEPS = 40


@cache
def trained(method: str, **options: float) -> Objective:
    """After some steps on one batch."""
    objective, batch = tiny_objective(method, **options), tiny_batch(method)
    stepper = optimizer(objective, TrainConfig(learning_rate=3e-3))
    objective.train()
    for step in range(STEPS):
        torch.stack([*objective(batch).terms.values()]).sum().backward()
        stepper.step()
        stepper.zero_grad()
        objective.after_step((step + 1) / STEPS)
    return objective


def found(method: str, **options: float) -> dict:
    """What is said of it."""
    batch = tiny_batch(method)
    return latent_results(trained(method, **options), iter([part(batch, slice(0, 4)), part(batch, slice(4, 8))]))


def test_a_decoder_that_is_told_nothing_is_a_posterior_collapse():
    results = found("vae", output_deviation=0.3, kl_weight=1000.0)
    assert results["latent.verdict"] == "posterior_collapse"
    assert results["latent.bits"] < 0.1
    assert results["latent.active_units"] == 0
    assert results["latent.units"] == 16


def test_a_vae_whose_z_tells_something_is_healthy():
    results = found("vae", output_deviation=0.3, kl_weight=5.0)
    assert results["latent.verdict"] == "healthy"
    assert results["latent.bits"] > 1
    assert results["latent.active_units"] > 2
    assert results["latent.prior_gap"] < 0.3  # of eight samples, whose draws have 0.15 where q is the prior


def test_without_the_divergence_nothing_holds_z_and_it_is_called_unlimited():
    results = found("vae", output_deviation=0.3, kl_weight=0.0)
    assert results["latent.verdict"] == "unlimited"
    assert results["latent.prior_gap"] > 1
    assert results["latent.bits"] > 2 * found("vae", output_deviation=0.3)["latent.bits"]


def test_codes_have_a_perplexity_and_one_code_tells_nothing():
    results = found("vqvae")
    assert results["latent.verdict"] == "healthy"
    assert 2 < results["latent.perplexity"] <= 16
    one = trained("vqvae")
    kept = one.code.codebook.centres.clone(), one.code.codebook.size.clone()
    one.code.codebook.centres[1:] += 1e3
    one.code.codebook.size[1:] = 0
    results = latent_results(one, iter([tiny_batch("vqvae")]))
    one.code.codebook.centres.copy_(kept[0])
    one.code.codebook.size.copy_(kept[1])
    assert results["latent.perplexity"] == pytest.approx(1)
    assert results["latent.verdict"] == "posterior_collapse"


def test_a_method_without_a_latent_variable_has_no_such_keys():
    assert latent_results(tiny_objective("mae"), iter([tiny_batch("mae")])) == {}
    assert latent_results(tiny_objective("simclr"), iter([tiny_batch("simclr")])) == {}


def test_the_latent_of_a_conditional_vae_is_judged_too():
    results = latent_results(tiny_objective("conditional_vae"), iter([tiny_batch("conditional_vae")]))
    assert {"latent.bits", "latent.active_units", "latent.verdict"} <= results.keys()


def test_a_unit_is_active_where_its_mean_varies_by_more_than_a_hundredth():
    mean = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.2, 5.0]])  # variances 0.005, 0.02, 12.5
    assert active_units(mean) == 2


def test_the_gap_to_the_prior_is_the_divergence_of_two_normals():
    drawn = torch.tensor([[-1.0, -3.0], [1.0, 5.0]])  # N(0, 1) and N(1, 16)
    assert prior_gap(drawn) == pytest.approx((0 + 0.5 * (16 + 1 - 1 - 2.7725887)) / 2)


@pytest.mark.parametrize(
    "bits, active, gap, expected",
    [
        (0.04, 3, 0.0, "posterior_collapse"), (5.0, 0, 0.0, "posterior_collapse"), (5.0, None, None, "healthy"),
        (5.0, 3, 0.4, "healthy"), (5.0, 3, 0.6, "unlimited"),
    ],
)  # fmt: skip
def test_the_verdict_names_what_is_wrong(bits, active, gap, expected):
    assert verdict(bits, active, gap) == expected
