"""Runs that differ in their optimizer are compared by their held-out losses."""

import json

import pytest
from media_runs import write_media_config
from running import call

USED = ("tables", "optimizers")


def curve(*points: tuple[float, float]) -> str:
    """metrics.jsonl of (seconds, held-out loss), with a line between that has none."""
    lines = [
        {"step": 10 * number, "samples_seen": 40 * number, "seconds": seconds, "heldout.loss": loss}
        for number, (seconds, loss) in enumerate(points, 1)
    ]
    return "\n".join(json.dumps(line) for line in [{"step": 5, "loss": 9.0}, *lines])


@pytest.fixture
def runs(tmp_path):
    """The folders of three runs whose curves are made up."""
    found = {name: tmp_path / name for name in ("random", "adamw", "muon")}
    config = write_media_config(tmp_path, "image_pretraining")
    for run in found.values():
        assert call("pretrain", config, f"run={run}", "train.steps=1") == 0
    (found["random"] / "metrics.jsonl").write_text(curve((0.0, 4.0)))
    (found["adamw"] / "metrics.jsonl").write_text(curve((30.0, 3.0), (60.0, 2.0), (90.0, 1.5)))
    (found["muon"] / "metrics.jsonl").write_text(curve((40.0, 1.75), (45.0, 1.5), (90.0, 1.0)))
    return found


def test_how_much_faster_is_the_time_to_the_others_last_loss(scripts, runs, tmp_path, monkeypatch):
    found = scripts["optimizers"].compared(runs)
    assert (found["random.loss"], found["adamw.loss"], found["muon.loss"]) == (4.0, 1.5, 1.0)
    assert (found["muon.seconds_to_adamw"], found["times_as_fast"]) == (45.0, 2.0)
    assert found["adamw.samples_seen"] == 120
    monkeypatch.setattr(scripts["tables"], "RESULTS", tmp_path)
    (tmp_path / "optimizers.json").write_text(json.dumps({"mae": found}))
    assert "| `mae` | 4 | 1.5 | 120 | 1 | 120 | 45 s | 90 s | 2.0 |" in scripts["tables"].tables()["optimizers"]


def test_who_never_gets_there_has_no_ratio(scripts, runs):
    (runs["muon"] / "metrics.jsonl").write_text(curve((90.0, 1.6)))
    found = scripts["optimizers"].compared(runs)
    assert found["muon.loss"] == 1.6
    assert not {"times_as_fast", "muon.seconds_to_adamw"} & {*found}
