"""Claims about the game: each term teaches one player, energies are those of loops, completions differ by their z."""

from contextlib import nullcontext

import pytest
import torch
from tiny import part, tiny_batch, tiny_objective
from torch.nn.functional import softplus

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.models.recompute import recompute
from mmssl.models.transformer import TransformerEncoder
from mmssl.objectives.adversarial import Adversarial
from mmssl.random import Draw
from mmssl.tokens import at

COUNT = 4
LOSSES = ("non_saturating", "wasserstein")


def made(**options) -> Adversarial:
    """A tiny objective."""
    found = tiny_objective("gan", **options)
    assert isinstance(found, Adversarial)
    return found


def taught_by(objective: Adversarial, term: str) -> set[str]:
    """The players whose weights a term gives a gradient."""
    objective.zero_grad(set_to_none=True)
    objective(tiny_batch("gan", COUNT)).terms[term].backward()
    return {name.split(".")[0] for name, weight in objective.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("loss", LOSSES)
def test_each_term_teaches_one_player(loss):
    objective = made(loss=loss)
    assert taught_by(objective, "critic") == {"encoder", "head"}
    assert taught_by(objective, "generator") == {"generator"}
    assert taught_by(objective, "penalty") == {"encoder", "head"}


def test_the_generator_descends_what_the_critic_says_of_its_pictures():
    """Against a naive graph through critic and generator, whose gradient on the critic is thrown away."""
    objective, batch = made(), tiny_batch("gan", COUNT)
    objective(batch).terms["generator"].backward()
    found = {name: weight.grad for name, weight in objective.generator.named_parameters()}
    objective.zero_grad(set_to_none=True)
    _, seen, hidden = objective.corrupted(batch)
    generated = objective.generator(seen, hidden["image"], batch.draw.normal("z", objective.latent_width))
    softplus(-objective.critic(seen["image"], hidden["image"], generated)).mean().backward()
    for name, weight in objective.generator.named_parameters():
        torch.testing.assert_close(found[name], weight.grad)


@torch.no_grad()
def test_energies_are_minus_the_critics_score_of_the_whole_picture_with_the_answer_pasted_in():
    objective, batch = made(), tiny_batch("gan", COUNT)
    tokens, seen, hidden = objective.corrupted(batch)
    place, whole, vision = hidden["image"], tokens["image"], objective.encoder
    assert isinstance(vision, TransformerEncoder)
    found = objective.energies_of(seen, hidden, tokens)
    for row in range(COUNT):
        for column in range(COUNT):
            patches = whole.value[row].clone()
            patches[place.position[row]] = whole.value[column, place.position[row]]
            pasted = vision.cut("image").paste(patches[None])
            sx = vision({"image": objective.tokenize([pasted])})["image"].value
            torch.testing.assert_close(found[row, column], -objective.head(sx.mean(1))[0, 0])


@torch.no_grad()
def test_answers_may_be_of_another_batch():
    objective, batch = made(), tiny_batch("gan", COUNT)
    whole = objective.energies(batch)
    torch.testing.assert_close(objective.energies(batch, part(batch, slice(1, 3))), whole[:, 1:3])


@torch.no_grad()
def test_completions_differ_by_their_noise_and_without_it_there_is_one():
    objective, batch = made(), tiny_batch("gan", COUNT)
    tokens, seen, hidden = objective.corrupted(batch)
    answers = [
        objective.predict(seen, hidden, lambda width, k=k: batch.draw.normal(f"sample/{k}", width))["image"]
        for k in (0, 0, 1)
    ]
    assert torch.equal(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2], atol=1e-3)
    alone = objective.predict(seen, hidden)["image"]
    assert torch.equal(alone, objective.predict(seen, hidden, lambda width: torch.zeros(COUNT, width))["image"])
    assert alone.shape == at(tokens["image"], hidden["image"]).shape
    assert objective.has_latent
    shown = objective.patches_of(alone, at(tokens["image"], hidden["image"]), hidden["image"])
    assert shown is not None
    assert torch.equal(shown, alone)
    assert objective.bits(seen, hidden, tokens) is None


def test_the_generator_never_sees_what_is_hidden():
    objective, batch = made(mask="right"), tiny_batch("gan", COUNT)
    other = batch.views["image"][0].clone()
    other[..., 8:] = 7.0  # the right half
    changed = batch._replace(views={"image": [other]})
    answers = [objective.predict(*objective.corrupted(one)[1:])["image"] for one in (batch, changed)]
    assert torch.equal(*answers)


def test_a_step_is_the_mean_over_its_samples():
    """So that it does not matter which process sees which."""
    objective, batch = made(loss="wasserstein"), tiny_batch("gan", COUNT)
    whole = objective(batch).terms
    halves = [objective(part(batch, rows)).terms for rows in (slice(0, 2), slice(2, 4))]
    for name, term in whole.items():
        torch.testing.assert_close(term, (halves[0][name] + halves[1][name]) / 2)


def large_batch() -> Batch:
    """Pictures of 68 x 68: 289 patches, for which the fused kernel is faster than the plain attention."""
    pixels = torch.randn(2, 3, 68, 68, generator=torch.Generator().manual_seed(0))
    return Batch({"image": [pixels]}, Draw(5, torch.zeros(2, dtype=torch.long), torch.arange(2)))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("is_recomputed", [False, True])
def test_the_penalty_has_a_gradient_whatever_kernel_attention_would_run(loss, is_recomputed):
    objective = made(loss=loss)
    if is_recomputed:
        recompute(objective)
    objective(large_batch()).terms["penalty"].backward()
    first = objective.get_parameter("encoder.embed.image.weight").grad
    assert first is not None
    assert float(first.abs().sum()) > 0


def test_without_the_switch_the_fused_kernel_has_no_second_derivative(monkeypatch):
    monkeypatch.setattr("mmssl.objectives.adversarial.twice_differentiable", nullcontext)
    with pytest.raises(RuntimeError, match="derivative"):
        made()(large_batch()).terms["penalty"].backward()


@pytest.mark.parametrize("loss", LOSSES)
def test_recomputed_layers_have_the_same_gradient(loss):
    grads = []
    for is_recomputed in (False, True):
        objective = made(loss=loss)
        if is_recomputed:
            recompute(objective)
        torch.stack([*objective(tiny_batch("gan", COUNT)).terms.values()]).sum().backward()
        grads.append({name: weight.grad for name, weight in objective.named_parameters()})
    torch.testing.assert_close(grads[0], grads[1])


def test_in_bfloat16_the_slope_is_that_of_float32():
    objective, batch = made(), tiny_batch("gan", COUNT)
    with torch.autocast("cpu", torch.bfloat16):
        low = objective(batch).terms
    torch.testing.assert_close(low["penalty"], objective(batch).terms["penalty"])
    torch.stack([*low.values()]).sum().backward()
    assert all(weight.grad is not None for weight in objective.parameters())


def test_a_convolutional_encoder_is_refused():
    with pytest.raises(ConfigError, match=r"expected encoder\.name vit"):
        tiny_objective("gan", encoder="resnet")
