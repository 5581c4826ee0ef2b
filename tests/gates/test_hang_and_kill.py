"""Gate: a process or a worker that is killed, stopped or asleep ends the run with exit code 6 in time, and nobody is
left behind.
"""

import pytest
from cases import ONE, TWO, ends
from record import record

PATIENT = [*ONE["overrides"], "train.hang_seconds=100000"]  # switches the waiting time off
WORKER = {**ONE, "overrides": [*ONE["overrides"], "data.workers=1"], "to": ["worker 0"], "after_steps": 3}
RANK = {**TWO, "to": ["1"], "after_steps": 3}
DROWSY = {"overrides": WORKER["overrides"], "gate": {"sleep": 12}}
ORPHANED = {  # the run waits for its sleeping worker when it is killed
    **WORKER, "overrides": [*PATIENT, "data.workers=1"], "gate": {"sleep": 12}, "to": ["0"], "signal": "SIGKILL",
    "after_seconds": 1.0,
}  # fmt: skip
CASES = {  # name -> what happens, and the exit codes
    "worker killed": ({**WORKER, "signal": "SIGKILL"}, [6]),
    "worker stopped": ({**WORKER, "signal": "SIGSTOP"}, [6]),
    "worker asleep": (DROWSY, [6]),
    "worker of one rank killed": (
        {**RANK, "overrides": [*TWO["overrides"], "data.workers=1"], "to": ["worker 1"], "signal": "SIGKILL"}, [6, 6],
    ),
    "rank killed": ({**RANK, "signal": "SIGKILL"}, [6, -9]),
    "first rank killed": ({**RANK, "to": ["0"], "signal": "SIGKILL"}, [-9, 6]),
    "rank stopped": ({**RANK, "signal": "SIGSTOP"}, [6, None]),
    "main killed": ({**WORKER, "to": ["0"], "signal": "SIGKILL"}, [-9]),
    "main killed, its worker asleep": (ORPHANED, [-9]),
}  # fmt: skip
BOUND_SECONDS = 2 + 10  # the waiting time of the cases, and as much as the specification leaves
CONTROLS = {
    "patient with a worker": {**DROWSY, "overrides": [*PATIENT, "data.workers=1"], "bound": 5.0},
    "patient with a rank": {**RANK, "overrides": PATIENT, "signal": "SIGSTOP", "bound": 5.0},
    "not told apart": {**RANK, "signal": "SIGKILL", "off": "is_not_told_apart"},
    "leaves shared memory": {"overrides": ["train.steps=2"], "off": "leaves_shared_memory"},
    "workers are left": {**DROWSY, "off": "workers_are_left", "bound": 12.0},
    "workers outlive": {**ORPHANED, "off": "workers_outlive"},
}  # fmt: skip


def all_cases():
    """What is let happen, with the mechanisms and without."""
    return {name: case for name, (case, _) in CASES.items()} | CONTROLS


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """How all cases ended."""
    return ends(tmp_path_factory.mktemp("hang_and_kill"), all_cases())


@pytest.mark.parametrize("name", CASES)
def test_who_is_lost_ends_the_run_in_time_and_leaves_nobody_behind(found, name):
    end = found[name]
    assert end.codes == CASES[name][1], end.log
    assert end.seconds < BOUND_SECONDS
    assert (end.left, end.shared) == ([], [])
    assert end.log.count("mmssl: ") == end.codes.count(6)
    assert "samples " in end.log or name != "worker asleep"
    longest = max(found[one].seconds for one in CASES)
    record("hang_and_kill", cases=len(CASES), longest_seconds=longest, left_behind=0, shared_memory_left=0)


@pytest.mark.parametrize("name", [name for name in CONTROLS if name != "leaves shared memory"])
def test_without_its_mechanism_it_would_hang_or_leave_somebody_behind(found, name):
    end = found[name]
    if name == "not told apart":
        assert end.codes == [1, -9]
    elif name == "workers outlive":
        assert end.left
    else:
        assert None in end.codes or end.seconds > 11, end


def test_what_is_left_in_shared_memory_is_seen(found):
    end = found["leaves shared memory"]
    assert len(end.shared) == 1
