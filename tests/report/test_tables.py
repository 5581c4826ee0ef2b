"""The tables of a page: the better value is marked, baselines stand below, costs beside what they bought."""

import json
from pathlib import Path

import pytest

from mmssl.report import record, tables
from mmssl.report.names import measure
from tests.report.run_folders import EVALUATION, run_folder


def test_comparison_marks_the_better_value_in_the_direction_of_the_measure(evaluated: Path, tmp_path: Path):
    other = EVALUATION | {"probe.accuracy": 0.9, "text.cross_entropy": 1.2, "random_init.probe.accuracy": 0.7}
    runs = [record.read_record(evaluated), record.read_record(run_folder(tmp_path / "b", evaluation=other))]
    best = {row.key: row.best for row in tables.measures(runs)}
    assert best["probe.accuracy"] == {0}
    assert best["text.cross_entropy"] == {1}
    assert best["energy.auroc"] == set()  # a tie
    assert best["random_init.probe.accuracy"] == best["collapse.effective_rank"] == set()
    assert all(row.best == set() for row in tables.measures(runs[:1]))


def test_baseline_stands_below_what_it_is_the_baseline_of(evaluated: Path):
    keys = [row.key for row in tables.measures([record.read_record(evaluated)])]
    assert keys[keys.index("knn.accuracy") + 1] == "random_init.knn.accuracy"
    assert keys[keys.index("probe.accuracy") + 1] == "random_init.probe.accuracy"


def test_config_differences_leave_out_what_is_the_same(evaluated: Path, tmp_path: Path):
    runs = [record.read_record(evaluated), record.read_record(run_folder(tmp_path / "b", mask_ratio=0.4))]
    assert [(row.name, row.cells) for row in tables.differences(runs)] == [("method.mask_ratio", ["0.15", "0.4"])]
    assert tables.differences(runs[:1] * 2) == []


@pytest.mark.parametrize(
    "seconds, expected", [(7.25, "7.25 s"), (59.7, "1 min 00 s"), (872, "14 min 32 s"), (11100, "3 h 05 min")]
)
def test_durations_are_read_at_a_glance(seconds: float, expected: str):
    assert tables.duration(seconds) == expected


def compared(tmp_path: Path, *evaluations: dict) -> dict[str, list[str]]:
    """The rows of a comparison under what they stand: group, name of the baselines' measure."""
    runs = [run_folder(tmp_path / f"run{number}", evaluation=one) for number, one in enumerate(evaluations)]
    rows = tables.comparison([record.read_record(run) for run in runs])
    return {f"{row.group}: {row.key or row.name}": row.cells for row in rows}


def test_costs_stand_beside_what_they_bought_and_what_random_weights_do(tmp_path: Path):
    cheap = {"knn.accuracy": 0.5, "random_init.knn.accuracy": 0.4, "collapse.verdict": "partial"}
    rows = compared(tmp_path, EVALUATION | {"encoder.parameters": 308988}, cheap)
    assert rows["Cost: Steps"] == ["2,000 of 2,000"] * 2
    assert rows["Cost: Samples seen"] == ["128,000"] * 2
    assert rows["Cost: Training time"] == ["1 min 44 s"] * 2
    assert rows["Cost: Peak memory"] == ["700 MiB"] * 2
    assert rows["Cost: Parameters of the encoder"] == ["308,988", "—"]
    assert rows["Outcome: knn.accuracy"] == ["0.874", "0.5"]
    assert rows["Outcome: random_init.knn.accuracy"] == ["0.412", "0.4"]
    assert rows["Outcome: probe.accuracy"] == ["0.931", "—"]
    assert rows["Outcome: random_init.probe.accuracy"] == ["0.655", "—"]
    assert rows["Outcome: energy.auroc"] == ["0.981", "—"]
    assert rows["Outcome: collapse.verdict"] == ["healthy", "partial"]
    assert "Cost: Samples per second" not in rows  # of rows of words, tokens were logged


def test_speed_is_the_usual_one_not_that_of_the_first_or_last_steps(tmp_path: Path):
    run = run_folder(tmp_path / "run")
    lines = [{"step": step, "samples_per_second": speed} for step, speed in enumerate([3, 200, 210, 205, 9])]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = {row.name: row.cells for row in tables.comparison([record.read_record(run)])}
    assert rows["Samples per second"] == ["200"]
    assert "Parameters of the encoder" not in rows


@pytest.mark.parametrize(
    "key",
    [f"collapse.{name}" for name in ("batch_std", "alignment", "uniformity", "mean_ratio", "lidar")]
    + [f"collapse.compared.{name}" for name in ("effective_rank", "std", "verdict")],
)
def test_measures_of_collapse_have_names_and_stand_together(key: str):
    for prefix, part in (("", ""), ("random_init.", ""), ("image.", "image")):
        found = measure(prefix + key)
        assert (found.group, found.part, found.is_baseline) == ("Collapse", part, prefix == "random_init.")
        assert key not in found.name
        assert found.direction == 0
    assert measure("collapse.no_such_measure").group == "Other measures"
