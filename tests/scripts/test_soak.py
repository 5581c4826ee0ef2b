"""The soak: what its ledger and its comparison notice, and, slow, a short one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from running import toy_run

from mmssl.train import train

USED = ("soak",)
SCRIPT = Path(__file__).parents[2] / "scripts" / "soak.py"


def test_a_ledger_forgets_a_cut_line_and_notices_samples_that_were_read_otherwise(scripts, tmp_path):
    lines = [[1, 0, 0, [[0, 0], [3, 4]]], [2, 0, 0, [[0, 0], [5, 6]]], [2, 0, 0, [[0, 0], [5, 6]]]]
    path = tmp_path / "run.0.ledger"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "[3, 0, 0, [[0")
    assert scripts["soak"].ledger_of(tmp_path, "run", 9) == ({(1, 0, 0): lines[0][3], (2, 0, 0): lines[1][3]}, 0)
    assert [*scripts["soak"].ledger_of(tmp_path, "run", 1).samples] == [(1, 0, 0)]
    path.write_text("\n".join(map(json.dumps, [*lines, [2, 0, 0, [[0, 0], [5, 7]]]])))
    assert scripts["soak"].ledger_of(tmp_path, "run", 9).differ == 1


def test_another_seed_or_a_missing_sample_shows_in_the_comparison(scripts, tmp_path):
    for name, seed in (("disturbed", 0), ("peace", 0), ("other", 1)):
        run, stream = toy_run(tmp_path, f"seed={seed}")
        train(run, stream, until=2)
        (tmp_path / "run").rename(tmp_path / name)
        (tmp_path / f"{name}.0.ledger").write_text(json.dumps([1, 0, 0, [[0], [seed]]]))
    same = scripts["soak"].compared(tmp_path)
    assert (same["largest_difference"], same["ledger_differs"], same["ledger_entries"]) == (0, 0, 1)
    (tmp_path / "peace").rename(tmp_path / "as before")
    (tmp_path / "other").rename(tmp_path / "peace")
    (tmp_path / "other.0.ledger").rename(tmp_path / "peace.0.ledger")
    other = scripts["soak"].compared(tmp_path)
    assert other["largest_difference"] > 0
    assert other["ledger_differs"] == 1


@pytest.mark.slow
def test_a_soak_of_some_minutes_ends_with_the_weights_of_a_run_in_peace(tmp_path):
    arguments = ["--minutes", "4", "--every", "3", "6", "--folder", str(tmp_path), "--out", str(tmp_path / "soak.json")]
    end = subprocess.run([sys.executable, str(SCRIPT), *arguments], check=False, capture_output=True)
    result = json.loads((tmp_path / "soak.json").read_text())
    assert end.returncode == 0, result
    assert result["largest_difference"] == result["ledger_differs"] == 0
    assert result["unexpected"] == []
