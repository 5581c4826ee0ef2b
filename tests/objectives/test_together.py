"""Claims about several objectives over one encoder: sums of what the parts say, one encoder, nothing for the absent."""

import pytest
import torch
from tiny import tiny_batch, tiny_objective
from torch import nn

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.models.target import Teacher
from mmssl.objectives import JointEmbedding, LatentStream, Predictive, Together

COUNT = 4
PRESENT = torch.tensor([True, False, True, True])


def made() -> Together:
    """Words, futures of clips and contrast."""
    found = tiny_objective("multimodal")
    assert isinstance(found, Together)
    return found


@torch.no_grad()
def test_terms_and_energy_are_those_of_the_parts_weighted():
    objective, batch = made().eval(), tiny_batch("multimodal", COUNT)
    output = objective(batch)
    parts = {name: part(batch) for name, part in objective.by_name.items()}
    assert output.terms.keys() == {f"{name}/{key}" for name, one in parts.items() for key in one.terms}
    for name, one in parts.items():
        for key, term in one.terms.items():
            assert torch.equal(output.terms[f"{name}/{key}"], objective.weights[name] * term)
    assert objective.weights == {"words": 1.0, "future": 10.0, "contrast": 1.0}
    energy = sum(objective.weights[name] * one.energy for name, one in parts.items())
    torch.testing.assert_close(output.energy, energy)
    torch.testing.assert_close(output.embedding, sum(one.embedding for one in parts.values()) / 3)


@torch.no_grad()
def test_energies_are_the_weighted_sum_of_the_parts():
    objective, batch = made().eval(), tiny_batch("multimodal", COUNT)
    expected = sum(objective.weights[name] * part.energies(batch) for name, part in objective.by_name.items())
    torch.testing.assert_close(objective.energies(batch), expected)
    assert objective.each().keys() == {"words", "future", "contrast"}


def test_the_encoder_is_one_and_counted_once():
    objective = made()
    parts = objective.by_name
    assert isinstance(parts["words"], Predictive)
    assert isinstance(parts["future"].by_name["video"], LatentStream)
    assert isinstance(parts["contrast"], JointEmbedding)
    assert all(part.encoder is objective.encoder for part in parts.values())
    names = [name for name, _ in objective.named_parameters()]
    assert len([name for name in names if name.endswith("encoder.first")]) == 1
    assert len([name for name in names if "table.weight" in name]) == 0  # the words' vectors are the encoder's
    assert objective.answered == ("text", "video")


def test_a_step_reaches_the_teachers_of_all_parts():
    encoder = nn.Linear(2, 2)
    parts = {str(number): Predictive(streams={}, encoder=encoder, target=Teacher(encoder, 0.5)) for number in range(2)}
    objective = Together(encoder=encoder, parts=parts, weights=dict.fromkeys(parts, 1.0))
    before = encoder.weight.detach().clone()
    with torch.no_grad():
        encoder.weight.add_(2)
    objective.after_step(0.0)
    for part in parts.values():
        torch.testing.assert_close(part.target.module.weight, before + 1)


def lacking(name: str, filling: float) -> Batch:
    """Four samples of which one lacks a modality."""
    batch = tiny_batch("multimodal", COUNT)
    view = batch.views[name][0].clone()
    if view.is_floating_point():
        view[~PRESENT] = filling
        view.requires_grad_()
    return batch._replace(views={**batch.views, name: [view], f"{name}.present": [PRESENT]})


@pytest.mark.parametrize("name", ["image", "audio", "video"])
def test_a_sample_that_lacks_a_modality_gets_no_gradient_whatever_lies_there(name):
    found = []
    for filling in (0.0, 7.0):
        objective, batch = made(), lacking(name, filling)
        terms = objective(batch).terms
        torch.stack([*terms.values()]).sum().backward()
        gradient = batch.views[name][0].grad
        assert gradient is not None
        assert not gradient[~PRESENT].any()
        assert gradient[PRESENT].flatten(1).any(1).all()
        found.append([*(term.detach() for term in terms.values()), *(one.grad for one in objective.parameters())])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("name, part, key", [("text", "words", "text"), ("video", "future", "video")])
def test_a_sample_that_lacks_the_answer_costs_nothing(name, part, key):
    objective = made().eval()
    output = objective.by_name[part](lacking(name, 0.0))
    assert output.energy[~PRESENT].tolist() == [0]
    assert (output.energy[PRESENT] > 0).all()
    torch.testing.assert_close(sum(output.terms.values()), output.energy.mean())
    assert key in output.terms


def test_what_it_cannot_do_it_says():
    with pytest.raises(ConfigError, match="Together predicts nothing; expected a predictive method"):
        made().predict({}, {})
