"""Runs in processes of their own, some at once, one thread each, so that they do not wait for each other."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

from tables import collect

from mmssl.runs import open_run


def run(out: Path, name: str, arguments: list[str]) -> str:
    """`mmssl pretrain` into OUT/NAME, its words in OUT/NAME.log; how it ended. A finished run is left as it is."""
    if (out / name / "evaluation.json").exists():
        return f"{name}: there already"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (out / f"{name}.log").open("a") as log:
        command = [sys.executable, "-m", "mmssl", "pretrain", *arguments, f"run={out / name}"]
        code = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False).returncode
    return f"{name}: exit {code}"


def run_all(out: Path, wanted: dict[str, list[str]], at_once: int) -> Iterator[str]:
    """All runs by their names, in turn; how each ended."""
    out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(partial(run, out), wanted, wanted.values())


def run_and_collect(page: str, out: Path, wanted: dict[str, list[str]], at_once: int) -> None:
    """All runs, said how each ended, and their figures so far collected into docs/results/PAGE.json after each."""
    for line in run_all(out, wanted, at_once):
        print(line, flush=True)
        collect(page, finished(out))


def in_turn(names: Iterable[str], pretrained: Mapping[str, str]) -> Iterator[list[str]]:
    """What begins from another run comes last."""
    parts: dict[bool, list[str]] = {False: [], True: []}
    for name in names:
        parts[name in pretrained].append(name)
    yield from parts.values()


def asked_for(rows: Iterable[str], sources: Iterable[str], only: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Name, row and source of the runs ROW-SOURCE that are asked for, by their row or by their own name."""
    chosen = {*only}
    for source, row in product(sources, [*rows]):
        if {row, name := f"{row}-{source}"} & chosen:
            yield name, row, source


def parser_of(usage: str | None, names: Iterable[str]) -> argparse.ArgumentParser:
    """What all scripts of runs are asked: OUT --at-once --only."""
    parser = argparse.ArgumentParser(usage=usage)
    parser.add_argument("out", type=Path)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[*names])
    return parser


def finished(out: Path) -> list[str]:
    """NAME=RUN of all runs that are there, whenever they were made."""
    runs = []
    for path in sorted(out.glob("*/evaluation.json")):
        open_run(path.parent)  # raises where its record is damaged
        runs.append(f"{path.parent.name}={path.parent}")
    return runs
