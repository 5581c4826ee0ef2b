"""A step of mmssl's loop as the benchmarks time it."""

from collections.abc import Iterator

import torch

from mmssl.batch import Batch
from mmssl.train import Run, one_step


def whole_step(run: Run, batches: Iterator[Batch], progress: float) -> None:
    """Forward, backward, update and what follows it; the gradient must be finite."""
    values = one_step(run, batches, progress)
    assert torch.isfinite(values["gradient_norm"])
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.objective.after_step(progress)
    run.step += 1
