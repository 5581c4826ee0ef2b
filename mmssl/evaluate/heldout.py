"""Held-out samples in batches, and what is said of them while training."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from mmssl.batch import Batch
from mmssl.distributed import alone
from mmssl.evaluate.collapse import panel, with_compared
from mmssl.evaluate.energy import of_matrix, summary
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.sharding import is_sharded

ROWS_AT_ONCE = 16


@runtime_checkable
class Read(Protocol):
    """The views of samples by their number; there are `size` of them."""

    @property
    def size(self) -> int: ...
    def __call__(self, indices: np.ndarray) -> dict[str, list[Tensor]]: ...


def heldout_batches(
    read: Read, seed: int, rows: int, device: torch.device, at_once: int = ROWS_AT_ONCE
) -> Iterator[Batch]:
    """At most `rows` held-out samples in their order, with the draws of epoch 0."""
    total = min(rows, read.size)
    for start in range(0, total, at_once):
        yield batch_of(read, seed, np.arange(start, min(total, start + at_once)), device)


def batch_of(read: Read, seed: int, index: np.ndarray, device: torch.device) -> Batch:
    """The samples of these numbers, with the draws of epoch 0."""
    draw = Draw(seed, torch.zeros(len(index), dtype=torch.long), torch.from_numpy(index))
    return Batch(read(index), draw).to(device)


def with_pair(part: Objective, batch: Batch) -> Batch:
    """Those samples that have all modalities which the energy of the objective compares."""
    if not part.paired:
        return batch
    return batch.chosen(torch.stack([batch.present(name) for name in part.paired]).all(0))


def heldout_metrics(
    run: Any, *, batches: Callable[[torch.device], Iterator[Batch]], thing: Callable[[Batch], Tensor] | None = None
) -> dict[str, float | str]:
    """Held-out loss, energy gap and collapse while training; the main process computes, for all, or all do, alike,
    where they share the weights. Samples of one `thing` are no wrong answers for each other.
    """
    objective: Objective = run.objective
    if not (run.accelerator.is_main_process or is_sharded(objective)):
        return {}
    objective.eval()
    total, losses, embeddings, compared, matched, others = 0, [], [], [], [], []
    with alone(), torch.no_grad(), run.accelerator.autocast():
        for batch in batches(run.accelerator.device):
            output = objective(batch)
            losses.append(torch.stack([*output.terms.values()]).sum() * len(output.energy))
            total += len(output.energy)
            embeddings.append(output.embedding.float())
            compared += [] if output.compared is None else [output.compared.float()]
            if len((pairs := with_pair(objective, batch)).draw.index):
                energies = of_matrix(objective.energies(pairs).float(), thing and thing(pairs))
                matched.append(energies[0])
                others.append(energies[1])
    if not total:
        return {}
    values: dict[str, float | str] = {"heldout.loss": float(torch.stack(losses).sum() / total)}
    if sum(map(len, others)):
        found = summary(torch.cat(matched), {"other": torch.cat(others)})
        values |= {name: value for name, value in found.items() if not name.startswith("energy.ladder")}
    if total > 1:
        values |= panel(torch.cat(embeddings))
    return with_compared(values, torch.cat(compared)) if total > 1 and compared else values
