"""The one training loop."""

import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import Tensor

from mmssl.batch import Batch
from mmssl.checkpoint import Restored, fault, restore, save
from mmssl.config import Config, hash_of
from mmssl.distributed import answer_within, largest, wait
from mmssl.errors import CheckpointError, NumericError, Preempted
from mmssl.evaluate.alarm import Alarm, reading
from mmssl.evaluate.spike import Spikes
from mmssl.metrics import Means, Progress, Record, peak_memory_bytes
from mmssl.objectives.base import Objective
from mmssl.optimizer import optimizer, set_state, state_of
from mmssl.order import Slots
from mmssl.random import hashed
from mmssl.schedule import scale
from mmssl.sharding import collected, local, shard, whole
from mmssl.stopping import asked_to_stop
from mmssl.weights import copy_into, tensors_of


@dataclass
class Run:
    """All that changes in training, so all that a checkpoint holds."""

    objective: Objective
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    config: Config
    model: torch.nn.Module  # the objective as Accelerate wraps it
    data: str = ""  # fingerprint of the samples: a run resumes on the same data only
    step: int = 0
    samples_seen: int = 0
    seconds: float = 0.0
    tokens_per_sample: float = 0.0
    parameters: dict[int, str] = field(default_factory=dict)  # id -> name, tied weights once

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return Path(self.config.run)

    @property
    def slots(self) -> Slots:
        """Which samples of each step this process reads."""
        accelerator, train = self.accelerator, self.config.train
        return Slots(train.batch_size, train.accumulate, accelerator.process_index, accelerator.num_processes)

    def progress(self, steps: int | float, seconds: float) -> float:
        """How far the run is after so many steps, in [0, 1]: by steps, or by time where that is further."""
        limit = self.config.train.seconds
        return min(1.0, max(steps / self.config.train.steps, seconds / limit if limit else 0.0))


def has_bf16() -> bool:
    """Whether this machine multiplies bfloat16 in hardware."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def launch(config: Config) -> Accelerator:
    """Join the other processes, if there are any, and settle device, precision and memory."""
    keep_pages()
    precision = config.train.precision
    bf16 = has_bf16() if precision == "auto" else precision == "bf16"
    installed = [str(tracker) for tracker in get_available_trackers()]
    for name in sorted({*config.track} - {*installed}):
        print(f"warning: tracker {name}: not installed; expected mmssl[{name}]; training goes on", file=sys.stderr)
    return Accelerator(
        mixed_precision="bf16" if bf16 else "no",
        cpu=not torch.cuda.is_available(),
        log_with=[name for name in config.track if name in installed] or None,
        project_dir=config.run,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
    )


def keep_pages() -> None:
    """Let glibc keep freed memory: 27,000 page faults a step took 15 % of a BERT step on a CPU; others ignore it."""
    library = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(library, "mallopt"):
        library.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        library.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def start(
    objective: Objective, config: Config, accelerator: Accelerator, *, data: str = "", tokens_per_sample: float = 0.0
) -> Run:
    """Place the objective, make its optimizer, and go on from the run folder's newest checkpoint if there is one."""
    objective.to(accelerator.device)
    found = newest(Path(config.run), data)
    if found is not None:
        restore_weights(objective, found.tensors["model"])
    is_shared = config.train.sharding == "full"
    if is_shared:
        shard(objective)
    names = {id(weight): name for name, weight in objective.named_parameters()}
    made = optimizer(
        objective, config.train, torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
    )
    run = Run(
        objective, made, accelerator, config, objective, data, parameters=names, tokens_per_sample=tokens_per_sample
    )
    run.slots.size()  # refuses a batch that cannot be split
    if found is not None:
        set_state(made, names, found.tensors["optimizer"])
        run.step, run.samples_seen, run.seconds = found.step, found.state["samples_seen"], found.state["seconds"]
    # what is shared already is not wrapped for DDP: `evaluation_mode` is the precision alone
    run.model = accelerator.prepare_model(objective, evaluation_mode=is_shared)
    run.optimizer = accelerator.prepare_optimizer(made)
    return run


def newest(folder: Path, data: str) -> Restored | None:
    """The newest intact checkpoint of a run folder; CheckpointError where it was trained on other data."""
    found = restore(folder)
    if found is not None and found.state["data"] != data:
        raise CheckpointError(
            f"{found.path}: the data changed since ({found.state['data']} -> {data}); "
            "expected the same samples: bring them back, or start in another run folder"
        )
    return found


def restore_weights(objective: Objective, tensors: dict[str, Tensor]) -> None:
    """Copy a checkpoint's tensors into an objective of the same shape."""
    copy_into(objective, tensors, "model")


def store(run: Run) -> None:
    """Write a checkpoint (main process) while the others wait; it is the same whoever held the weights."""
    inner = getattr(run.optimizer, "optimizer", run.optimizer)
    tensors = {
        "model": collected(tensors_of(run.objective)), "optimizer": collected(state_of(inner, run.parameters)),
    }  # fmt: skip
    if run.accelerator.is_main_process:
        state = {
            "samples_seen": run.samples_seen, "seconds": run.seconds, "data": run.data, "config": hash_of(run.config),
            "processes": run.accelerator.num_processes,
        }  # fmt: skip
        save(run.folder, run.step, tensors, state, keep=run.config.train.keep_checkpoints)
    wait()


def train(
    run: Run, batches: Iterator[Batch], *, until: int, evaluations: Sequence[Callable[[Run], dict]] = (),
    before_step: Callable[[Run], None] = lambda run: None,
) -> None:  # fmt: skip
    """Train until a number of steps (or until train.seconds are over), logging, evaluating and saving on the way.

    Raises NumericError before a loss or gradient that is not finite can reach the weights, with train.stop_on_spike
    also before one that leaps up, and with train.stop_on_collapse where embeddings collapse; Preempted after SIGTERM or
    Ctrl-C; all leave a checkpoint of the last good step.
    """
    config, means = run.config.train, Means()
    record = Record(run.folder / "metrics.jsonl", run.accelerator, list(run.config.track), step=run.step)
    begun = run.progress(run.step, run.seconds)
    shown = Progress(until, step=run.step, progress=begun, is_main=run.accelerator.is_main_process)
    began, before = time.monotonic(), run.seconds
    alarm, spikes = Alarm(stops=config.stop_on_collapse, is_main=run.accelerator.is_main_process), Spikes()
    logged_step, logged_at, collapsed = run.step, began, False
    answer_within(config.hang_seconds)
    with asked_to_stop() as stop, shown:
        while run.step < until and not (config.seconds and run.seconds >= config.seconds):
            before_step(run)
            # the schedule is read in the middle of a step: at its ends the first or the last would have rate 0
            values = one_step(run, batches, run.progress(run.step + 0.5, run.seconds))
            stopping, run_seconds = decided(run, values, spikes, stop.asked, before + time.monotonic() - began)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            run.step, run.samples_seen, run.seconds = run.step + 1, run.samples_seen + config.batch_size, run_seconds
            run.objective.after_step(run.progress(run.step, run.seconds))
            means.add(values)
            fault("after_step")
            finished = run.step >= until or bool(config.seconds and run.seconds >= config.seconds)
            evaluating = run.step % config.evaluate_every_steps == 0 or finished
            if run.step % config.log_every_steps == 0 or evaluating or stopping:
                line = log_line(run, means, run.step - logged_step, time.monotonic() - logged_at)
                for evaluation in evaluations if evaluating else ():
                    line |= evaluation(run)
                record.write(run.step, line)
                shown.say(run.step, line, run.progress(run.step, run.seconds))
                collapsed = alarm.hear(run.step, line)
                logged_step, logged_at = run.step, time.monotonic()
            if run.step % config.save_every_steps == 0 or finished or stopping or collapsed:
                store(run)
            if collapsed:
                raise NumericError(f"step {run.step}: {alarm.sentence}; its weights are saved (train.stop_on_collapse)")
            if stopping and not finished:
                raise Preempted(f"stopped at step {run.step}; checkpoint written, the same command resumes")


def one_step(run: Run, batches: Iterator[Batch], progress: float) -> dict[str, Tensor]:
    """Forward and backward over the micro-batches of a step; gradients are clipped, weights untouched."""
    config, accelerator = run.config.train, run.accelerator
    rate = config.learning_rate * scale(config.schedule, progress, config.warmup_ratio)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    total: dict[str, Tensor] = {}
    spread: dict[str, Tensor] = {}
    run.model.train()
    for micro in range(config.accumulate):
        batch = next(batches).to(accelerator.device)
        # dropout is a function of the step, so a resumed run needs no generator state
        torch.manual_seed(hashed(run.config.seed, "model", run.step, micro, accelerator.process_index))
        last = micro == config.accumulate - 1
        with nullcontext() if last else accelerator.no_sync(run.model):
            output = run.model(batch)
            terms = {name: term / config.accumulate for name, term in output.terms.items()}
            accelerator.backward(torch.stack([*terms.values()]).sum())
        for name, term in terms.items():
            total[name] = total.get(name, 0.0) + term.detach()
        spread = {**reading(output), **output.statistics}
    norm = accelerator.clip_grad_norm_(run.model.parameters(), config.gradient_clip)
    assert isinstance(norm, Tensor)
    loss = torch.stack([*total.values()]).sum()
    return {**total, "loss": loss, "gradient_norm": whole(norm.detach()), **spread}


def decided(run: Run, values: dict[str, Tensor], spikes: Spikes, asked: bool, seconds: float) -> tuple[bool, float]:
    """Whether to stop and how late it is, alike on all processes; NumericError, with the last good step saved, where on
    one of them something is not finite or, with train.stop_on_spike, the loss leaps up: else that is only told.
    """
    is_finite_here, loss = bool(torch.isfinite(torch.stack([*values.values()])).all()), float(values["loss"])
    leap = loss if is_finite_here and spikes.hear(loss) else -inf
    bad, stopping, seconds, leap = largest(float(not is_finite_here), float(asked), seconds, leap)
    if bad:
        if is_finite(run.objective):
            store(run)  # else the last step itself overflowed: the checkpoint before it is the good one
        raise NumericError(not_finite(run, values))
    said = spikes.sentence(run.step + 1, leap)
    if said and run.config.train.stop_on_spike:
        store(run)
        raise NumericError(f"{said}; the weights before it are saved (train.stop_on_spike)")
    if said and run.accelerator.is_main_process:
        print(f"warning: {said}", file=sys.stderr, flush=True)
    return bool(stopping), seconds


def log_line(run: Run, means: Means, steps: int, seconds: float) -> dict[str, Any]:
    """What is said of the steps since the last line."""
    rate = steps * run.config.train.batch_size / max(seconds, 1e-9)
    return {
        "samples_seen": run.samples_seen, "seconds": round(run.seconds, 3), **means.read(),
        "learning_rate": run.optimizer.param_groups[0]["lr"], "samples_per_second": rate,
        "tokens_per_second": rate * run.tokens_per_sample, "peak_memory_bytes": peak_memory_bytes(),
    }  # fmt: skip


def is_finite(objective: Objective) -> bool:
    """Whether all weights are, on all processes."""
    is_fine = all(bool(torch.isfinite(local(weight)).all()) for weight in objective.parameters())
    return not largest(float(not is_fine))[0]


def not_finite(run: Run, values: dict[str, Tensor]) -> str:
    """The line that says what was not finite."""
    said = ", ".join(f"{name} {float(value):g}" for name, value in values.items())
    return (
        f"step {run.step + 1}: {said}; expected finite numbers; the last finite weights are saved; "
        "try a lower train.learning_rate, a longer train.warmup_ratio or train.precision=fp32"
    )


def reseed(seed: int) -> None:
    """Seed every global generator, so that the first weights are a function of the seed."""
    set_seed(hashed(seed, "init") & 0xFFFFFFFF)


def leave() -> None:
    """End what would abort this process at exit: the process group."""
    PartialState().destroy_process_group()
