"""Two processes are one run: the same losses as one process with the same global batch."""

import os
import subprocess
import sys

import pytest
from running import call, metrics, training_only, write_config

OVERRIDES = ("encoder.dropout=0.0", "train.batch_size=8", "train.accumulate=1", "train.steps=20",
             "train.save_every_steps=20", "train.evaluate_every_steps=20")  # fmt: skip


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """metrics.jsonl of one process and of two, and how the two ended."""
    folder = tmp_path_factory.mktemp("two_processes")
    config = write_config(folder)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "mmssl"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, "pretrain", config, f"run={folder / 'two'}", *OVERRIDES]
    end = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)
    with training_only():
        assert call("pretrain", config, f"run={folder / 'one'}", *OVERRIDES) == 0
        assert call("pretrain", config, f"run={folder / 'other'}", *OVERRIDES, "train.batch_size=4") == 0
    return end, *(metrics(folder / name) for name in ("one", "two", "other"))


def test_two_processes_end_with_exit_code_0_and_without_an_abort(curves):
    end = curves[0]
    assert end.returncode == 0, end.stderr
    assert "SIGABRT" not in end.stderr
    assert "Traceback" not in end.stderr
    assert end.stdout.count("run folder") == 1  # only the main process speaks


def test_two_processes_give_the_loss_curve_of_one_with_the_same_global_batch(curves):
    _, one, two, _ = curves
    assert [line["step"] for line in two] == list(range(1, 21))
    assert [line["samples_seen"] for line in two] == [line["samples_seen"] for line in one]
    for key in ("loss", "gradient_norm"):
        assert [line[key] for line in two] == pytest.approx([line[key] for line in one], rel=0, abs=1e-5)


def test_half_the_global_batch_gives_another_curve(curves):
    _, one, _, other = curves
    assert max(abs(a["loss"] - b["loss"]) for a, b in zip(one, other, strict=True)) > 1e-3
