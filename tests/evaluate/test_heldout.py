"""Held-out samples come in their order, and what is said of them while training is what a loop says."""

from contextlib import nullcontext
from functools import partial
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from media_runs import media_config, parts_of

from mmssl.evaluate.collapse import panel
from mmssl.evaluate.energy import auroc
from mmssl.evaluate.heldout import heldout_batches, heldout_metrics
from mmssl.evaluate.media import prepared
from mmssl.objectives import Objective

CPU = torch.device("cpu")


def run_of(objective: Objective, *, is_main: bool = True) -> SimpleNamespace:
    """As much of a run as is asked for."""
    accelerator = SimpleNamespace(is_main_process=is_main, device=CPU, autocast=nullcontext)
    return SimpleNamespace(objective=objective, accelerator=accelerator)


class Numbers:
    """A source of held-out samples whose content is their number."""

    size = 10

    def __call__(self, indices):
        return {"x": [torch.from_numpy(np.asarray(indices))]}


@pytest.mark.parametrize("rows, at_once, sizes", [(7, 3, [3, 3, 1]), (4, 16, [4]), (100, 4, [4, 4, 2]), (0, 4, [])])
def test_the_first_samples_come_in_their_order_with_the_draws_of_epoch_0(rows, at_once, sizes):
    found = list(heldout_batches(Numbers(), 3, rows, CPU, at_once))
    assert [len(batch.draw.index) for batch in found] == sizes
    numbers = list(range(sum(sizes)))
    assert [number for batch in found for number in batch.views["x"][0].tolist()] == numbers
    assert [number for batch in found for number in batch.draw.index.tolist()] == numbers
    assert all((batch.draw.seed, batch.draw.epoch.unique().tolist()) == (3, [0]) for batch in found)


def test_metrics_while_training_are_those_of_the_held_out_rows(world):
    found = heldout_metrics(
        run_of(world.trained), batches=partial(heldout_batches, world.data.heldout, world.config.seed, 24)
    )
    with torch.no_grad():
        losses = [
            (float(world.trained(batch).terms["text"]), len(batch.draw.index))
            for batch in heldout_batches(world.data.heldout, world.config.seed, 24, CPU)
        ]
    count = sum(size for _, size in losses)
    assert count == min(24, world.data.heldout.size)
    assert found["heldout.loss"] == pytest.approx(sum(loss * size for loss, size in losses) / count, rel=1e-5)
    assert float(found["energy.auroc"]) > 0.5


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A masked autoencoder of pictures, and a function that reads so many held-out ones."""
    config = media_config(tmp_path_factory.mktemp("pictures"), "image_pretraining")
    _, data, inputs, objective = parts_of(config)

    def batches(rows: int, at_once: int = 5):
        return lambda device: prepared(data.heldout, inputs, config, rows, device, at_once=at_once)

    return objective, batches


def test_metrics_of_pictures_are_those_of_a_loop_over_batches(pictures):
    objective, batches = pictures
    found = heldout_metrics(run_of(objective), batches=batches(12))
    losses, own, other, embeddings = [], [], [], []
    with torch.no_grad():
        for batch in batches(12)(CPU):
            output, energies = objective(batch), objective.energies(batch)
            losses += [float(output.terms["image"])] * len(energies)
            embeddings.append(output.embedding)
            for row in range(len(energies)):
                for column in range(len(energies)):
                    (own if row == column else other).append(energies[row, column])
    assert len(losses) == 12
    assert found["heldout.loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert found["energy.auroc"] == auroc(torch.stack(own), torch.stack(other))
    assert found["collapse.effective_rank"] == panel(torch.cat(embeddings))["collapse.effective_rank"]
    # a tracker takes numbers only, and is not shown the verdict
    assert {key for key, value in found.items() if not isinstance(value, float)} == {"collapse.verdict"}
    assert not [key for key in found if "compared" in key]  # what is compared is no vector
    assert not [key for key in found if "ladder" in key]


def test_samples_that_show_one_thing_are_no_wrong_answers_for_each_other(pictures):
    objective, batches = pictures
    found = heldout_metrics(run_of(objective), batches=batches(12), thing=lambda batch: batch.draw.index // 2)
    own, other = [], []
    with torch.no_grad():
        for batch in batches(12)(CPU):
            energies, thing = objective.energies(batch), (batch.draw.index // 2).tolist()
            own += [energies[row, row] for row in range(len(thing))]
            other += [energies[i, j] for i, j in product(range(len(thing)), repeat=2) if thing[i] != thing[j]]
    assert found["energy.auroc"] == auroc(torch.stack(own), torch.stack(other))
    alike = heldout_metrics(run_of(objective), batches=batches(12), thing=lambda batch: 0 * batch.draw.index)
    assert not [key for key in alike if "energy" in key]  # nothing is wrong


@pytest.fixture(scope="module")
def contrast(tmp_path_factory):
    """A contrast of two views of pictures, and a function that reads 12 held-out ones."""
    method = "method={name: simclr, projector_width: 16, embedding_width: 8}"
    config = media_config(tmp_path_factory.mktemp("contrast"), "image_pretraining", method)
    _, data, inputs, objective = parts_of(config)
    return objective, lambda device: prepared(data.heldout, inputs, config, 12, device, objective.views, at_once=5)


def test_what_is_compared_is_judged_beside_the_features(contrast):
    objective, batches = contrast
    found = heldout_metrics(run_of(objective), batches=batches)
    with torch.no_grad():
        outputs = [objective(batch) for batch in batches(CPU)]
    features, compared = (
        panel(torch.cat([getattr(one, name) for one in outputs])) for name in ("embedding", "compared")
    )
    for name in ("effective_rank", "std"):
        assert found[f"collapse.{name}"] == features[f"collapse.{name}"]
        assert found[f"collapse.compared.{name}"] == compared[f"collapse.{name}"]
    assert found["collapse.verdict"] == features["collapse.verdict"]


def test_one_point_for_all_is_complete_collapse_whatever_the_features(contrast, monkeypatch):
    objective, batches = contrast
    forward = objective.forward
    monkeypatch.setattr(
        objective, "forward", lambda batch: forward(batch)._replace(compared=torch.ones(batch.draw.index.shape[0], 8))
    )
    found = heldout_metrics(run_of(objective), batches=batches)
    assert found["collapse.verdict"] == found["collapse.compared.verdict"] == "complete"
    assert float(found["collapse.std"]) > 0.05


def test_one_sample_has_a_loss_but_no_gap_and_no_rank(pictures):
    objective, batches = pictures
    assert heldout_metrics(run_of(objective), batches=batches(1)).keys() == {"heldout.loss"}


def test_without_held_out_samples_nothing_is_said(pictures):
    objective, batches = pictures
    assert heldout_metrics(run_of(objective), batches=batches(0)) == {}


def test_only_the_main_process_looks_at_held_out_samples(pictures):
    def none(device):
        raise AssertionError("read")

    assert heldout_metrics(run_of(pictures[0], is_main=False), batches=none) == {}


def test_looking_at_held_out_samples_changes_no_weight(pictures):
    objective, batches = pictures
    before = [tensor.clone() for tensor in objective.state_dict().values()]
    heldout_metrics(run_of(objective.train()), batches=batches(12))
    assert all(map(torch.equal, before, objective.state_dict().values()))
    assert all(weight.grad is None for weight in objective.parameters())
