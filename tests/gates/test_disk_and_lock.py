"""Gate: a disk that fills, a folder that cannot be written, two runs on one folder, a lock that a killed run left and a
volume that is gone: exit code 4 in time, the checkpoint before is valid, and the run goes on once it can.

The disks are real: file systems in memory, mounted in a name space of their own.
"""

import pytest
from cases import ends, mounting
from record import record

STEPS = 12
EACH = {
    "overrides": [f"train.steps={STEPS}", "train.save_every_steps=1", "train.evaluate_every_steps=100"],
    "gate": {"pause": 0.02},
}  # fmt: skip
MOUNT = "mkdir {0}; mount -t tmpfs -o size=8m none {0}"
FILL = "dd if=/dev/zero of={0}/ballast bs=4k 2> /dev/null; true"
TWICE = {**EACH, "gate": {"pause": 0.3}, "twice": True}  # the first lasts until the second has begun
BOUND_SECONDS = 5.0  # and as much room as a loaded machine needs
NO_SPACE = {"before": MOUNT.format("full"), "during": FILL.format("full"), "after_steps": 4, "run": "full/run"}
CASES = {  # name -> what happens, the exit codes, and the step that is saved then (None: some, but not the last)
    "full": ({**EACH, **NO_SPACE}, [4], None),
    "full, then not": ({**EACH, "before": "rm full/ballast", "run": "full/run"}, [0], STEPS),
    "full amid a save": (
        {**EACH, "before": MOUNT.format("amid"), "during": FILL.format("amid"), "after_steps": 4, "run": "amid/run",
         "off": "is_not_asked_for_room"}, [4], None,
    ),
    "read-only": (
        {**EACH, "before": MOUNT.format("fixed") + "; mount -o remount,ro fixed", "run": "fixed/run"}, [4], 0,
    ),
    "volume gone": (
        {**EACH, "before": MOUNT.format("gone"), "during": "umount -l gone", "after_steps": 4, "run": "gone/run"},
        [4], 0,
    ),
    "volume missing": ({**EACH, "before": "ln -s nowhere/run missing", "run": "missing"}, [4], 0),
    "two runs": ({**TWICE, "run": "shared"}, [0, 4], STEPS),
    "killed": ({**EACH, "signal": "SIGKILL", "to": ["0"], "after_steps": 4, "run": "killed"}, [-9], None),
    "killed, then again": ({**EACH, "run": "killed"}, [0], STEPS),
}  # fmt: skip
CONTROLS = {
    "two runs without a lock": {**TWICE, "off": "is_not_locked"},
    "half written is left": {
        **EACH, "before": MOUNT.format("left"), "during": FILL.format("left"), "after_steps": 4, "run": "left/run",
        "off": "is_not_removed",
    },
}  # fmt: skip


def all_cases() -> dict[str, dict]:
    """What is let happen, with the mechanisms and without."""
    return {name: case for name, (case, *_) in CASES.items()} | CONTROLS


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """How all cases ended."""
    if not mounting():
        pytest.skip("file systems cannot be mounted here")
    return ends(tmp_path_factory.mktemp("disk_and_lock"), all_cases())


@pytest.mark.parametrize("name", CASES)
def test_what_the_disk_refuses_costs_no_checkpoint_and_is_said_in_one_line(found, name):
    end, (_, codes, step) = found[name], CASES[name]
    assert end.codes == codes, end
    assert end.log.count("mmssl: ") == codes.count(4)
    assert "Traceback" not in end.log
    assert end.saved == step if step is not None else 0 < end.saved < STEPS
    assert end.seconds < 4 * BOUND_SECONDS or codes != [4]
    assert end.half_written == [] or codes == [-9]  # the next save sweeps it
    refused = [found[one].seconds for one, (_, codes, _) in CASES.items() if codes == [4]]
    record("disk_and_lock", cases=len(CASES), longest_seconds=max(refused))


def test_without_the_lock_both_runs_write(found):
    assert found["two runs without a lock"].codes != [0, 4]


def test_without_its_removal_what_is_half_written_stays(found):
    assert found["half written is left"].half_written != []
