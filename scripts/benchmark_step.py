"""A step of mmssl's loop as the benchmarks time it, how variants take turns, and what is asked of the machine."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

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


class Timed(NamedTuple):
    """Steps, the seconds that they took, and those in which they waited for the next batch."""

    steps: int
    seconds: float
    wait_seconds: float


def timed(step: Callable[[Any], None], source: Iterator[Any], seconds: float) -> Timed:
    """How many steps fit, after two that warm up; one at least."""
    for _ in range(2):
        step(next(source))
    began, steps, waited = instant(), 0, 0.0
    while steps == 0 or instant() - began < seconds:
        asked = time.perf_counter()
        given = next(source)
        waited += time.perf_counter() - asked
        step(given)
        steps += 1
    return Timed(steps, instant() - began, waited)


def apart(*arguments: str) -> dict[str, Any]:
    """What `benchmark.py` answers with its last line on stdout, in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("benchmark.py")), *arguments]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def interleaved(
    task: str, model: str, variants: Iterable[str], repeats: int, *arguments: str
) -> dict[str, list[dict[str, Any]]]:
    """What each variant of a model answers in each repeat (a b c, a b c, ...), each in a process of its own."""
    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for variant in [*runs] * repeats:
        runs[variant].append(apart(task, "--variant", variant, "--models", model, *arguments))
    return runs


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
