"""Runs cases of a gate: imports the package once, forks the processes of each case, lets something happen to them, and
writes how they ended.

usage: python forks.py        reads folders, a line each; in each are tasks/toy.py and cases.json, it writes ends.json
"""

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.util import _exit_function as exit_of_interpreter  # pyright: ignore[reportAttributeAccessIssue]
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

import mmssl.checkpoint
import mmssl.distributed
import mmssl.media_task
import mmssl.order
import mmssl.pretraining
import mmssl.train
import mmssl.workers
from mmssl import cli
from mmssl.errors import CheckpointError

HANG_SECONDS = 2
CASE: dict[str, Any] = {  # what a case may say, and what it says where it does not
    "processes": 1,
    "overrides": [],  # of the config
    "gate": {},  # see toy_task.py
    "off": "",  # the mechanism that is switched off: a function of this module
    "signal": "",  # that is sent, to the ranks and workers named in `to`
    "to": [],  # "0", "1": ranks; "worker 0": the workers of rank 0
    "before": "",  # shell command
    "during": "",  # shell command that is run where a signal would be sent
    "run": "",  # the folder of the run: as the case is called
    "twice": False,  # a second run is started on the same folder after two steps of the first
    "after_steps": 0,  # when it happens; -1: before the first one
    "after_seconds": 0.0,  # and so much later
    "bound": 30.0,  # seconds after which the processes count as hanging, and are killed
}
GRACE_SECONDS = 2.0  # a launcher leaves to processes when one has failed


def run(name: str, case: dict[str, Any]) -> dict[str, Any]:
    """How the processes of a case ended: exit code of each (None: it hung), seconds since what happened or the start,
    the process ids that were left behind, files in shared memory, the step of the newest intact checkpoint (0: none)
    and the folders of checkpoints that are half written.
    """
    case = CASE | case
    case["run"] = case["run"] or name
    subprocess.run(["sh", "-c", case["before"]], check=True)
    began, port = time.monotonic(), free_port()
    ranks = [start(name, case, rank, port) for rank in range(case["processes"])]
    known = {*ranks}
    if case["twice"]:
        wait_for_steps(case["run"], 2, ranks)
        ranks.append(start(name, case, 1, port))
    if case["signal"] or case["during"]:
        wait_for_steps(case["run"], case["after_steps"], ranks)
        time.sleep(case["after_seconds"])
        subprocess.run(["sh", "-c", case["during"]], check=True)
        began = time.monotonic()
        for target in targets(case["to"], ranks):
            known.add(target)
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, getattr(signal, case["signal"]))
    known |= {child for rank in ranks for child in children(rank)}
    codes = outcome(ranks, began + case["bound"], is_one=case["processes"] > 1)
    seconds = time.monotonic() - began
    left = left_behind()
    for child in left:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    shared = [each for each in os.listdir("/dev/shm") if any(f"_{process}_" in each for process in known)]
    for each in shared:
        os.unlink(f"/dev/shm/{each}")
    half_written = [path.name for path in Path(case["run"], "checkpoints").glob(".tmp-*")]
    return {
        "codes": codes, "seconds": round(seconds, 2), "left": left, "shared": shared, "saved": saved(case["run"]),
        "half_written": half_written,
    }  # fmt: skip


def left_behind() -> list[int]:
    """Who has lost its parent, and does not end with it within some seconds."""
    deadline = time.monotonic() + 5
    while (left := [*children(os.getpid())]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def saved(folder: str) -> int:
    """The step of the newest intact checkpoint; 0 where there is none."""
    with contextlib.suppress(CheckpointError):
        found = mmssl.checkpoint.restore(Path(folder))
        return 0 if found is None else found.step
    return 0


def start(name: str, case: dict[str, Any], rank: int, port: int) -> int:
    """The process id of one rank, which runs the command line."""
    child = os.fork()
    if child:
        return child
    output = os.open(f"{name}.{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ["GATE"] = json.dumps(case["gate"])
    if case["processes"] > 1:
        here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": case["processes"], "MASTER_PORT": port}
        os.environ |= {key: str(value) for key, value in here.items()} | {"MASTER_ADDR": "127.0.0.1"}
    if case["off"]:
        globals()[case["off"]]()
    sys.argv = ["mmssl", "pretrain", "toy.yaml", f"run={case['run']}", *case["overrides"]]
    code = 99
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        with contextlib.suppress(BaseException):
            exit_of_interpreter()  # waits for workers
        os._exit(code)


def outcome(ranks: list[int], deadline: float, *, is_one: bool) -> list[int | None]:
    """The exit codes; of one run, as a launcher does, it ends the others some time after one has failed."""
    codes: dict[int, int | None] = {}
    while len(codes) < len(ranks) and time.monotonic() < deadline:
        for rank in {*ranks} - {*codes}:
            process, status = os.waitpid(rank, os.WNOHANG)
            if process:
                codes[rank] = os.waitstatus_to_exitcode(status)
                if codes[rank] and is_one:
                    deadline = min(deadline, time.monotonic() + max(GRACE_SECONDS, 1.5 * HANG_SECONDS))
        time.sleep(0.01)
    for rank in {*ranks} - {*codes}:
        codes[rank] = None
        os.kill(rank, signal.SIGKILL)
        os.waitpid(rank, 0)
    return [codes[rank] for rank in ranks]


def wait_for_steps(name: str, count: int, ranks: list[int]) -> None:
    """Until so many steps are logged (-1: until the run folder is opened), or a process has ended."""
    path = Path(name, "metrics.jsonl" if count >= 0 else "environment.json")
    while {*ranks} <= {*children(os.getpid())}:
        if path.exists() and path.read_text().count("\n") >= count:
            return
        time.sleep(0.01)


def targets(names: list[str], ranks: list[int]) -> Iterator[int]:
    """The process ids that are meant."""
    for name in names:
        rank = ranks[int(name.removeprefix("worker "))]
        yield from workers_of(rank) if name.startswith("worker") else [rank]


def workers_of(rank: int) -> Iterator[int]:
    """Its children that read samples."""
    for child in children(rank):
        if Path(f"/proc/{child}/comm").read_text().startswith("pt_data_worker"):
            yield child


def children(parent: int) -> Iterator[int]:
    """The process ids of the children that live, or are stopped."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, _, rest = path.read_text().rpartition(") ")
            state, found = rest.split()[:2]
            if int(found) == parent and state != "Z":
                yield int(path.parent.name)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


# What a control switches off.


def decides_alone() -> None:
    """Each process by what it sees itself."""
    mmssl.train.largest = lambda *values: [float(value) for value in values]


def is_not_checked() -> None:
    """Whether numbers are finite."""
    torch.isfinite = lambda value: torch.ones_like(value, dtype=torch.bool)


def is_not_told_apart() -> None:
    """A process that is lost, from any other error."""
    mmssl.distributed.all_alive = contextlib.nullcontext


def workers_outlive() -> None:
    """The end of a worker with the process it works for."""
    mmssl.order.die_with_parent = lambda worker: None


def workers_obey() -> None:
    """That workers leave signals to the process they work for."""
    signal.pthread_sigmask = lambda how, mask: set()


def workers_are_left() -> None:
    """The end of the workers with the run."""
    mmssl.workers.stop_workers = lambda workers: None


def leaves_shared_memory() -> None:
    """That shared memory has no name."""
    Path(f"/dev/shm/torch_{os.getpid()}_left_1").touch()


def is_not_saved() -> None:
    """The answer of the loop; only what answers outside of it is left."""
    mmssl.train.asked_to_stop.__enter__ = lambda self: self
    mmssl.train.asked_to_stop.__exit__ = lambda self, *error: None


def is_not_locked() -> None:
    """The lock."""
    fcntl.flock = lambda descriptor, operation: None


def is_not_asked_for_room() -> None:
    """The look at the free space: the disk is full amid a save."""
    mmssl.checkpoint.require_free = lambda final, needed: None


def is_not_removed() -> None:
    """The removal of what is half written, and the look at the free space."""
    mmssl.checkpoint.shutil.rmtree = lambda *arguments, **options: None
    is_not_asked_for_room()


class Forked(DataLoader):
    """Workers that are forked: a spawned one imports the package for five seconds."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        context = options.pop("multiprocessing_context")
        super().__init__(*arguments, multiprocessing_context=context and "fork", **options)


def main() -> None:
    """The cases of each folder, one after the other; "done" after each folder."""
    torch.set_num_threads(1)
    mmssl.order.DataLoader = Forked
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: who loses its parent becomes a child of this process
    for folder in sys.stdin:
        os.chdir(folder.strip())
        cases = json.loads(Path("cases.json").read_text())
        Path("ends.json").write_text(json.dumps({name: run(name, case) for name, case in cases.items()}))
        print("done", flush=True)


if __name__ == "__main__":
    main()
