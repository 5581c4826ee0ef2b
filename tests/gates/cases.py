"""Starts `forks.py` on the cases of a gate, in a folder with the toy task and its config."""

import atexit
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from running import TINY

HERE = Path(__file__).parent
QUICK = ("train.steps=100000", "train.save_every_steps=100000", "train.evaluate_every_steps=100000")
TWO = {"processes": 2, "overrides": ["train.hang_seconds=2", *QUICK]}
ONE = {"overrides": ["train.hang_seconds=2", *QUICK]}


class End(NamedTuple):
    """How the processes of a case ended; `codes` has None for one that hung, `log` what all of them said."""

    codes: list[int | None]
    seconds: float
    left: list[int]
    shared: list[str]
    saved: int
    half_written: list[str]
    folder: Path
    log: str


def prepared(folder: Path) -> None:
    """Puts the toy task and its config into a folder."""
    (folder / "tasks").mkdir(exist_ok=True)
    shutil.copy(HERE / "toy_task.py", folder / "tasks" / "toy.py")
    (folder / "toy.yaml").write_text(TINY.replace("task: masked_language", "task: toy"))


def environment() -> dict[str, str]:
    """In which the task finds the tests, and all find the package."""
    path = os.pathsep.join([str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


@cache
def mounting() -> tuple[str, ...]:
    """The command under which file systems can be mounted here; nothing where none can."""
    for launcher in (("unshare", "--mount"), ("unshare", "--map-root-user", "--mount")):
        if subprocess.run([*launcher, "true"], capture_output=True, check=False).returncode == 0:
            return launcher
    return ()


@cache
def forks() -> subprocess.Popen[str]:
    """The process that forks those of all cases: it imports the package once."""
    command = [*mounting(), sys.executable, str(HERE / "forks.py")]
    started = subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    atexit.register(started.communicate)
    return started


def ends(folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, End]:
    """How each case ended; the runs lie below the folder under the names of the cases."""
    prepared(folder)
    (folder / "cases.json").write_text(json.dumps(cases))
    server = forks()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{folder}\n")
    server.stdin.flush()
    assert server.stdout.readline() == "done\n", server.communicate()[1]
    found = json.loads((folder / "ends.json").read_text())
    logs = {name: "".join(each.read_text() for each in sorted(folder.glob(f"{name}.?.log"))) for name in cases}
    return {name: End(**found[name], folder=folder / name, log=logs[name]) for name in cases}
