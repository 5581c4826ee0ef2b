"""Claims about metrics: means, the file that survives a resume, trackers that may fail, the line without a terminal."""

import json
from types import SimpleNamespace

import pytest
import torch

from mmssl.metrics import Means, Progress, Record, forget_after, peak_memory_bytes


def accelerator(*, is_main: bool = True, fails: bool = False) -> SimpleNamespace:
    """What a record asks of Accelerate; `logged` holds what trackers received."""
    logged: list[tuple[int, dict]] = []

    def log(values, step):
        if fails:
            raise ConnectionError("no route to the tracker")
        logged.append((step, values))

    return SimpleNamespace(is_main_process=is_main, init_trackers=lambda project: None, log=log, logged=logged)


def lines(path) -> list[dict]:
    """What the file says."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_means_are_over_all_observations_since_the_last_reading():
    means = Means()
    weight = torch.tensor(2.0, requires_grad=True)
    for value in (1.0, 2.0, 6.0):
        means.add({"loss": weight * value, "half": torch.tensor(value).bfloat16()})
    assert not means.sums["loss"].requires_grad  # else the graphs of all steps would stay in memory
    assert means.read() == {"half": 3.0, "loss": 6.0}
    assert means.read() == {}
    means.add({"loss": torch.tensor(5.0)})
    assert means.read() == {"loss": 5.0}


def test_a_record_is_one_line_of_json_for_each_step(tmp_path):
    record = Record(tmp_path / "metrics.jsonl", accelerator(), [], step=0)
    record.write(10, {"loss": 2.5})
    record.write(20, {"loss": 1.5, "note": "text"})
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 10, "loss": 2.5}, {"step": 20, "loss": 1.5, "note": "text"}]


def test_only_the_main_process_writes(tmp_path):
    Record(tmp_path / "metrics.jsonl", accelerator(is_main=False), [], step=0).write(1, {"loss": 1.0})
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_resumed_run_forgets_the_lines_that_it_will_write_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = "".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in (10, 20, 30))
    path.write_text(whole + '{"step": 40, "lo')  # killed while writing
    record = Record(path, accelerator(), [], step=20)
    record.write(30, {"loss": 0.5})
    assert lines(path) == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 1.0}, {"step": 30, "loss": 0.5}]


@pytest.mark.parametrize("damage", ["[1]", "5", "null", '{"loss": 1}', '{"step": null}', "\x00\x00"])
def test_a_damaged_line_is_dropped_and_the_others_are_kept(tmp_path, damage):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{damage}\n{{"step": 2}}\n')
    forget_after(path, 2)
    assert lines(path) == [{"step": 1}, {"step": 2}]
    forget_after(tmp_path / "none", 2)
    assert not (tmp_path / "none").exists()


def test_trackers_receive_numbers(tmp_path):
    one = accelerator()
    Record(tmp_path / "metrics.jsonl", one, ["tensorboard"], step=0).write(3, {"loss": 1.0, "note": "text", "seen": 4})
    assert one.logged == [(3, {"loss": 1.0, "seen": 4})]


def test_a_tracker_that_fails_is_said_once_and_stops_nothing(tmp_path, capsys):
    record = Record(tmp_path / "metrics.jsonl", accelerator(fails=True), ["wandb"], step=0)
    for step in range(3):
        record.write(step, {"loss": 1.0})
    assert record.failures == 3
    assert len(lines(tmp_path / "metrics.jsonl")) == 3
    said = capsys.readouterr().err.splitlines()
    assert said == ["warning: tracker wandb: no route to the tracker; training goes on"]


def test_a_tracker_that_cannot_start_stops_nothing(tmp_path, capsys):
    broken = accelerator()

    def init_trackers(project):
        raise ImportError("wandb is not installed")

    broken.init_trackers = init_trackers
    Record(tmp_path / "metrics.jsonl", broken, ["wandb"], step=0).write(1, {"loss": 1.0})
    assert "wandb is not installed; training goes on" in capsys.readouterr().err
    assert lines(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]


def test_without_a_terminal_progress_is_plain_lines_with_the_time_left(capsys, monkeypatch):
    clock = iter([100.0, 130.0])
    monkeypatch.setattr("mmssl.metrics.time.monotonic", lambda: next(clock))
    with Progress(400, step=0, progress=0.0, is_main=True) as progress:
        progress.say(100, {"loss": 2.34567, "gradient_norm": 1.0, "tokens_per_second": 12345.6}, 0.25)
    # a quarter in 30 seconds leaves 90
    assert capsys.readouterr().err == "step 100  loss 2.346  tokens_per_second 1.235e+04  90 s left\n"


def test_the_time_left_of_a_resumed_run_counts_its_own_part_only(capsys, monkeypatch):
    clock = iter([100.0, 130.0])
    monkeypatch.setattr("mmssl.metrics.time.monotonic", lambda: next(clock))
    Progress(400, step=200, progress=0.5, is_main=True).say(300, {}, 0.75)
    assert capsys.readouterr().err.endswith(" 30 s left\n")


def test_other_processes_say_nothing(capsys):
    Progress(10, step=0, progress=0.0, is_main=False).say(1, {"loss": 1.0}, 0.1)
    assert capsys.readouterr() == ("", "")


def test_peak_memory_is_in_bytes_and_never_falls():
    before = peak_memory_bytes()
    block = torch.ones(10_000_000)
    assert 10_000_000 < before <= peak_memory_bytes() < 10**13
    assert len(block)
