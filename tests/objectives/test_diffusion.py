"""Claims about diffusion: its loss is the analytical one, energies share their noises, noise chooses samples."""

from typing import Any

import pytest
import torch
from tiny import tiny_batch, tiny_encoder, tiny_objective, words_of_tests
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.methods.generative import hide_all, noising
from mmssl.modalities.grids import Cut, Grid
from mmssl.models.denoiser import Denoiser
from mmssl.models.noising import Noising, Parts, Quantity
from mmssl.objectives.base import Noise
from mmssl.objectives.diffusion import Diffusion, PatchSpace, Sampling
from mmssl.objectives.predictive import place_of
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

MEAN, DEVIATION = 0.7, 0.6
COUNT = 20_000
CASES: tuple[tuple[str, Quantity], ...] = (("flow", "answer"), ("flow_uniform", "velocity"), ("ddpm", "noise"))


class Blind(nn.Module):
    """An encoder that says nothing of pictures of one patch of two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts, self.width = {"image": Cut("image", (1, 2), (1, 2), 1)}, 1

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        return {name: tokens._replace(value=tokens.value[..., :1]) for name, tokens in seen.items()}


class Best(nn.Module):
    """Says `says` of normal data as well as anyone can."""

    def __init__(self, noising: Noising) -> None:
        super().__init__()
        self.noising, self.width = noising, 2

    def forward(self, sx: dict[str, Tokens], place: Place, mixture: Tensor, time: Tensor) -> Tensor:
        signal, spread = self.noising.process.scales(time)
        gain = signal * DEVIATION**2 / (signal**2 * DEVIATION**2 + spread**2)
        answer = MEAN + gain * (mixture - signal * MEAN)
        parts = Parts(answer, (mixture - signal * answer) / spread)
        said = {"answer": parts.answer, "noise": parts.noise, "velocity": parts.mixed(self.noising.process.rates(time))}
        return said[self.noising.says]


def of_normal_data(name: str, says: Quantity, denoiser: nn.Module) -> Diffusion:
    """Diffusion of pictures of two normal numbers."""
    return Diffusion(
        name="image", encoder=Blind(), corrupt=hide_all, denoiser=denoiser, space=PatchSpace(),
        noising=noising(name, says), sampling=Sampling(20, 1.0, 4),
    )  # fmt: skip


def normal_batch(count: int, epoch: int = 0) -> Batch:
    """Samples of N(MEAN, DEVIATION^2)."""
    draw = Draw(0, torch.full((count,), epoch), torch.arange(count))
    return Batch({"image": [(MEAN + DEVIATION * draw.normal("y", 2)).reshape(count, 1, 1, 2)]}, draw)


def least(found: Noising, time: Tensor) -> Tensor:
    """The error that no denoiser goes below: the variance of y given x_t, in what is compared.

    Var(y | x_t) = s^2 spread^2 / (signal^2 s^2 + spread^2); an error e of y is e / spread of a flow's velocity, and
    e * signal / spread of the noise.
    """
    signal, spread = (part.flatten() for part in found.process.scales(time))
    variance = DEVIATION**2 * spread**2 / (signal**2 * DEVIATION**2 + spread**2)
    return variance / spread**2 * (1 if found.process.compared == "velocity" else signal**2)


@pytest.mark.parametrize("name, says", CASES)
@torch.no_grad()
def test_the_loss_of_the_best_denoiser_is_the_analytical_one(name, says):
    found = noising(name, says)
    objective, batch = of_normal_data(name, says, Best(found)), normal_batch(COUNT)
    energy = objective(batch).energy
    expected = least(found, found.process.times(batch.draw.uniform("time")))
    error = float((energy - expected).std()) / COUNT**0.5
    assert float(energy.mean()) == pytest.approx(float(expected.mean()), abs=4 * error)
    assert 4 * error < 0.05 * float(expected.mean())


@pytest.mark.parametrize("name, says", CASES[::2])
def test_a_trained_denoiser_comes_near_to_the_best_one(name, says):
    torch.manual_seed(0)
    objective = of_normal_data(name, says, Denoiser(1, 2, ["image"], layers=1, width=16, heads=2))
    stepper = torch.optim.Adam(objective.parameters(), lr=1e-2)
    for step in range(120):
        for group in stepper.param_groups:
            group["lr"] = 1e-2 * (1 - step / 120)
        objective(normal_batch(128, step)).terms["image"].backward()
        stepper.step()
        stepper.zero_grad()
    batch = normal_batch(4096, 1000)
    with torch.no_grad():
        trained = float(objective(batch).terms["image"])
        best = float(of_normal_data(name, says, Best(objective.noising))(batch).terms["image"])
        objective.denoiser = Denoiser(1, 2, ["image"], layers=1, width=16, heads=2)
        untrained = float(objective(batch).terms["image"])
    assert best * 0.98 < trained < best * 1.1
    assert untrained > best * 1.3  # the control


@torch.no_grad()
def test_samples_of_the_objective_are_those_of_the_data():
    objective, batch = of_normal_data("flow", "answer", Best(noising("flow", "answer"))), normal_batch(4096)
    _, seen, hidden = objective.corrupted(batch)
    assert seen["image"].value.shape == (4096, 0, 2)
    found = objective.predict(seen, hidden, lambda width: batch.draw.normal("sample/0", width))["image"]
    assert found.shape == (4096, 1, 2)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.04)
    assert float(found.std()) == pytest.approx(DEVIATION, abs=0.04)


def made(**options) -> Diffusion:
    """A tiny objective of pictures, whose denoiser says something."""
    objective = tiny_objective("diffusion", **options)
    assert isinstance(objective, Diffusion)
    nn.init.normal_(objective.denoiser.predictor.answer.weight, std=0.2)
    return objective.eval()


def drawn(batch: Batch, number: int = 0) -> Noise:
    """The noise of a sample."""
    return lambda width: batch.draw.normal(f"sample/{number}", width)


@torch.no_grad()
def test_noise_chooses_the_completion_and_nothing_else_does():
    objective, batch = made(sampling_steps=3), tiny_batch("diffusion", 4)
    _, seen, hidden = objective.corrupted(batch)
    first, again, second = (objective.predict(seen, hidden, drawn(batch, number))["image"] for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, second, atol=0.1)
    without_noise = objective.predict(seen, hidden)["image"]
    zeros = objective.predict(seen, hidden, lambda width: torch.zeros(4, width))["image"]
    assert torch.equal(without_noise, zeros)
    # what is seen tells it, too
    other = {"image": seen["image"]._replace(value=seen["image"].value.flip(0))}
    assert not torch.allclose(objective.predict(other, hidden, drawn(batch))["image"], first, atol=1e-3)


@torch.no_grad()
def test_energies_equal_a_loop_over_pairs_with_the_same_noises():
    objective, batch, answers = made(), tiny_batch("diffusion", 3), tiny_batch("diffusion", 8)
    energies = objective.energies(batch, answers)
    assert energies.shape == (3, 8)
    _, seen, hidden = objective.corrupted(batch)
    sx, place = objective.encoder(seen), hidden["image"]
    patches = objective.tokens(answers, "image").value
    index = torch.arange(4)
    noise = Draw(0, torch.zeros(4, dtype=torch.long), index).normal("energy", *place.position.shape[1:], 48)
    for row, column in ((0, 0), (0, 7), (2, 1)):
        y = patches[column, place.position[row]][None]
        mine = Place(place.position[row : row + 1], place.document[row : row + 1], place.grid)
        seen_of_row = {
            "image": Tokens(
                sx["image"].value[row : row + 1],
                place_of(sx["image"].place, row, 1),
                None if sx["image"].summary is None else sx["image"].summary[row : row + 1],
            )
        }
        total = torch.zeros(())
        for number in range(4):
            time = objective.noising.process.times(torch.tensor([(number + 0.5) / 4]))
            x = (1 - time) * y + time * noise[number]
            answer = objective.denoiser(seen_of_row, mine, x, time)
            total = total + ((noise[number] - y) - (x - answer) / time).square().mean() / 4
        torch.testing.assert_close(energies[row, column], total)
    assert torch.equal(objective.energies(batch, answers), energies)


@torch.no_grad()
def test_no_guidance_is_guidance_1_and_guidance_0_is_blind():
    batch = tiny_batch("diffusion", 4)
    weights = made().state_dict()
    found = {}
    for guidance in (0.0, 0.5, 1.0, 2.0):
        objective = made(guidance=guidance, sampling_steps=1)
        objective.load_state_dict(weights)
        _, seen, hidden = objective.corrupted(batch)
        found[guidance] = objective.predict(seen, hidden, drawn(batch))["image"]
        if guidance == 0:
            other = {"image": seen["image"]._replace(value=seen["image"].value.flip(0))}
            torch.testing.assert_close(objective.predict(other, hidden, drawn(batch))["image"], found[0.0])
    # with one step the answer is linear in the guidance
    torch.testing.assert_close(found[0.5], (found[0.0] + found[1.0]) / 2, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[2.0], 2 * found[1.0] - found[0.0], atol=1e-4, rtol=0)
    assert not torch.allclose(found[0.0], found[1.0], atol=1e-3)


@torch.no_grad()
def test_a_context_that_is_dropped_does_not_reach_the_loss():
    batch = tiny_batch("diffusion", 4)
    objective = made()
    _, _, hidden = objective.corrupted(batch)
    picture = batch.views["image"][0].clone()
    patches = objective.encoder.cuts["image"].tokenize([picture]).value
    changed = (patches + 1).scatter(
        1, hidden["image"].position[..., None].expand(-1, -1, 48), objective_answer(patches, hidden["image"])
    )
    other = batch._replace(views={"image": [objective.encoder.cuts["image"].paste(changed)]})
    for share, same in ((1.0, True), (0.0, False)):
        objective.drop_context = share
        assert torch.allclose(objective(batch).energy, objective(other).energy, atol=1e-6) is same


def objective_answer(patches: Tensor, hidden: Place) -> Tensor:
    """The patches at the hidden places."""
    return patches.gather(1, hidden.position[..., None].expand(-1, -1, patches.shape[-1]))


def test_noise_said_of_a_flow_is_refused():
    with pytest.raises(ConfigError, match=r"method\.says noise: a flow begins at noise alone"):
        noising("flow", "noise")


@torch.no_grad()
def test_captions_are_compared_with_whole_pictures():
    words = words_of_tests()
    modalities = {"text": words, "image": Grid("image", (16, 16), 3)}
    encoder: Any = tiny_encoder(modalities)
    cut = encoder.cuts["image"]
    torch.manual_seed(0)
    denoiser = Denoiser(encoder.width, cut.width, encoder.cuts, layers=1, width=32, heads=2)
    nn.init.normal_(denoiser.predictor.answer.weight, std=0.2)
    objective = Diffusion(
        name="image", encoder=encoder, corrupt=hide_all, denoiser=denoiser, space=PatchSpace(),
        noising=noising("flow", "answer"), sampling=Sampling(2, 1.0, 2),
    ).eval()  # fmt: skip
    text = tiny_batch("multimodal", 4).views["text"]
    batch = tiny_batch("diffusion", 4)
    batch = batch._replace(views={**batch.views, "text": text})
    assert objective.compares("text", "image")
    assert not objective.compares("image", "text")
    between = objective.energies_between("text", "image", batch)
    torch.testing.assert_close(between, objective.energies(batch))  # all that is seen is the caption
    assert not torch.allclose(between[0], between[1], atol=1e-5)  # captions differ
    with pytest.raises(ConfigError, match="does not compare image with text"):
        objective.energies_between("image", "text", batch)
