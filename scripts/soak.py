"""Train on two processes while faults come down on them, and compare the end with that of a run left in peace.

usage: python scripts/soak.py [--minutes 60] [--seed 0] [--every 30 60] [--folder DIR] [--out FILE]

Every 30 to 60 seconds (of a run that makes progress) a fault is drawn: a process is killed, or stopped; the newest
checkpoint is corrupted and both are killed; the disk fills; SIGTERM comes to one of them, or to both. When all have
ended, in time, the same command starts again. At the end SIGTERM stops the run at some step; another run goes straight
to that step. Weights, moments and the ledger of samples must be the same, bit for bit.

The disk is full for a process that may not write more than some bytes to a file. The run is slowed, since time counts
here and not steps; the one in peace is not.
"""

import argparse
import json
import os
import random
import resource
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import torch

import mmssl.cli
import mmssl.pretraining
import mmssl.train
from mmssl.batch import Batch
from mmssl.checkpoint import restore
from mmssl.config import load_config
from mmssl.runs import task_of

CONFIG = """
task: masked_language
run: run
data: {source: savanna, samples: 600, document: line, row_length: 64, heldout: 0.1}
encoder: {name: bert, layers: 1, width: 32, heads: 2, intermediate: 64, dropout: 0.1, max_positions: 64}
tokenizer: {kind: word, vocabulary_size: 300}
train: {steps: 1000000, batch_size: 8, accumulate: 2, precision: fp32, hang_seconds: 10, save_every_steps: 50,
        evaluate_every_steps: 1000000, log_every_steps: 1, schedule: constant, warmup_ratio: 0.0}
evaluate: {documents: 32}
"""
PAUSE_SECONDS = 0.05  # that each micro-batch takes in the disturbed run
FULL_BYTES = 4096  # a file may have on a full disk
END_SECONDS = 60.0  # in which all processes must have ended after a fault
EXPECTED = {  # fault -> the exit codes that a process may answer it with; a launcher would kill one that is stopped
    "kill": {6, -9}, "stop": {6, -9}, "corrupt": {6, -9}, "full": {4, 6}, "sigterm": {75}, "sigterm to all": {75},
}  # fmt: skip


class Ledger(NamedTuple):
    """The samples that each (step, process, micro-batch) was trained on; `differ` counts those read otherwise again."""

    samples: dict[tuple[int, int, int], list[list[int]]]
    differ: int


def main() -> None:
    """The disturbed run, the one in peace, and what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, nargs=2, default=(30.0, 60.0), metavar=("LEAST", "MOST"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path(mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.yaml").write_text(CONFIG)
    torch.set_num_threads(1)
    task_of(load_config(folder / "soak.yaml"))  # imports what the task needs
    began = time.monotonic()
    faults = disturbed(folder, random.Random(asked.seed), asked.minutes * 60, tuple(asked.every))
    until = newest_step(folder / "disturbed")
    peaceful = start(folder, "peace", until=until)
    for process in peaceful:
        process.join()
    codes = [process.exitcode for process in peaceful]
    result = compared(folder) | {
        "faults": dict(Counter(fault["kind"] for fault in faults)),
        "unexpected": [fault for fault in faults if not fault["is_expected"]],
        "longest_end_seconds": max(fault["seconds"] for fault in faults), "steps": until, "peaceful_codes": codes,
        "minutes": round((time.monotonic() - began) / 60, 2), "seed": asked.seed, "log": faults,
    }  # fmt: skip
    text = json.dumps(result, indent=1)
    (asked.out or folder / "soak.json").write_text(text + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "log"}, indent=1))
    is_same = result["largest_difference"] == 0 and result["ledger_differs"] == 0
    sys.exit(not (is_same and not result["unexpected"] and codes == [0, 0]))


def disturbed(folder: Path, draw: random.Random, seconds: float, every: tuple[float, float]) -> list[dict[str, Any]]:
    """Train with faults until the time is over; the last fault is SIGTERM."""
    faults, end, kinds = [], time.monotonic() + seconds, list[str]()
    while True:
        step = newest_step(folder / "disturbed")
        processes = start(folder, "disturbed", pause=PAUSE_SECONDS)
        wait_for_progress(folder / "disturbed", step, processes)
        is_last = time.monotonic() + every[0] > end
        if not is_last:
            time.sleep(draw.uniform(*every))
        kinds = kinds or draw.sample(sorted(EXPECTED), len(EXPECTED))  # each kind comes before any comes again
        kind = "sigterm" if is_last else kinds.pop()
        began = time.monotonic()
        with suppress(ProcessLookupError):  # who has ended already shows in the codes
            inject(kind, folder / "disturbed", processes, draw)
        codes = ended(processes)
        taken = round(time.monotonic() - began, 2)
        is_expected = {*codes} <= EXPECTED[kind] and taken < END_SECONDS
        faults.append({"kind": kind, "codes": codes, "seconds": taken, "is_expected": is_expected})
        print(f"{kind}: {codes} after {taken} s, at step {newest_step(folder / 'disturbed')}", flush=True)
        if is_last:
            return faults


def inject(kind: str, run: Path, processes: list[Any], draw: random.Random) -> None:
    """Let a fault happen."""
    one = draw.choice(processes)
    if kind == "kill":
        os.kill(one.pid, signal.SIGKILL)
    elif kind == "stop":
        os.kill(one.pid, signal.SIGSTOP)
    elif kind == "corrupt":
        for process in processes:
            os.kill(process.pid, signal.SIGKILL)
        checkpoints = sorted((run / "checkpoints").glob("step-*"))
        file = draw.choice(sorted(checkpoints[-1].iterdir()))
        content = bytearray(file.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
    elif kind == "full":
        for process in processes:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FULL_BYTES, FULL_BYTES))
    else:
        for process in processes if kind == "sigterm to all" else [one]:
            os.kill(process.pid, signal.SIGTERM)


def ended(processes: list[Any], grace: float = 20.0) -> list[int]:
    """The exit codes; as a launcher does, it kills who is left some time after one has ended."""
    deadline = time.monotonic() + END_SECONDS
    while any(process.exitcode is None for process in processes) and time.monotonic() < deadline:
        if any(process.exitcode is not None for process in processes):
            deadline = min(deadline, time.monotonic() + grace)
            grace = END_SECONDS
        time.sleep(0.05)
    for process in processes:
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def start(folder: Path, name: str, *, pause: float = 0.0, until: int = 0) -> list[Any]:
    """The two processes of a run, as a launcher starts them; forked, so that the package is imported once."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    processes = [
        get_context("fork").Process(target=trained, args=(folder, name, rank, port, pause, until)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    return processes


def wait_for_progress(run: Path, step: int, processes: list[Any]) -> None:
    """Until the run has saved two checkpoints more, so that each fault finds something to lose."""
    while newest_step(run) < step + 100 and all(process.exitcode is None for process in processes):
        time.sleep(0.2)


def newest_step(run: Path) -> int:
    """The step of the newest checkpoint, damaged or not; 0 where there is none."""
    return max((int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*")), default=0)


def compared(folder: Path) -> dict[str, Any]:
    """What differs between the two runs."""
    ends = [restore(folder / name) for name in ("disturbed", "peace")]
    mine, theirs = ends
    assert mine is not None
    assert theirs is not None
    pairs = [
        (mine.tensors[group][name], theirs.tensors[group][name])
        for group in mine.tensors
        for name in mine.tensors[group]
    ]
    ledgers = [ledger_of(folder, name, mine.step) for name in ("disturbed", "peace")]
    keys = {*ledgers[0].samples} | {*ledgers[1].samples}
    differ = sum(ledgers[0].samples.get(key) != ledgers[1].samples.get(key) for key in keys)
    return {
        "saved_steps": [mine.step, theirs.step], "tensors": len(pairs),
        "largest_difference": max(float((a.double() - b.double()).abs().max()) for a, b in pairs),
        "ledger_entries": len(keys), "ledger_differs": differ + ledgers[0].differ,
    }  # fmt: skip


def ledger_of(folder: Path, name: str, until: int) -> Ledger:
    """What a run was trained on up to a step; a line that a kill has cut does not count."""
    samples, differ = {}, 0
    for path in folder.glob(f"{name}.?.ledger"):
        for line in lines_of(path):
            step, rank, micro, read = line
            if step <= until:
                differ += samples.setdefault((step, rank, micro), read) != read
    return Ledger(samples, differ)


def lines_of(path: Path) -> Iterator[list[Any]]:
    """The whole lines of a ledger."""
    for line in path.read_text().splitlines():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def trained(folder: Path, name: str, rank: int, port: int, pause: float, until: int) -> None:
    """One process: the command line, with a ledger; `until` ends the training at that step."""
    os.chdir(folder)
    log = os.open(f"{name}.{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {key: str(value) for key, value in here.items()}
    one_step, train, last = mmssl.train.one_step, mmssl.train.train, until

    def noted(run: mmssl.train.Run, batches: Iterator[Batch], progress: float) -> Any:
        def each() -> Iterator[Batch]:
            for micro in range(run.config.train.accumulate):
                batch = next(batches)
                read = [batch.draw.epoch.tolist(), batch.draw.index.tolist()]
                with open(f"{name}.{rank}.ledger", "a") as file, suppress(OSError):  # no save follows on a full disk
                    file.write(json.dumps([run.step + 1, rank, micro, read]) + "\n")
                    file.flush()
                time.sleep(pause)
                yield batch

        return one_step(run, each(), progress)

    def up_to(run: mmssl.train.Run, batches: Iterator[Batch], *, until: int, **options: Any) -> None:
        train(run, batches, until=last or until, **options)
        sys.exit()  # what follows training does not touch the weights

    mmssl.train.one_step, mmssl.pretraining.train = noted, up_to
    sys.argv = ["mmssl", "pretrain", "soak.yaml", f"run={name}"]
    mmssl.cli.main()


if __name__ == "__main__":
    main()
