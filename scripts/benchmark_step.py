"""A step of mmssl's loop as the benchmarks time it, and what they ask of the machine."""

import resource
import sys
import time
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


def accelerator_or_cpu() -> torch.device:
    """Where a benchmark runs."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def instant() -> float:
    """Seconds of a clock, after all that the accelerator was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_bytes() -> int:
    """The most memory that this process held: of the accelerator where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def matrix_product(dtype: torch.dtype, repeats: int = 10) -> float:
    """The best of several products of square matrices, in GFLOP/s; of sizes that fill the machine."""
    device = accelerator_or_cpu()
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size).to(device, dtype) for _ in range(2))
    times = []
    for _ in range(repeats):
        start = instant()
        torch.mm(left, right)
        times.append(instant() - start)
    return 2 * size**3 / min(times) / 1e9
