"""Claims about sparse coding as an objective: whose gradient is whose, what an energy is, and what is completed."""

import pytest
import torch
from tiny import gradients, tiny_batch, tiny_objective

from mmssl.models.sparse import fista, sparse_energy
from mmssl.objectives.sparse import SparseCoding

KINDS = [{"patch_wise": True}, {"patch_wise": False}, {"patch_wise": False, "inference": "amortised"}]


def made(**options) -> SparseCoding:
    """A tiny one."""
    objective = tiny_objective("sparse_coding", **options)
    assert isinstance(objective, SparseCoding)
    return objective


@pytest.mark.parametrize("options", KINDS)
def test_the_dictionary_learns_from_the_energy_and_the_encoder_from_the_codes(options):
    objective, batch = made(**options), tiny_batch("sparse_coding")
    terms = objective(batch).terms
    assert terms.keys() - {"image.amortised"} == {"image", "image.code"}
    terms["image"].backward(retain_graph=True)
    assert gradients(objective).keys() == {"dictionary.weight"}
    objective.zero_grad()
    terms["image.code"].backward()
    found = gradients(objective).keys()
    assert {name.split(".")[0] for name in found} == {"encoder", "head"}


@pytest.mark.parametrize("patch_wise, numbers", [(True, 48), (False, 768)])
def test_the_loss_is_the_least_energy_over_the_numbers_of_a_picture(patch_wise, numbers):
    objective, batch = made(patch_wise=patch_wise), tiny_batch("sparse_coding")
    y = objective.cut.tokenize(batch.views["image"]).value.reshape(-1, numbers)
    weight = objective.dictionary.weight.detach()
    least = sparse_energy(y, fista(y, weight, 0.5, 20), weight, 0.5).sum() / (8 * 768)
    torch.testing.assert_close(objective(batch).terms["image"].detach(), least)


def test_atoms_have_norm_one_after_each_step():
    objective = made()
    with torch.no_grad():
        objective.dictionary.weight.add_(1)
    objective.after_step(0.5)
    torch.testing.assert_close(objective.dictionary.weight.norm(dim=0), torch.ones(16))


def plain(objective, batch):
    """What is seen, what is hidden, and all patches."""
    tokens, seen, hidden = objective.corrupted(batch)
    return seen, hidden, tokens


@torch.no_grad()
def test_what_is_hidden_is_the_sum_of_atoms_that_what_is_seen_asks_for():
    objective, batch = made(patch_wise=False, inference_steps=300, l1_weight=0.01), tiny_batch("sparse_coding")
    seen, hidden, tokens = plain(objective, batch)
    # the pictures themselves, as atoms: each is told by its seen half
    pictures = tokens["image"].value.flatten(1)
    objective.dictionary.weight[:, :8] = pictures.T / pictures.norm(dim=1)
    found = objective.predict(seen, hidden)["image"]
    position = hidden["image"].position[..., None].expand_as(found)
    truth = tokens["image"].value.gather(1, position)
    assert (found - truth).square().mean() < 0.05 * truth.square().mean()
    # the control: coded patch by patch, nothing is known of a hidden one
    assert made(patch_wise=True).predict(seen, hidden)["image"].abs().max() == 0


@torch.no_grad()
def test_coded_patch_by_patch_the_energy_is_that_of_the_hidden_patches_whatever_is_seen():
    objective, batch = made(patch_wise=True), tiny_batch("sparse_coding")
    energies = objective.energies(batch)
    torch.testing.assert_close(energies, energies[:1].expand(8, 8))
    _, hidden, tokens = plain(objective, batch)
    y = tokens["image"].value[0, hidden["image"].position[0]]
    weight = objective.dictionary.weight
    expected = sparse_energy(y, fista(y, weight, 0.5, 20), weight, 0.5).sum() / y.numel()
    torch.testing.assert_close(energies[0, 0], expected)


@pytest.mark.parametrize("options", KINDS)
@torch.no_grad()
def test_a_prediction_does_not_depend_on_what_is_hidden(options):
    objective, batch = made(**options), tiny_batch("sparse_coding")
    seen, hidden, _ = plain(objective, batch)
    batch.views["image"][0][..., 8:] += 1  # the right half of 16 pixels
    again, place, _ = plain(objective, batch)
    assert torch.equal(objective.predict(seen, hidden)["image"], objective.predict(again, place)["image"])
    assert objective.bits(seen, hidden, {}) is None


@torch.no_grad()
def test_noise_draws_other_completions_and_the_same_noise_the_same():
    objective, batch = made(patch_wise=False), tiny_batch("sparse_coding")
    seen, hidden, _ = plain(objective, batch)
    first, again, second = (
        objective.predict(seen, hidden, lambda width, k=k: batch.draw.normal(f"sample/{k}", width))["image"]
        for k in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert (first - second).abs().mean() > 1e-3
    assert not torch.equal(first, objective.predict(seen, hidden)["image"])
