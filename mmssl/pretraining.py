"""What `mmssl pretrain` does in every task, once its data and its objective are there."""

import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Protocol, runtime_checkable

import torch

from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.evaluate.heldout import Read
from mmssl.footprint import footprint
from mmssl.models.recompute import recompute
from mmssl.objectives import Objective
from mmssl.order import Order, batches
from mmssl.train import Accelerator, Run, start, train

Prepare = Callable[[Iterator[Batch], torch.device], Iterator[Batch]]


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


def pretrain(
    objective: Objective, config: Config, accelerator: Accelerator, data: TrainingData, *, tokens_per_sample: float,
    evaluation: Callable[[Run], dict[str, Any]], prepare: Prepare = as_read,
) -> Run:  # fmt: skip
    """Start, or go on from the newest checkpoint, and train to the end; `prepare` runs on the device."""
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
    read = batches(data.train, order, run.slots, samples_seen=run.samples_seen, workers=config.data.workers)
    stream = prepare(read, accelerator.device)
    if accelerator.is_main_process:
        stream = measured(run, stream)
    train(run, stream, until=config.train.steps, evaluations=[evaluation])
    return run


def measured(run: Run, stream: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, after lines on the memory that each process will take."""
    batch = next(stream)
    with run.accelerator.autocast():
        lines = footprint(run.objective, run.config, run.accelerator.num_processes, batch.to(run.accelerator.device))
    print("\n".join(lines), flush=True)
    return chain([batch], stream)
