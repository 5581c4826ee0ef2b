"""What a run folder says is read as it stands, and what is broken in it is said."""

from pathlib import Path

import pytest

from mmssl.errors import CheckpointError, ConfigError
from mmssl.report import record, write_report
from tests.report.run_folders import bare_folder, run_folder


def test_folder_that_is_no_run_is_refused_by_name(tmp_path: Path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(CheckpointError, match=r"notes is not a run: it holds no config.yaml and no metrics.jsonl"):
        write_report([tmp_path / "notes"])
    with pytest.raises(CheckpointError, match=r"absent is not a run: there is no such folder"):
        write_report([tmp_path / "absent"])
    with pytest.raises(ConfigError, match="expected at least one run folder"):
        write_report([])


def test_half_written_last_line_is_tolerated_and_said(tmp_path: Path):
    folder = run_folder(tmp_path / "cut")
    whole = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(whole + '{"step": 2010, "lo')
    found = record.read_record(folder)
    assert found.notes == [
        "The last line of metrics.jsonl is half written (the run was cut off, or still runs); left out."
    ]
    assert found.last("step") == 2000


def test_broken_lines_within_the_metrics_are_counted(tmp_path: Path):
    folder = run_folder(tmp_path / "broken")
    whole = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_bytes(b"\xff\xfe\n[1]\n" + whole.encode())
    notes = record.read_record(folder).notes
    assert notes == ["2 of 212 lines of metrics.jsonl cannot be read (first: line 1)."]


def test_steps_run_again_after_a_resume_replace_the_first_ones(tmp_path: Path):
    folder = run_folder(tmp_path / "resumed")
    lines = [(10, 9.0), (20, 8.0), (30, 7.0), (20, 5.0), (30, 4.0)]
    (folder / "metrics.jsonl").write_text("".join(f'{{"step": {step}, "loss": {loss}}}\n' for step, loss in lines))
    assert record.read_record(folder).series("loss") == ([10.0, 20.0, 30.0], [9.0, 5.0, 4.0])


def test_loss_that_is_not_finite_is_said_and_left_out_of_the_curve(tmp_path: Path):
    folder = run_folder(tmp_path / "diverged")
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": NaN}\n')
    found = record.read_record(folder)
    assert found.notes == ["The loss is not finite at step 2."]
    assert found.series("loss") == ([1.0], [2.0])
    assert "The loss is not finite at step 2." in write_report([folder]).read_text()


@pytest.mark.parametrize("content", ["{", "[1, 2]", ""])
def test_unreadable_evaluation_is_said(tmp_path: Path, content: str):
    folder = bare_folder(tmp_path / "unreadable")
    (folder / "evaluation.json").write_text(content)
    html = write_report([folder]).read_text()
    assert "evaluation.json is not a JSON object" in html
    assert "Not evaluated yet" in html
