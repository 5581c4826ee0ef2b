"""Claims about shared weights: a run of two processes that hold half of them each is what it would have been."""

import json
import os
import shutil
from functools import cache, partial
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from media_runs import write_media_config
from processes import on_processes
from running import forget_processes, same
from tiny import part, tiny_batch, tiny_objective
from torch import Tensor

from mmssl import distributed
from mmssl.batch import Batch
from mmssl.checkpoint import restore
from mmssl.config import Config, load_config
from mmssl.errors import ConfigError, NumericError
from mmssl.evaluate.heldout import heldout_metrics
from mmssl.media_task import MediaTask
from mmssl.models.recompute import recompute
from mmssl.order import Order, batches
from mmssl.runs import task_of
from mmssl.sharding import is_sharded, layers, local
from mmssl.train import Run, launch, start, train

SAMPLES, HALFWAY, STEPS = 8, 2, 4
ADAMW = ("train.optimizer=adamw", "train.learning_rate=1e-2")
LARS = ("train.optimizer=lars", "train.learning_rate=3")
METHODS = {
    "simclr": (*ADAMW, "train.accumulate=2"),
    "byol": (*LARS, "train.activation_checkpointing=true"),  # has a teacher
    "moco_v3": ("train.optimizer=muon", "train.learning_rate=1e-2"),
    "swav": ADAMW,  # has prototypes of unit length and a queue
}
RESUMED = ("swav", "byol", "moco_v3")
FULL = "train.sharding=full"
SAID = ("heldout", "collapse", "energy", "loss", "gradient")
HALF_BATCH = "train.batch_size=4"
SMALL = ("method={name: byol, projector_width: 32, embedding_width: 16}", "data.samples=32",
         "encoder={name: resnet, widths: [8, 16], depths: [1, 1], small_stem: true}")  # fmt: skip


def config_of(folder: Path, method: str, *overrides: str) -> Config:
    """Four steps of eight samples; gradients are clipped."""
    mine = folder / f"process-{distributed.rank()}"
    for made in (mine, folder / "run"):
        made.mkdir(parents=True, exist_ok=True)
    return load_config(
        write_media_config(mine, "image_pretraining"),
        [f"run={folder / 'run'}", "train.batch_size=8", f"train.steps={STEPS}", f"train.save_every_steps={HALFWAY}",
         "train.evaluate_every_steps=3", "train.gradient_clip=0.1", *METHODS.get(method, ADAMW), *overrides],
    )  # fmt: skip


@cache
def samples_of(method: str) -> Batch:
    """All that a method reads, made once."""
    return tiny_batch(method, SAMPLES)


def begun(folder: Path, method: str, *overrides: str) -> Run:
    """A run in this folder, on from what is there."""
    config = config_of(folder, method, *overrides)
    forget_processes()
    objective = tiny_objective(method, encoder="resnet" if method in METHODS else "vit")
    if config.train.activation_checkpointing:
        recompute(objective)
    return start(objective, config, launch(config))


def ended(run: Run, method: str, *, poison: int = 99) -> Run:
    """The run after its last step; from the micro-batch `poison` on the pictures of the last process are no numbers."""

    def read(indices) -> dict[str, list[Tensor]]:
        return part(samples_of(method), [int(number) for number in indices]).views

    def spoilt(count: int, batch: Batch) -> Batch:
        is_bad = count >= poison and run.accelerator.is_last_process
        return batch._replace(views={"image": [view * torch.nan for view in batch.views["image"]]}) if is_bad else batch

    stream = batches(read, Order((SAMPLES,), run.config.seed), run.slots, samples_seen=run.samples_seen)
    held_out = part(samples_of(method), slice(0, 4))
    train(
        run, (spoilt(count, batch) for count, batch in enumerate(stream)), until=STEPS,
        evaluations=[partial(heldout_metrics, batches=lambda device: iter([held_out]))],
    )  # fmt: skip
    return run


def on_from(other: Path, folder: Path) -> Path:
    """A run folder that holds the other's checkpoint of half the steps."""
    if distributed.rank() == 0:
        name = Path("run") / "checkpoints" / f"step-{HALFWAY:09d}"
        shutil.copytree(other / name, folder / name)
    distributed.wait()
    return folder


def held(run: Run) -> Tensor:
    """The numbers that this process holds of all weights and moments, as a ratio."""
    tensors = [*run.objective.parameters(), *chain(*(slots.values() for slots in run.optimizer.state.values()))]
    tensors = [tensor for tensor in tensors if tensor.ndim]
    return torch.tensor(sum(local(one).numel() for one in tensors) / sum(one.numel() for one in tensors))


def runs_of_two(root: Path, method: str) -> dict[str, Tensor]:
    """All runs of a method on two processes."""
    folder = root / method
    with_copies = ended(begun(folder / "copies", method), method)
    shared = ended(begun(folder / "shared", method, FULL), method)
    if method in RESUMED:
        ended(begun(on_from(folder / "shared", folder / "resumed"), method, FULL), method)
        ended(begun(on_from(folder / "one", folder / "back"), method, FULL), method)
        with patch("mmssl.train.set_state"):
            ended(begun(on_from(folder / "shared", folder / "forgetful"), method, FULL), method)
    assert all(is_sharded(layer) for layer in layers(shared.objective))
    return {f"{method}/shared": held(shared), f"{method}/copies": held(with_copies)}


def whole_run(root: Path) -> dict[str, Tensor]:
    """What the objective that the task of pictures hands to `finish`, on the main process, says when asked alone."""
    config = config_of(root / "task", "byol", *SMALL, FULL)
    found: dict[str, Tensor] = {}

    def finish(task, objective, *others) -> None:
        assert not is_sharded(objective)
        found.update(task=objective.eval()(tiny_batch("byol", 4)).energy)

    forget_processes()
    with patch.object(MediaTask, "finish", finish):
        task_of(config).main(config)
    return found


def everything(root: Path) -> dict[str, Tensor]:
    """What each process finds."""
    # Accelerate looks for these; nobody listens at the port, since the processes have met already
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(distributed.rank()), "LOCAL_RANK": str(distributed.rank()),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}  # fmt: skip
    found: dict[str, Tensor] = {}
    for method in METHODS:
        found |= runs_of_two(root, method)
    with pytest.raises(NumericError):
        ended(begun(root / "poisoned", "simclr", FULL), "simclr", poison=2)
    for method, reason in {"deepcluster": "weights anew", "gan": "slope of a critic"}.items():
        with pytest.raises(ConfigError, match=reason):
            begun(root / f"refused-{method}", method, FULL)
    return found | whole_run(root)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The folder of all runs."""
    return tmp_path_factory.mktemp("sharding")


@pytest.fixture(scope="module")
def two(root) -> list[dict[str, Tensor]]:
    """The answers of two processes that go on from what one wrote, and their run folders; then one goes on alone."""
    for method in METHODS:
        ended(begun(root / method / "other", method, HALF_BATCH), method)
    for method in RESUMED:
        ended(begun(root / method / "one", method), method)
    answers = on_processes(2, partial(everything, root), root)
    for method in RESUMED:
        ended(begun(on_from(root / method / "shared", root / method / "alone"), method), method)
    return answers


def saved(folder: Path) -> dict[str, Tensor]:
    """Weights, statistics and moments of the newest checkpoint."""
    found = restore(folder / "run")
    assert found is not None
    return {f"{group}/{name}": value for group, tensors in found.tensors.items() for name, value in tensors.items()}


def difference(one: Path, other: Path, end: str = "") -> float:
    """The largest between what two runs have saved, under names with this end."""
    found, expected = saved(one), saved(other)
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in expected.items()}
    chosen = [key for key in found if key.endswith(end) and found[key].numel()]
    return max(float((found[key].double() - expected[key].double()).abs().max()) for key in chosen)


@pytest.mark.parametrize("method", METHODS)
def test_each_process_holds_half_of_weights_and_moments(two, method):
    shares = [answers[f"{method}/shared"] for answers in two]
    assert shares == pytest.approx([0.5, 0.5], abs=0.02)
    assert sum(shares) == pytest.approx(1.0)
    assert all(answers[f"{method}/copies"] == 1.0 for answers in two)


@pytest.mark.parametrize("method", RESUMED)
def test_a_resumed_run_that_shares_weights_is_the_uninterrupted_one_bit_for_bit(two, root, method):
    folder = root / method
    assert same(saved(folder / "resumed"), saved(folder / "shared"))
    # the control: without the optimizer's moments
    assert difference(folder / "forgetful", folder / "shared", "convolution.weight") > 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_weights_shared_by_two_processes_are_those_that_both_hold(two, root, method):
    folder = root / method
    assert difference(folder / "shared", folder / "copies") < 1e-5
    # the control: another batch
    assert difference(folder / "shared", folder / "other", "convolution.weight") > 1e-3


@pytest.mark.parametrize("method", RESUMED)
@pytest.mark.parametrize("begun_by, name", [("shared", "alone"), ("one", "back")])
def test_one_process_goes_on_where_two_shared_weights_and_they_where_one_was(two, root, method, begun_by, name):
    folder = root / method
    assert difference(folder / name, folder / begun_by) < 1e-5
    # the control: another batch
    assert difference(folder / name, folder / "other", "convolution.weight") > 1e-3


def lines(folder: Path) -> list[dict]:
    """The lines of metrics.jsonl, without times and what they make."""
    found = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if key.startswith(SAID) and not isinstance(value, str)}
        for line in found
    ]


@pytest.mark.parametrize("method", METHODS)
def test_the_log_says_the_same_of_held_out_samples_and_gradients(two, root, method):
    found, expected, other = (lines(root / method / name) for name in ("shared", "copies", "other"))
    assert [line.keys() for line in found] == [line.keys() for line in expected]
    assert "heldout.loss" in found[-1]
    assert found == [pytest.approx(line, rel=1e-3, abs=1e-4) for line in expected]
    assert found != [pytest.approx(line, rel=1e-3, abs=1e-4) for line in other]


def test_swavs_prototypes_keep_unit_length(two, root):
    prototypes = saved(root / "swav" / "shared")["model/criterion.prototypes"]
    assert prototypes.norm(dim=-1).tolist() == pytest.approx([1.0] * len(prototypes))


def test_what_is_not_finite_on_one_process_leaves_a_checkpoint_of_the_last_good_step(two, root):
    found = restore(root / "poisoned" / "run")
    assert found is not None
    assert found.step == 1
    weights = [value for name, value in saved(root / "poisoned").items() if name.endswith((".weight", ".bias"))]
    assert all(bool(value.isfinite().all()) for value in weights)


def test_the_main_process_alone_finishes_with_the_weights_of_all(two, root):
    assert "task" not in two[1]
    config = config_of(root / "task", "byol", *SMALL, FULL)
    found = restore(root / "task" / "run")
    assert found is not None
    objective, _, _ = task_of(config).TASK.restored(config, found)
    assert torch.equal(objective(tiny_batch("byol", 4)).energy, two[0]["task"])


def test_one_process_has_nobody_to_share_with(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.sharding full: there is one process"):
        begun(tmp_path / "shared", "simclr", FULL)
    begun(tmp_path / "whole", "simclr")  # the control


@pytest.mark.parametrize("method, count", [("simclr", 2), ("byol", 4)])
def test_the_blocks_of_an_encoder_and_of_its_teacher_are_what_is_shared_at_once(method, count):
    assert len([*layers(tiny_objective(method, encoder="resnet"))]) == count
    assert len([*layers(tiny_objective(method))]) == count // 2  # one layer each


def test_a_head_tied_to_the_embeddings_is_in_no_layer():
    objective = tiny_objective("bert")
    inside = {id(weight) for layer in layers(objective) for weight in layer.parameters()}
    tables = [weight for weight in objective.parameters() if weight.ndim == 2 and len(weight) > 64]
    assert len(tables) == 1
    assert id(tables[0]) not in inside
    assert len(inside) > 10
