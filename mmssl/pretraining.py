"""What `mmssl pretrain` does in every task, once its data and its objective are there."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from mmssl.batch import Batch
from mmssl.checkpoint import restore
from mmssl.config import Config
from mmssl.distributed import processes, rank
from mmssl.evaluate.heldout import Read, batch_of
from mmssl.footprint import footprint
from mmssl.models.recompute import recompute
from mmssl.objectives import Objective
from mmssl.order import Order, batches
from mmssl.sharding import is_sharded
from mmssl.train import Accelerator, Run, restore_weights, start, train

Prepare = Callable[[Iterator[Batch], torch.device], Iterator[Batch]]
Plain = Callable[[Batch], Batch]
NEVER = 2**62  # steps
AT_ONCE = 128  # samples that are looked at together


@runtime_checkable
class TrainingData(Protocol):
    """The samples of a run, of any modality."""

    @property
    def train(self) -> Read: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...  # samples of each group
    @property
    def fingerprint(self) -> str: ...
    def summary(self) -> str: ...


def as_read(stream: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Batches that need no preparation."""
    return stream


def as_is(batch: Batch) -> Batch:
    """A batch that needs no preparation."""
    return batch


def pretrain(
    objective: Objective, config: Config, accelerator: Accelerator, data: TrainingData, *, tokens_per_sample: float,
    evaluation: Callable[[Run], dict[str, Any]], prepare: Prepare = as_read, plain: Plain = as_is,
) -> Run:  # fmt: skip
    """Start, or go on from the newest checkpoint, and train to the end; `prepare` and, for samples that are looked at
    without training, `plain` run on the device.
    """
    if config.train.activation_checkpointing:
        recompute(objective)
    run = start(objective, config, accelerator, data=data.fingerprint, tokens_per_sample=tokens_per_sample)
    if accelerator.is_main_process:
        print(data.summary(), flush=True)
        count, size = sum(data.sizes), config.train.batch_size
        if count < size:
            print(
                f"note: {count} samples fill no batch of {size}: each is read several times in a step", file=sys.stderr
            )
    order = Order(data.sizes, config.seed, config.data.exponent)
    workers, hang_seconds = config.data.workers, config.train.hang_seconds
    read = batches(
        data.train, order, run.slots, samples_seen=run.samples_seen, workers=workers, hang_seconds=hang_seconds
    )
    stream = prepare(read, accelerator.device)
    if accelerator.is_main_process or is_sharded(objective):
        stream = measured(run, stream)
    train(
        run, stream, until=config.train.steps, evaluations=[evaluation],
        before_step=partial(regroup, read=data.train, plain=plain),
    )  # fmt: skip
    return run


def trained(run: Run, build: Callable[[], Objective]) -> Objective:
    """The objective of a finished run for a process that goes on alone: where others hold a share of it, one built
    anew with the weights of the last checkpoint.
    """
    if not is_sharded(run.objective):
        return run.objective
    found, objective = restore(run.folder), build()
    assert found is not None
    restore_weights(objective, found.tensors["model"])
    return objective.to(run.accelerator.device)


def measured(run: Run, stream: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, after lines on the memory that each process will take."""
    batch = next(stream)
    with run.accelerator.autocast():
        lines = footprint(run.objective, run.config, run.accelerator.num_processes, batch.to(run.accelerator.device))
    if run.accelerator.is_main_process:
        print("\n".join(lines), flush=True)
    return chain([batch], stream)


def regroup(run: Run, *, read: Read, plain: Plain) -> None:
    """Where it is time, let the objective look at all training samples; a run that resumes here does so again."""
    epochs, batch_size = run.objective.regroup_epochs, run.config.train.batch_size
    if not epochs or run.step % max(1, round(min(epochs * read.size / batch_size, NEVER))):
        return
    with run.accelerator.autocast():
        made_anew = run.objective.regroup(share_of_all(run, read, plain))
    for weight in made_anew:
        run.optimizer.state.pop(weight, None)


def share_of_all(run: Run, read: Read, plain: Plain) -> Iterator[Batch]:
    """This process's share of all training samples, in order; shares are equal, so the last sample may come again."""
    each = -(-read.size // processes())
    for first in range(rank() * each, (rank() + 1) * each, AT_ONCE):
        end = min(first + AT_ONCE, (rank() + 1) * each)
        index = np.arange(first, end).clip(max=read.size - 1)
        yield plain(batch_of(read, run.config.seed, index, run.accelerator.device))
