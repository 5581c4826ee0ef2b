"""Gates 1 and 2: a run that is killed anywhere, or goes on with other processes, workers and micro-batches, is the run
that nothing happened to.

Each case is a pretraining of a tiny model that `killing.py` forks. They are of one method of each class of objective
and of each modality, with teachers, queues, clusters, codebooks and packed rows; the full form is of all methods.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from record import record

from mmssl.checkpoint import FAULT_POINTS

METHODS = (
    "bert", "moco_v2", "deepcluster", "gan", "hubert", "vjepa_with_latent", "xdc", "vqvae", "swav", "diffusion",
    "sparse_coding", "multimodal",
)  # fmt: skip
FORMS = {  # how often each point is reached, and how many kills come at a random time
    "short": (1, 20), "full": (5, 200),
}  # fmt: skip
SAMPLES, GLOBAL_BATCH = 36, 12  # of the run that changes: three steps an epoch
CHANGES = (  # processes, micro-batches, workers of each process: one step each
    (1, 1, 0), (2, 1, 0), (3, 1, 0), (2, 2, 0), (1, 4, 1), (4, 1, 0), (1, 2, 3), (2, 1, 1), (1, 3, 0),
)  # fmt: skip
CHANGING = {"method": "npid", "samples": SAMPLES}  # no batch statistics: those are of a micro-batch
CONTROLS = {  # what is switched off, of which method
    "begin_again": "bert", "forget_buffers": "moco_v2", "forget_teachers": "vjepa_with_latent", "forget_moments": "gan",
}  # fmt: skip


def methods_of(form: str) -> tuple[str, ...]:
    """Those that a form is of."""
    if form == "short":
        return METHODS
    from mmssl.methods import METHODS as ALL  # seconds

    return tuple(ALL)


def kills(form: str) -> dict[str, list]:
    """The whole run that each killed run is to end like, and its two attempts."""
    methods, (rounds, num_random), found, turn = methods_of(form), FORMS[form], {}, count()
    for number in range(rounds):
        for processes in (1, 2):
            # ranks other than the first do not save: the last one is killed as a step ends
            for point in (*FAULT_POINTS, "after_step"):
                case, method = next(turn), methods[(next(turn) // 2 + number) % len(methods)]
                call = 1 if point == "during_keep" else 1 + (case // 2 + number) % 2
                killed = {"fault": f"{point}:{call}", "faulty": processes - 1 if point == "after_step" else 0}
                found[f"{point}-{processes}-{number}"] = [f"{method}-{processes}", [killed, {}]]
    random = Random(0)
    for number in range(num_random):
        method, processes = methods[number % len(methods)], 1 + number % 2
        found[f"random-{number}"] = [f"{method}-{processes}", [{"share": random.uniform(0, 0.8)}, {}]]
    return found


def changes(*, off: str = "") -> list[dict[str, Any]]:
    """The attempts of the run that changes: each is killed after its second step, of which one is saved."""
    attempts = [
        {"processes": processes, "overrides": overrides_of(micro, workers), "fault": "after_step:2", "off": off}
        for processes, micro, workers in CHANGES
    ]
    attempts[-1]["fault"] = ""
    return attempts


def overrides_of(micro: int, workers: int) -> list[str]:
    """Of the config."""
    return [f"train.steps={len(CHANGES)}", f"train.batch_size={GLOBAL_BATCH}", f"train.accumulate={micro}",
            f"data.workers={workers}"]  # fmt: skip


def plan_of(form: str) -> dict[str, Any]:
    """What `killing.py` is to do."""
    wholes = {
        f"{method}-{processes}": {"method": method, "processes": processes}
        for method in methods_of(form) for processes in (1, 2)
    }  # fmt: skip
    wholes["unchanged"] = CHANGING | {"overrides": overrides_of(1, 0)}
    cases = kills(form)
    cases["changed"] = ["unchanged", changes()]
    cases["changed-begin_again"] = ["unchanged", changes(off="begin_again")]
    for off, method in CONTROLS.items():
        cases[f"off-{off}"] = [f"{method}-1", [{"fault": "after_step:3", "off": off}, {"off": off}]]
    cases["off-write_in_place"] = ["bert-1", [{"fault": "after_model:2", "off": "write_in_place"}, {}]]
    return {"whole": wholes, "cases": cases}


@pytest.fixture(scope="module", params=["short", pytest.param("full", marks=pytest.mark.slow)])
def found(request, tmp_path_factory) -> dict[str, Any]:
    """All that happened, and in which form."""
    folder, began = tmp_path_factory.mktemp("killed"), time.monotonic()
    plan = plan_of(request.param)
    (folder / "plan.json").write_text(json.dumps(plan))
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    end = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killing.py")), "plan.json"], cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True,
    )  # fmt: skip
    assert end.returncode == 0, end.stderr
    seconds = round(time.monotonic() - began, 1)
    return json.loads((folder / "found.json").read_text()) | {"form": request.param, "seconds": seconds}


def matrix(found: dict[str, Any]) -> dict[str, Any]:
    """The killed runs, without those that change and without controls."""
    return {name: case for name, case in found["cases"].items() if not name.startswith(("off-", "changed"))}


def at_points(found: dict[str, Any]) -> dict[str, Any]:
    """Those that were killed at a point of the save or as a step ended."""
    return {name: case for name, case in matrix(found).items() if not name.startswith("random-")}


def test_every_whole_run_ends_and_reads_each_sample_once_an_epoch(found):
    for name, whole in found["whole"].items():
        assert {*whole["codes"]} == {0}, name
        read = [tuple(sample[:2]) for seen in whole["ledger"].values() for sample in seen]
        assert len({*read}) == len(read), name


def test_each_kill_at_a_point_kills_and_the_next_start_ends_the_run(found):
    for name, case in at_points(found).items():
        assert case["codes"][0][case["attempts"][0]["faulty"]] == -9, name
        assert {*case["codes"][1]} == {0}, name


def test_kills_at_random_times_come_amid_training(found):
    cases = [case for name, case in matrix(found).items() if name.startswith("random-")]
    assert all({*case["codes"][1]} == {0} for case in cases)
    hit = sum(-9 in case["codes"][0] for case in cases)
    assert hit >= len(cases) // 4
    record("crash_matrix", **{f"{found['form']}_random_kills": len(cases), f"{found['form']}_random_kills_hit": hit})


def test_weights_and_moments_after_a_kill_are_those_of_the_whole_run_bit_for_bit(found):
    differences = {name: case["difference"] for name, case in matrix(found).items()}
    record("crash_matrix", **{
        f"{found['form']}_cases": len(differences), f"{found['form']}_methods": len(methods_of(found["form"])),
        f"{found['form']}_largest_difference": max(differences.values()), f"{found['form']}_seconds": found["seconds"],
    })  # fmt: skip
    assert {name: value for name, value in differences.items() if value} == {}


def test_the_ledger_of_samples_after_a_kill_is_that_of_the_whole_run(found):
    assert [name for name, case in matrix(found).items() if not case["same_samples"]] == []


def test_no_kill_leaves_a_checkpoint_that_cannot_be_read(found):
    damaged = [path for case in matrix(found).values() for path in case["damaged"]]
    record("crash_matrix", **{f"{found['form']}_unreadable_checkpoints": len(damaged)})
    assert damaged == []


def test_written_in_place_a_checkpoint_cannot_be_read_after_a_kill(found):
    assert found["cases"]["off-write_in_place"]["damaged"] != []


@pytest.mark.parametrize("off", CONTROLS)
def test_without_what_a_checkpoint_holds_the_run_ends_otherwise(found, off):
    case = found["cases"][f"off-{off}"]
    assert case["codes"] == [[-9], [0]]
    assert 1e-4 < case["difference"] < float("inf")
    assert case["same_samples"] == (off != "begin_again")


def twice_and_lost(ledger: dict[str, list[list[int]]]) -> tuple[int, int]:
    """Samples that an epoch holds twice, and those that it lacks."""
    epochs: dict[int, Counter[int]] = {}
    for seen in ledger.values():
        for epoch, index, _ in seen:
            epochs.setdefault(epoch, Counter())[index] += 1
    twice = sum(number - 1 for counter in epochs.values() for number in counter.values())
    return twice, sum(SAMPLES - len(counter) for counter in epochs.values())


def test_three_epochs_with_eight_changes_read_each_sample_once_an_epoch_and_each_step_its_own(found):
    case, whole = found["cases"]["changed"], found["whole"]["unchanged"]
    assert [*map(len, case["codes"])] == [processes for processes, *_ in CHANGES]
    assert all(-9 in codes for codes in case["codes"][:-1])
    assert case["ledger"] == whole["ledger"]
    assert sorted(map(int, case["ledger"])) == [*range(len(CHANGES))]
    twice, lost = twice_and_lost(case["ledger"])
    record("elastic_ledger", changes=len(CHANGES) - 1, epochs=3, samples=SAMPLES, twice=twice, lost=lost,
           largest_difference=case["difference"])  # fmt: skip
    assert (twice, lost) == (0, 0)
    assert case["difference"] < 1e-4  # sums of other parts, rounded otherwise; bits are not promised


def test_a_loader_that_forgets_its_place_reads_samples_twice_and_loses_others(found):
    twice, lost = twice_and_lost(found["cases"]["changed-begin_again"]["ledger"])
    assert twice > 0
    assert lost > 0
