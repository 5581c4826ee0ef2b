"""Gate: SIGTERM to one process, to all and to the launcher ends with exit code 75 and a checkpoint of that step, in
half the grace time, whenever it comes.
"""

import subprocess
import sys
import time
from random import Random

import pytest
from cases import ONE, TWO, ends, environment, prepared
from record import record
from running import metrics

from mmssl.checkpoint import restore

GRACE_SECONDS = 30.0  # of torchrun, shared by all processes
TO = {
    "alone": (1, ["0"]),
    "first of two": (2, ["0"]),
    "second of two": (2, ["1"]),
    "all": (2, ["0", "1", "worker 0", "worker 1"]),
}
TIMES = [3, pytest.param(20, marks=pytest.mark.slow)]


def case_of(kind: str, after_seconds: float) -> dict:
    """SIGTERM so long after the third step."""
    processes, to = TO[kind]
    workers = ["data.workers=1"] if kind == "all" else []
    return {
        "gate": {"pause": 0.1 if workers else 0.0},  # so that a worker that obeys has gone before the step is done
        "processes": processes, "overrides": [*TWO["overrides"], *workers], "signal": "SIGTERM", "to": to,
        "after_steps": 3, "after_seconds": after_seconds,
    }  # fmt: skip


def random_cases(count: int) -> dict[str, dict]:
    """Each kind at so many random times."""
    random = Random(count)
    return {f"{kind} {n}": case_of(kind, random.uniform(0, 0.3)) for kind in TO for n in range(count)}


OUTSIDE = {  # of the loop: before the first step, and after the last
    "before": {**ONE, "gate": {"start": 60}, "signal": "SIGTERM", "to": ["0"], "after_steps": -1},
    "after": {
        "overrides": ["train.steps=2", "train.save_every_steps=2"], "gate": {"finish": 60}, "signal": "SIGTERM",
        "to": ["0"], "after_steps": 2, "after_seconds": 0.3,
    },
}  # fmt: skip
AMID_A_SAMPLE = {  # to the run and its worker while that reads for three seconds
    "overrides": [*ONE["overrides"], "data.workers=1", "train.hang_seconds=20"], "gate": {"sleep": 12, "asleep": 3},
    "signal": "SIGTERM", "to": ["0", "worker 0"], "after_steps": 3, "after_seconds": 1.0,
}  # fmt: skip
CONTROLS = {
    "workers obey": {**AMID_A_SAMPLE, "off": "workers_obey"},
    "decides alone": {**case_of("second of two", 0.1), "off": "decides_alone", "bound": 8.0},
    "is not saved": {**case_of("alone", 0.1), "off": "is_not_saved"},
}


def all_cases(count: int = 3) -> dict[str, dict]:
    """What is let happen, with the mechanisms and without."""
    return random_cases(count) | {"amid a sample": AMID_A_SAMPLE} | OUTSIDE | CONTROLS


def is_orderly(end) -> bool:
    """Whether all processes said so, nobody is left and the checkpoint is of the last step that was logged."""
    found = restore(end.folder) if set(end.codes) == {75} and end.left == [] else None
    return found is not None and found.step == metrics(end.folder)[-1]["step"]


@pytest.mark.parametrize("count", TIMES)
def test_sigterm_at_random_times_ends_with_exit_code_75_and_a_checkpoint_of_that_step(tmp_path, count):
    found = ends(tmp_path, all_cases(count))
    for name in random_cases(count):
        assert is_orderly(found[name]), (name, found[name])
        assert (
            found[name].log.count("mmssl: stopped at step")
            == found[name].log.count("mmssl: ")
            == len(found[name].codes)
        )
        assert found[name].seconds < GRACE_SECONDS / 2
    assert is_orderly(found["amid a sample"]), found["amid a sample"]
    for name in OUTSIDE:
        assert found[name].codes == [75], found[name]
        assert "mmssl: stopped outside of training; the same command resumes" in found[name].log
    for name in CONTROLS:
        assert not is_orderly(found[name]), (name, found[name])
    times = [found[name].seconds for name in random_cases(count)]
    record("sigterm", **{f"cases_{count}": len(times), f"longest_seconds_{count}": max(times)})


@pytest.mark.slow
def test_sigterm_to_torchrun_leaves_a_checkpoint_of_that_step_on_all_processes(tmp_path):
    prepared(tmp_path)
    random, seconds = Random(0), []
    for number in range(20):
        said, taken = launched(tmp_path, f"run-{number}", random.uniform(0, 1.0))
        assert said.count("mmssl: stopped at step") == 2, said
        found = restore(tmp_path / f"run-{number}")
        assert found is not None
        assert found.step == metrics(tmp_path / f"run-{number}")[-1]["step"]
        assert taken < GRACE_SECONDS / 2
        seconds.append(taken)
    record("sigterm", launcher_cases=len(seconds), launcher_longest_seconds=round(max(seconds), 2))


def launched(folder, name: str, after_seconds: float) -> tuple[str, float]:
    """What two processes under torchrun say, which is sent SIGTERM so long after the third step, and how long that
    takes.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "mmssl"]
    arguments = ["pretrain", "toy.yaml", f"run={name}", *TWO["overrides"]]
    with subprocess.Popen(
        [*launcher, *arguments], cwd=folder, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        lines, began = [], time.monotonic()
        for line in process.stderr:
            lines.append(line)
            if line.startswith("step 3 "):
                time.sleep(after_seconds)
                began = time.monotonic()
                process.terminate()
        process.wait(timeout=60)
    return "".join(lines), time.monotonic() - began
