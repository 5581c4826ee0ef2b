"""Runs tiny pretrainings that are killed, resumed and changed: imports the package once and forks the ranks of each.

usage: python killing.py plan.json        writes found.json and the folders of all runs where it is started
"""

import json
import os
import signal
import sys
import time
import traceback
import zlib
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from running import forget_processes
from tiny import part, tiny_batch, tiny_objective
from torch import Tensor
from torch.utils.data import DataLoader

import mmssl.order
import mmssl.pretraining
import mmssl.train
from mmssl import checkpoint
from mmssl.batch import Batch
from mmssl.config import load_config
from mmssl.errors import MmsslError
from mmssl.manifest import damage
from mmssl.runs import open_folder

# 20 samples in steps of 8: a run of 4 steps begins a second epoch, and an epoch ends within a step
CONFIG = """task: masked_language
run: run
train:
  steps: 4
  batch_size: 8
  precision: fp32
  learning_rate: 1e-2
  save_every_steps: 1
  keep_checkpoints: 2
  evaluate_every_steps: 100
  log_every_steps: 1
"""
CASE: dict[str, Any] = {  # what a run may say, and what it says where it does not
    "method": "bert", "samples": 20, "processes": 1, "overrides": [], "off": "", "fault": "", "faulty": 0,
    "kill_seconds": -1.0,
}  # fmt: skip
HANG_SECONDS = 300


class Data:
    """The samples of a method as a task of its modality would have them."""

    fingerprint = "tiny"

    def __init__(self, method: str, count: int) -> None:
        self.method, self.size, self.sizes, self.train = method, count, (count,), self

    def summary(self) -> str:
        return f"{self.size} samples of {self.method}"

    def __call__(self, indices: np.ndarray) -> dict[str, list[Tensor]]:
        return part(samples_of(self.method, self.size), [int(index) for index in indices]).views


@cache
def samples_of(method: str, count: int) -> Batch:
    """All samples; made before the first fork, so made once."""
    return tiny_batch(method, count)


def run(name: str, case: dict[str, Any]) -> list[int]:
    """How the ranks of a run ended; where one fails, the others are killed, as a launcher does it."""
    case = CASE | case
    samples_of(case["method"], case["samples"])
    Path(name).mkdir(exist_ok=True)
    attempt = len([*Path(name).glob("attempt-*")])
    Path(name, f"attempt-{attempt:02d}").mkdir()
    ranks = [start(name, case, rank, attempt) for rank in range(case["processes"])]
    ends: dict[int, int] = {}
    kill_at = began = time.monotonic()
    while len(ends) < len(ranks):
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended:
            ends[ended] = os.waitstatus_to_exitcode(status)
        is_trained = ledger_of(name, attempt, 0).exists()
        kill_at = kill_at if is_trained else time.monotonic()
        is_due = 0 <= case["kill_seconds"] <= time.monotonic() - kill_at and is_trained
        if is_due or any(ends.values()) or time.monotonic() - began > HANG_SECONDS:
            for rank in {*ranks} - ends.keys():
                os.kill(rank, signal.SIGKILL)
        time.sleep(0.005)
    return [ends[rank] for rank in ranks]


def start(name: str, case: dict[str, Any], rank: int, attempt: int) -> int:
    """A forked rank; it answers with the exit code of the command line, 99 where anything unforeseen is raised."""
    if child := os.fork():
        return child
    log = os.open(f"{name}/attempt-{attempt:02d}/{rank}.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["MMSSL_FAULT"] = case["fault"] if rank == case["faulty"] else ""
    code = 99
    try:
        if case["processes"] > 1:
            meet(name, case["processes"], rank, attempt)
        pretrain(name, case, rank, attempt)
        code = 0
    except MmsslError as error:
        print(error)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def meet(name: str, processes: int, rank: int, attempt: int) -> None:
    """Join the other ranks; nobody listens at the port that Accelerate looks for."""
    os.environ |= {"WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}  # fmt: skip
    meeting = f"file://{Path(name).absolute()}/attempt-{attempt:02d}/meeting"
    patience = timedelta(seconds=HANG_SECONDS)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes, timeout=patience)


def pretrain(name: str, case: dict[str, Any], rank: int, attempt: int) -> None:
    """What `mmssl pretrain` does once it has data and an objective."""
    if case["off"]:
        OFF[case["off"]](case["samples"])
    mmssl.order.DataLoader = forked
    config = load_config("tiny.yaml", [f"run={name}", *case["overrides"]])
    note_samples(ledger_of(name, attempt, rank))
    forget_processes()
    objective = tiny_objective(case["method"])
    objective.remember(case["samples"])
    accelerator = mmssl.train.launch(config)
    with open_folder(config):
        data = Data(case["method"], case["samples"])
        mmssl.pretraining.pretrain(
            objective, config, accelerator, data, tokens_per_sample=0.0, evaluation=lambda run: {}
        )


def note_samples(path: Path) -> None:
    """Before the weights of a step change, its samples are written down: epoch, number and a sum over their bytes."""
    one_step = mmssl.train.one_step

    def noted(run, batches, progress: float) -> dict[str, Tensor]:
        seen: list[list[int]] = []

        def note(batch: Batch) -> Batch:
            views = [view.numpy() for name in sorted(batch.views) for view in batch.views[name]]
            for row, (epoch, index) in enumerate(zip(batch.draw.epoch.tolist(), batch.draw.index.tolist())):
                seen.append([epoch, index, zlib.crc32(b"".join(view[row].tobytes() for view in views))])
            return batch

        values = one_step(run, map(note, batches), progress)
        with path.open("a") as file:
            file.write(json.dumps([run.step, seen]) + "\n")
        return values

    mmssl.train.one_step = noted


def ledger_of(name: str, attempt: int, rank: int) -> Path:
    """Where a rank writes down which samples it read."""
    return Path(name, f"attempt-{attempt:02d}", f"{rank}.jsonl")


def ledger(name: str) -> dict[int, list[list[int]]]:
    """The samples of each step over all ranks, as the last attempt that took the step read them; sorted."""
    steps: dict[int, list[list[int]]] = {}
    for attempt in sorted(Path(name).glob("attempt-*")):
        mine: dict[int, list[list[int]]] = {}
        for path in attempt.glob("*.jsonl"):
            for line in path.read_text().splitlines():
                step, seen = json.loads(line)
                mine[step] = mine.get(step, []) + seen
        steps |= {step: sorted(seen) for step, seen in mine.items()}
    return steps


def forked(*arguments: Any, multiprocessing_context: str | None, **options: Any) -> DataLoader:
    """A loader whose workers are forked: one that is spawned imports torch anew, which takes longer than all else."""
    return DataLoader(*arguments, multiprocessing_context=multiprocessing_context and "fork", **options)


def write_in_place(samples: int) -> None:
    """Off: the checkpoint is written under its own name."""

    def written(final: Path, *content: Any) -> None:
        final.mkdir()
        checkpoint.write_files(final, *content)

    checkpoint.write_and_rename = written


def begin_again(samples: int) -> None:
    """Off: a resumed run reads its epoch from the start, as a loader does that forgot its place."""
    batches = mmssl.pretraining.batches

    def from_start(*arguments: Any, samples_seen: int, **options: Any):
        return batches(*arguments, samples_seen=samples_seen // samples * samples, **options)

    mmssl.pretraining.batches = from_start


def forget_buffers(samples: int) -> None:
    """Off: queues, memories, labels and statistics are not put back."""
    put_back_only(lambda tensor: isinstance(tensor, torch.nn.Parameter))


def forget_teachers(samples: int) -> None:
    """Off: what takes no gradient, as the weights of teachers, is not put back."""
    put_back_only(lambda tensor: tensor.requires_grad or not isinstance(tensor, torch.nn.Parameter))


def put_back_only(is_wanted: Callable[[Tensor], bool]) -> None:
    """Off: some tensors of a resumed objective are those that it began with."""
    copy_into = mmssl.train.copy_into

    def some(module: torch.nn.Module, tensors: dict[str, Tensor], name: str) -> None:
        held = [*module.named_parameters(), *module.named_buffers()]
        fresh = {key: tensor.detach().clone() for key, tensor in held if not is_wanted(tensor)}
        copy_into(module, tensors | fresh, name)

    mmssl.train.copy_into = some


def forget_moments(samples: int) -> None:
    """Off: the optimizer begins anew."""
    mmssl.train.set_state = lambda *arguments: None


OFF = {
    "write_in_place": write_in_place, "begin_again": begin_again, "forget_buffers": forget_buffers,
    "forget_teachers": forget_teachers, "forget_moments": forget_moments,
}  # fmt: skip


def difference(one: str, other: str) -> float:
    """The largest between two runs' weights, buffers and moments at the end; infinite where one is not finished."""
    first, second = (checkpoint.restore(Path(name)) for name in (one, other))
    if first is None or second is None or first.step != second.step:
        return float("inf")
    most = 0.0
    for group, tensors in first.tensors.items():
        if {*tensors} != {*second.tensors[group]}:
            return float("inf")
        for key, tensor in tensors.items():
            if not torch.equal(tensor, second.tensors[group][key]):
                most = max(most, float((tensor.double() - second.tensors[group][key].double()).abs().max()))
    return most


def outcome(name: str, whole: str, case: dict[str, Any], attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """All attempts of a run, one after the other, and how its end differs from that of a whole run."""
    codes, damaged = [], []
    for attempt in attempts:
        codes.append(run(name, case | attempt))
        damaged += [str(path) for path in Path(name, "checkpoints").glob("step-*") if damage(path)]
    found = {"case": case, "attempts": attempts, "codes": codes, "damaged": damaged}
    if codes[-1] and any(codes[-1]):
        return found | {"difference": float("inf"), "ledger": []}
    same_samples = sorted(ledger(name).items()) == sorted(ledger(whole).items())
    return found | {"difference": difference(name, whole), "same_samples": same_samples, "ledger": ledger(name)}


def main(plan: dict[str, Any]) -> dict[str, Any]:
    """`whole` runs by name; then `cases` by name: the whole run it is to end like, what it is, and its attempts, of
    which one may be killed after a `share` of the time that the whole run trained.
    """
    found: dict[str, Any] = {"whole": {}, "cases": {}}
    for name, case in plan["whole"].items():
        codes = run(name, case)
        lines = ledger_of(name, 0, 0)
        seconds = Path(name, "latest").stat().st_mtime - lines.parent.stat().st_mtime if not any(codes) else 0.0
        found["whole"][name] = {"codes": codes, "seconds": seconds, "ledger": ledger(name)}
    for name, (whole, attempts) in plan["cases"].items():
        for attempt in attempts:
            if "share" in attempt:
                attempt["kill_seconds"] = attempt.pop("share") * found["whole"][whole]["seconds"]
        found["cases"][name] = outcome(name, whole, plan["whole"][whole], attempts)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    # a kill does not lose what the kernel holds; the order of syncs has its own gate
    os.fsync = lambda descriptor: None
    Path("tiny.yaml").write_text(CONFIG)
    Path("found.json").write_text(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
