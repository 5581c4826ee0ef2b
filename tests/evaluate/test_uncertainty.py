"""Completions of half a picture are compared with all that there may be: by models that know them, and by others."""

import numpy as np
import pytest
import torch
from media_runs import SMALL, media_config, parts_of
from torch import nn

from mmssl.augment import normalise, to_unit
from mmssl.evaluate.completion import cut_of
from mmssl.evaluate.coverage import matched
from mmssl.evaluate.media import evaluate_media
from mmssl.evaluate.uncertainty import projected, uncertainty_results
from mmssl.evaluate.worlds import HALF
from mmssl.objectives import Objective
from mmssl.random import Draw, hashed
from mmssl.savanna.encounters import completions
from mmssl.tokens import at

COUNT = 16  # held-out samples


def config_of(folder, *overrides):
    return media_config(
        folder, "image_pretraining", "data.source=encounters", f"evaluate.documents={COUNT}", "data.samples=40",
        *overrides,
    )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A task of encounters with an untrained model, which does not normalise patches."""
    config = config_of(tmp_path_factory.mktemp("uncertainty"), "method.normalise_patches=false")
    task, data, inputs, objective = parts_of(config)
    return config, data, inputs, objective, task


def key(seen):
    """What tells one left half from another, as precisely as two ways of making it agree."""
    return tuple(seen.value.flatten().mul(100).round().long().tolist())


def cut_of_pictures(objective):
    """How the model cuts pictures."""
    cut = cut_of(objective, "image")
    assert cut is not None
    return cut


class Knowing(Objective):
    """Knows the completions of each left half; `sampler(probability, u)` gives the weights of their mixture."""

    hides, has_latent, answered = True, True, ("image",)

    def __init__(self, world, sampler, has_latent=True):
        super().__init__()
        config, _, _, trained, _ = world
        self.cut, self.sampler, self.has_latent = cut_of_pictures(trained), sampler, has_latent
        self.encoder = nn.Linear(1, 1)
        vars(self.encoder)["cuts"] = {"image": self.cut}
        self.known = {}
        for index in range(COUNT):
            found = completions(hashed(config.seed, "heldout"), index, 16)
            tokens = self.tokens(torch.from_numpy(found.picture))
            draw = Draw(0, torch.zeros(len(found.picture)), torch.zeros(len(found.picture)))
            seen, hidden = HALF(tokens, draw)
            one = seen._replace(value=seen.value[:1])
            self.known[key(one)] = (torch.from_numpy(found.probability).float(), at(tokens, hidden))
        assert len(self.known) == COUNT

    def tokens(self, pixels):
        return self.cut.tokenize([normalise(to_unit(pixels))])

    def corrupted(self, batch):
        return {"image": self.cut.tokenize(batch.views["image"])}, {}, {}

    def predict(self, seen, hidden, noise=None):
        count = len(seen["image"].value)
        uniform = torch.full((count,), 0.5) if noise is None else torch.special.ndtr(noise(1)[:, 0])
        parts = []
        for row in range(count):
            probability, answers = self.of(seen, row)
            parts.append(torch.einsum("k,kmd->md", self.sampler(probability, uniform[row]), answers))
        return {"image": torch.stack(parts)}

    def of(self, seen, row):
        return self.known[key(seen["image"]._replace(value=seen["image"].value[row : row + 1]))]

    def patches_of(self, prediction, answer, place):
        return prediction

    def energies_of(self, seen, hidden, answers):
        given = at(answers["image"], hidden["image"]._replace(
            position=hidden["image"].position[:1].expand(len(answers["image"].value), -1)))  # fmt: skip
        _, possible = self.of(seen, 0)
        distance = torch.cdist(given.flatten(1), possible.flatten(1)).min(1).values
        return (distance > 1e-3).float()[None]


class Undecided(Knowing):
    """Its energy tells nothing."""

    def energies_of(self, seen, hidden, answers):
        return torch.zeros(1, len(answers["image"].value))


def one_hot(index, probability):
    return torch.eye(len(probability))[index]


def from_the_truth(probability, uniform):
    index = int(torch.searchsorted(probability.cumsum(0), uniform).clamp(max=len(probability) - 1))
    return one_hot(index, probability)


def the_mean(probability, uniform):
    return probability


def the_likeliest(probability, uniform):
    return one_hot(int(probability.argmax()), probability)


def results_of(world, objective):
    config, data, inputs, _, _ = world
    return {name.removeprefix("uncertainty."): value for name, value in uncertainty_results(
        objective, inputs, config, data.heldout).items()}  # fmt: skip


def test_draws_from_the_truth_cover_what_16_draws_cover_and_nothing_else(world):
    found = results_of(world, Knowing(world, from_the_truth))
    assert found["precision"] == 1.0
    assert found["coverage"] == pytest.approx(found["coverage_of_the_truth"], abs=0.1)
    assert found["coverage_of_the_truth"] > 0.9
    assert found["total_variation"] < 0.2
    assert found["distance"] == pytest.approx(0, abs=1e-4)
    assert found["auroc"] == 1.0


def test_the_mean_of_all_covers_nothing(world):
    found = results_of(world, Knowing(world, the_mean, has_latent=False))
    assert (found["coverage"], found["precision"], found["total_variation"]) == (0.0, 0.0, 1.0)
    even = results_of(world, Knowing(world, lambda probability, u: torch.ones_like(probability) / len(probability)))
    assert (even["coverage"], even["precision"]) == (0.0, 0.0)
    # the mean is nearer to a likely mode than the even mean is to any
    assert even["distance"] >= 0.25 - 1e-4 > found["distance"]


def test_the_likeliest_alone_covers_one_of_the_modes_and_is_precise(world):
    found = results_of(world, Knowing(world, the_likeliest, has_latent=False))
    seed = hashed(world[0].seed, "heldout")
    known = [completions(seed, index, 16).probability for index in range(COUNT)]
    assert found["precision"] == 1.0
    covered = [1 / len(probability) for probability in known]
    assert found["coverage"] == pytest.approx(np.mean(covered))
    assert found["coverage_error"] == pytest.approx(np.std(covered, ddof=1) / COUNT**0.5)
    assert found["coverage_error"] > 0
    assert found["total_variation"] == pytest.approx(np.mean([1 - probability.max() for probability in known]))
    assert found["modes"] == pytest.approx(np.mean([len(probability) for probability in known]))
    expected = [-(probability * np.log2(probability)).sum() for probability in known]
    assert found["true_bits"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("most, documents, count", [(3, 2000, 3), (64, 16, COUNT), (1, 2000, 1)])
def test_as_many_samples_are_asked_about_as_the_config_says(world, most, documents, count):
    config, data, inputs, _, _ = world
    evaluate = config.evaluate.model_copy(update={"open_samples": most, "documents": documents})
    model = Knowing(world, the_likeliest, has_latent=False)
    found = uncertainty_results(model, inputs, config.model_copy(update={"evaluate": evaluate}), data.heldout)
    seed = hashed(config.seed, "heldout")
    covered = [1 / len(completions(seed, index, 16).probability) for index in range(count)]
    assert found["uncertainty.coverage"] == pytest.approx(np.mean(covered))
    assert ("uncertainty.coverage_error" in found) is (count > 1)  # one says nothing of others


def test_an_energy_that_knows_nothing_tells_possible_from_impossible_by_chance(world):
    assert results_of(world, Undecided(world, from_the_truth))["auroc"] == 0.5


def test_a_model_of_pixels_is_compared_in_pixels_beside_random_weights(world):
    config, data, inputs, objective = world[:4]
    found = evaluate_media(objective, lambda: objective, inputs, config, data, None, {})
    keys = {"coverage", "coverage_error", "precision", "total_variation", "distance", "auroc"}
    assert {f"uncertainty.{key}" for key in keys} <= found.keys()
    assert {key for key in found if key.startswith("random_init.uncertainty")} == {
        f"random_init.uncertainty.{key}" for key in keys
    }
    assert {"uncertainty.modes", "uncertainty.true_bits", "uncertainty.coverage_of_the_truth"} <= found.keys()
    assert "uncertainty.bits" not in found
    assert found["uncertainty.coverage"] == 0.0  # it has not learnt yet


def test_nothing_of_the_true_answer_reaches_a_model_that_normalises_patches(tmp_path, monkeypatch):
    config = config_of(tmp_path)
    _, data, inputs, objective = parts_of(config)
    answers, shown = [], objective.patches_of
    monkeypatch.setattr(objective, "patches_of", lambda prediction, answer, place: (
        answers.append(answer), shown(prediction, answer, place))[1])  # fmt: skip
    uncertainty_results(objective, inputs, config, data.heldout)
    for index, answer in enumerate(answers):
        pictures = torch.from_numpy(completions(hashed(0, "heldout"), index, 16).picture)
        tokens = cut_of_pictures(objective).tokenize([normalise(to_unit(pictures))])
        _, hidden = HALF(tokens, Draw(0, torch.zeros(len(pictures)), torch.zeros(len(pictures))))
        torch.testing.assert_close(answer[0], at(tokens, hidden).mean(0), rtol=0, atol=1e-5)


def test_embeddings_are_compared_with_those_of_the_completions(tmp_path, monkeypatch):
    config = config_of(tmp_path, f"method={{name: ijepa, {SMALL}}}", "encoder.patch=4")
    _, data, inputs, objective = parts_of(config)
    assert uncertainty_results(objective, inputs, config, data.heldout)["uncertainty.coverage"] == 0.0

    target = objective.get_submodule("target")

    def truly(seen, hidden, noise=None):
        index = [given[key(seen["image"]._replace(value=value[None]))] for value in seen["image"].value]
        whole = target({"image": tokens._replace(value=tokens.value[index])})["image"]
        return {"image": at(whole, hidden["image"])}

    pixels = torch.stack([data.heldout(np.array([row]))["image"][0][0] for row in range(COUNT)])
    tokens = cut_of_pictures(objective).tokenize([normalise(to_unit(pixels))])
    seen, _ = HALF(tokens, Draw(0, torch.zeros(COUNT), torch.zeros(COUNT)))
    given = {key(seen._replace(value=seen.value[row : row + 1])): row for row in range(COUNT)}
    monkeypatch.setattr(objective, "predict", truly)
    found = uncertainty_results(objective, inputs, config, data.heldout)
    assert found["uncertainty.precision"] == 1.0
    assert found["uncertainty.coverage"] == pytest.approx(1 / found["uncertainty.modes"], abs=0.05)


def test_of_embeddings_only_what_tells_the_possible_ones_apart_is_compared():
    # two possible ones 2 apart along the first axis: what is off along any other does not count
    possible = torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 0.0]])
    samples, both = projected(torch.tensor([[1.0, 9.0, -7.0], [2.0, 5.0, 3.0], [3.1, 0.0, 0.0]]), possible)
    assert both.abs().flatten().tolist() == pytest.approx([0.0, 2.0])
    assert samples.abs().flatten().tolist() == pytest.approx([0.0, 1.0, 2.1])
    assert matched(samples, both, both.mean(0)).tolist() == [0, -1, 1]


def test_only_a_model_that_completes_pictures_of_encounters_is_measured(world, tmp_path, capsys):
    config, data, inputs, objective, _ = world
    for section in ({"source": "savanna"}, {"heldout": "elsewhere"}):
        other = config.model_copy(update={"data": config.data.model_copy(update=section)})
        assert uncertainty_results(objective, inputs, other, data.heldout) == {}
    views = config_of(tmp_path, "method={name: simclr, projector_width: 32, embedding_width: 16}")
    assert uncertainty_results(parts_of(views)[3], inputs, config, data.heldout) == {}
    odd = config_of(tmp_path, "image.size=24")
    _, data, inputs, objective = parts_of(odd)
    assert uncertainty_results(objective, inputs, odd, data.heldout) == {}
    assert "note: no uncertainty: 3 x 3 patches; expected an even number of columns" in capsys.readouterr().err
