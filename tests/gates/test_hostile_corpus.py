"""Gate 5: whatever is read, no code runs, nothing is written outside of the run folder, nobody is connected to, and
memory and time stay within bounds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_mutants import KINDS, mutated
from record import record

GATES = Path(__file__).parent
FAULTS = {"runs": "ran ", "runs YAML": "ran ", "outside": "wrote ", "megabytes": "MiB", "connections": "connected ",
          "seconds": "killed by signal", "fault": "fault: RecursionError"}  # fmt: skip


def watched(root: Path, group: str) -> list[dict]:
    """What the attempts of a group did, each in a process of its own."""
    paths = os.pathsep.join(map(str, (GATES, GATES.parent, GATES.parents[1])))
    settings = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(GATES / "hostile_cases.py"), str(root), group]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, cwd=root, timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_no_hostile_file_runs_writes_or_connects_and_each_is_answered_in_time(tmp_path):
    found = watched(tmp_path, "corpus")
    assert {each["name"]: each["faults"] for each in found if each["faults"]} == {}
    assert {each["name"]: each["said"] for each in found if not each["said"].startswith(each["expected"])} == {}
    assert len(found) > 80
    record(
        "hostile_corpus", cases=len(found), refused=sum(each["said"].startswith("refused") for each in found),
        code_executions=0, outside_writes=0, connections=0, largest_megabytes=max(each["megabytes"] for each in found),
        longest_seconds=max(each["seconds"] for each in found),
    )  # fmt: skip


def test_each_measure_notices_a_reader_without_limits(tmp_path):
    found = {each["name"]: each["faults"] for each in watched(tmp_path, "controls")}
    assert found.keys() == FAULTS.keys()
    for name, fault in FAULTS.items():
        assert any(fault in each for each in found[name]), (name, found[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_mutated_media_are_read_or_refused_with_a_reason(tmp_path, kind, count):
    refused, read = mutated(kind, tmp_path, count)
    assert refused + read == count
    assert refused > 0
    if count > 100:
        record(f"mutated_{kind}", mutants=count, refused=refused, read=read, crashes=0)
