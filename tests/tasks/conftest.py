"""What tests of folders of raw files share."""

import pytest
from media_runs import write_media_config
from running import call


@pytest.fixture
def pretrain(tmp_path, capsys, monkeypatch):
    """Runs `mmssl pretrain` of a task for a step; gives the exit code and what stderr says besides notes."""
    monkeypatch.setattr("mmssl.media_task.write_report", lambda runs: "not written")
    monkeypatch.setattr("mmssl.media_task.completed", lambda *arguments, **options: {})
    steps = ("train.steps=1", "train.evaluate_every_steps=1", "data.heldout=0.25", "data.seconds=1.0")

    def run(task: str, *overrides: str, evaluated: bool = False) -> tuple[int, list[str]]:
        with pytest.MonkeyPatch.context() as patch:
            if not evaluated:
                patch.setattr("mmssl.media_task.evaluate_media", lambda *arguments: {})
            code = call("pretrain", write_media_config(tmp_path, task), f"run={tmp_path / 'run'}", *steps, *overrides)
        lines = capsys.readouterr().err.splitlines()
        return code, [line for line in lines if not line.startswith(("note: ", "step "))]

    return run
