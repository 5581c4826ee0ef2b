"""What a run says of itself: metrics.jsonl, a progress line, and trackers that can fail without stopping it."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmssl.distributed import mean_over_processes
from mmssl.errors import CheckpointError


class Means:
    """Running means of scalars, kept on the device until they are read."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """One more observation of each value."""
        for name, value in values.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def read(self) -> dict[str, float]:
        """The means over observations and processes since the last reading; empties the store."""
        names, count = sorted(self.sums), max(1, self.count)
        means = mean_over_processes(torch.stack([self.sums[name] for name in names]) / count).tolist() if names else []
        self.sums, self.count = {}, 0
        return dict(zip(names, means, strict=True))


class Record:
    """Appends lines to metrics.jsonl (main process only) and forwards them to trackers."""

    def __init__(self, path: Path, accelerator: Any, trackers: list[str], *, step: int) -> None:
        self.path, self.accelerator = path, accelerator
        self.is_main = accelerator.is_main_process
        self.failures = 0
        self.trackers = trackers
        if self.is_main:
            forget_after(path, step)
        if trackers:
            self.attempt(lambda: accelerator.init_trackers("mmssl"))

    def write(self, step: int, values: dict[str, Any]) -> None:
        """One line for this step; CheckpointError where it cannot be written."""
        if self.is_main:
            try:
                with self.path.open("a") as file:
                    file.write(json.dumps({"step": step, **values}) + "\n")
            except OSError as error:
                raise CheckpointError(
                    f"{self.path}: {error.strerror}; expected a folder that can be written"
                ) from error
        if self.trackers:
            numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
            self.attempt(lambda: self.accelerator.log(numbers, step=step))

    def attempt(self, call: Any) -> None:
        """A tracker that fails is said once and counted; training goes on."""
        try:
            call()
        except Exception as error:  # a tracker is foreign code: whatever it raises, training must not stop
            self.failures += 1
            if self.failures == 1 and self.is_main:
                print(f"warning: tracker {', '.join(self.trackers)}: {error}; training goes on", file=sys.stderr)


def forget_after(path: Path, step: int) -> None:
    """Drop the lines of steps that a resumed run will take again, and a half-written last line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (json.JSONDecodeError, KeyError, TypeError):
            continue
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(path)


def peak_memory_bytes() -> int:
    """The most memory this process ever held: of the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Progress:
    """A bar with the time left on a terminal, plain lines otherwise; only the main process speaks."""

    def __init__(self, total_steps: int, *, step: int, progress: float, is_main: bool) -> None:
        self.started, self.first = time.monotonic(), progress
        self.is_main = is_main
        self.bar: Any = None
        if is_main and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[said]}"))
            self.bar = Bar(*columns, console=Console(stderr=True))
            self.bar.start()
            self.task = self.bar.add_task("", total=total_steps, completed=step, said="")

    def say(self, step: int, values: dict[str, Any], progress: float) -> None:
        """Show where the run is; `progress` in [0, 1] gives the time left."""
        if not self.is_main:
            return
        shown = [name for name in ("loss", "heldout.loss", "energy.auroc", "tokens_per_second") if name in values]
        said = "  ".join(f"{name} {values[name]:,.4g}" for name in shown)
        if self.bar is not None:
            self.bar.update(self.task, completed=step, total=max(step, round(step / max(progress, 1e-9))), said=said)
            return
        elapsed = time.monotonic() - self.started
        left = elapsed * (1 - progress) / max(progress - self.first, 1e-9)
        print(f"step {step}  {said}  {left:,.0f} s left", file=sys.stderr, flush=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        """Give the terminal back, whatever happened."""
        if self.bar is not None:
            self.bar.stop()
