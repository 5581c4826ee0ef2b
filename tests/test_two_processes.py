"""Two processes are one run: the same losses as one process with the same global batch."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from media_runs import write_media_config
from running import call, metrics, training_only, write_config

OVERRIDES = ("encoder.dropout=0.0", "train.batch_size=8", "train.accumulate=1", "train.steps=20",
             "train.save_every_steps=20", "train.evaluate_every_steps=20")  # fmt: skip
# both terms of a contrast need the whole global batch, and batch statistics must be those of all samples
MEDIA = {
    "audio_visual": (),
    "image_pretraining": ("method={name: byol, projector_width: 32, embedding_width: 16}",
                          "encoder={name: resnet, widths: [8, 16], depths: [1, 1], small_stem: true}"),
}  # fmt: skip
STEPS = ("train.batch_size=8", "train.steps=6", "train.save_every_steps=6", "train.evaluate_every_steps=6",
         "train.learning_rate=1e-3", "data.samples=32")  # fmt: skip


def on_two_processes(folder: Path, config: object, *overrides: str) -> subprocess.CompletedProcess[str]:
    """How `mmssl pretrain` ends on two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "mmssl"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, "pretrain", str(config), f"run={folder / 'two'}", *overrides]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment,
        start_new_session=True,
    ) as launcher_process:  # fmt: skip
        try:
            said, complained = launcher_process.communicate(timeout=120)
        except subprocess.TimeoutExpired:  # they wait for each other: the launcher's end would leave them behind
            os.killpg(launcher_process.pid, signal.SIGKILL)
            said, complained = launcher_process.communicate()
    return subprocess.CompletedProcess(command, launcher_process.returncode, said, complained)


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    """metrics.jsonl of one process and of two, and how the two ended."""
    folder = tmp_path_factory.mktemp("two_processes")
    config = write_config(folder)
    end = on_two_processes(folder, config, *OVERRIDES)
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


@pytest.fixture(scope="module", params=MEDIA)
def media_curves(request, tmp_path_factory):
    """The same of a run on pictures and sounds, or on two views of pictures."""
    folder = tmp_path_factory.mktemp("two_of_media")
    config, overrides = write_media_config(folder, request.param), (*MEDIA[request.param], *STEPS)
    end = on_two_processes(folder, config, *overrides)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl.media_task.MediaTask.finish", lambda *arguments: None)
        assert call("pretrain", config, f"run={folder / 'one'}", *overrides) == 0
        assert call("pretrain", config, f"run={folder / 'other'}", *overrides, "train.batch_size=4") == 0
    return end, *(metrics(folder / name) for name in ("one", "two", "other"))


def test_two_processes_on_media_are_one_run(media_curves):
    end, one, two, other = media_curves
    assert end.returncode == 0, end.stderr
    assert "SIGABRT" not in end.stderr
    assert end.stdout.count("run folder") == 1
    assert [line["samples_seen"] for line in two] == [line["samples_seen"] for line in one] == [8, 16, 24, 32, 40, 48]
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=0, abs=1e-5)
    norms = [[line["gradient_norm"] for line in run] for run in (one, two)]  # of about 40
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)
    # the control: half the global batch is another run
    assert max(abs(a["loss"] - b["loss"]) for a, b in zip(one, other, strict=True)) > 1e-3
