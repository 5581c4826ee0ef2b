"""A run that is killed at any moment and started again ends with the very bits of one that was not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from media_runs import SMALL, write_media_config
from running import metrics, same, toy_run, weights_of, write_config

from mmssl.checkpoint import restore
from mmssl.order import Order, batches
from mmssl.train import train

# Where a process is killed, and at which call of that point: "after_step:3" is amid training, the other amid a save.
# All points, random times and two processes are in gates/test_crash_matrix.py, of which this is the command line.
KILLS = ("after_step:3", "after_model:2")

# One process imports the package once and forks a child for each command line; a killed child answers -9.
FORKS = """
import json, os, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
import mmssl.cli, mmssl.evaluate.labelled, mmssl.media_task, mmssl.report, mmssl.report.terminal, mmssl.runs
import mmssl.train

# what follows training does not touch the weights, and takes longer than they do
mmssl.report.write_report = lambda runs: "not written"
mmssl.evaluate.labelled.labelled_text = lambda *arguments: None
mmssl.media_task.MediaTask.finish = lambda *arguments: None

def pretrain(config, name, *overrides, fault="", act=None):
    os.environ["MMSSL_FAULT"] = fault
    child = os.fork()
    if child == 0:
        output = os.open(f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["mmssl", "pretrain", config, f"run={name}", *overrides]
        try:
            mmssl.cli.main()
        except SystemExit as end:
            os._exit(end.code or 0)
        except BaseException:
            os._exit(99)
    if act is not None:
        act(child, name)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def wait_for_steps(name, count):
    path = Path(name, "metrics.jsonl")
    for _ in range(6000):
        if path.exists() and path.read_text().count("\\n") >= count:
            return
        time.sleep(0.01)

def terminate_twice(child, name):
    wait_for_steps(name, 2)
    os.kill(child, signal.SIGTERM)
    os.kill(child, signal.SIGTERM)

config, names, overrides = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
codes = {"whole": [pretrain(config, "whole", *overrides)]}
for name in names:
    codes[name] = [pretrain(config, name, *overrides, fault=name), pretrain(config, name, *overrides)]
codes["sigterm"] = [pretrain(config, "sigterm", *overrides, "train.steps=100000", act=terminate_twice)]
Path("codes.json").write_text(json.dumps(codes))
"""


def crashes(folder: Path, names: list[str], config: object = None, *overrides: str) -> dict[str, list[int]]:
    """The exit codes of each killed and resumed run; the runs lie below the folder."""
    config = config or write_config(folder)
    arguments = [sys.executable, "-c", FORKS, str(config), json.dumps(names), *overrides]
    subprocess.run(arguments, check=True, capture_output=True, cwd=folder)
    return json.loads((folder / "codes.json").read_text())


@pytest.fixture(scope="module")
def crashed(tmp_path_factory) -> tuple[Path, dict[str, list[int]]]:
    folder = tmp_path_factory.mktemp("crashed")
    return folder, crashes(folder, list(KILLS))


def assert_same_end(whole: Path, resumed: Path) -> None:
    """The same weights, optimizer and samples at the last step, and the same losses on the way."""
    expected, found = restore(whole), restore(resumed)
    assert expected is not None
    assert found is not None
    assert (found.step, found.state["samples_seen"], found.warnings) == (6, 24, [])
    assert same(found.tensors["model"], expected.tensors["model"])
    assert same(found.tensors["optimizer"], expected.tensors["optimizer"])
    losses = [[(line["step"], line["loss"], line["samples_seen"]) for line in metrics(run)] for run in (whole, resumed)]
    assert losses[0] == losses[1]
    assert [step for step, *_ in losses[0]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("kill", KILLS)
def test_weights_after_a_kill_and_a_resume_are_bit_identical(crashed, kill):
    folder, codes = crashed
    assert codes["whole"] == [0]
    assert codes[kill] == [-9, 0]
    assert_same_end(folder / "whole", folder / kill)


def test_a_teacher_and_muon_on_pictures_after_a_kill_and_a_resume_are_bit_identical(tmp_path):
    # a momentum of 0.5, so that a teacher that is not restored is far from its student
    teacher = f"method={{name: ijepa, {SMALL}, momentum: 0.5}}"
    steps = ("train.steps=6", "train.evaluate_every_steps=6", "encoder.patch=4", "train.optimizer=muon")
    codes = crashes(
        tmp_path, [kill := "after_model:2"], write_media_config(tmp_path, "image_pretraining"), teacher, *steps
    )
    assert (codes["whole"], codes[kill], codes["sigterm"]) == ([0], [-9, 0], [75])
    assert_same_end(tmp_path / "whole", tmp_path / kill)
    found = restore(tmp_path / "whole")
    assert found is not None
    names = [name for name in found.tensors["model"] if name.startswith("target.")]
    assert names
    for name in names:  # it follows its student, and is not it
        student = found.tensors["model"][name.replace("target.module.", "encoder.")]
        assert not student.equal(found.tensors["model"][name]) or not student.is_floating_point()


def test_the_uninterrupted_run_uses_dropout_and_more_than_one_micro_batch(crashed):
    folder, _ = crashed
    config = (folder / "whole" / "config.yaml").read_text()
    assert "dropout: 0.1" in config
    assert "accumulate: 2" in config


def test_two_sigterms_end_with_exit_code_75_and_a_checkpoint_of_the_last_step(crashed):
    folder, codes = crashed
    assert codes["sigterm"] == [75]
    found = restore(folder / "sigterm")
    assert found is not None
    assert found.step == metrics(folder / "sigterm")[-1]["step"] < 100_000
    log = (folder / "sigterm.log").read_text()
    assert log.count("mmssl: stopped at step") == log.count("stopping after this step") == 1
    assert "Traceback" not in log


def resumed_toy(folder: Path, *overrides: str, samples_seen: int | None = None):
    """The weights after six steps with a stop at the third; the stream goes on from `samples_seen`."""
    run, stream = toy_run(folder, "train.save_every_steps=100", *overrides)
    train(run, stream, until=3)
    run, stream = toy_run(folder, "train.save_every_steps=100", *overrides)
    assert run.samples_seen == 12
    if samples_seen is not None:
        order = Order(stream._dataset.order.sizes, run.config.seed)
        stream = batches(stream._dataset.read, order, run.slots, samples_seen=samples_seen)
    train(run, stream, until=6)
    return weights_of(run)


@pytest.fixture
def folders(tmp_path):
    """One folder for an uninterrupted run and one for another."""
    for name in ("whole", "other"):
        (tmp_path / name).mkdir()
    run, stream = toy_run(tmp_path / "whole", "train.save_every_steps=100")
    train(run, stream, until=6)
    return weights_of(run), tmp_path / "other"


def test_a_fresh_run_in_the_same_process_goes_on_bit_identically(folders):
    whole, other = folders
    assert same(resumed_toy(other), whole)


def test_lars_goes_on_bit_identically(tmp_path):
    for folder in ("whole", "other"):
        (tmp_path / folder).mkdir()
    run, stream = toy_run(tmp_path / "whole", "train.save_every_steps=100", "train.optimizer=lars")
    train(run, stream, until=6)
    assert same(resumed_toy(tmp_path / "other", "train.optimizer=lars"), weights_of(run))


def test_with_samples_seen_ignored_the_weights_differ(folders):
    whole, other = folders
    assert not same(resumed_toy(other, samples_seen=0), whole)


def test_without_the_optimizer_state_the_weights_differ(folders, monkeypatch):
    whole, other = folders
    monkeypatch.setattr("mmssl.train.set_state", lambda *arguments: None)
    assert not same(resumed_toy(other), whole)


def test_without_the_reseeding_of_each_step_the_weights_differ(tmp_path, monkeypatch):
    """Dropout then follows the global generator, which a resumed run does not have."""
    weights = []
    for name, stops in (("whole", [6]), ("other", [3, 6])):
        (tmp_path / name).mkdir()
        for until in stops:
            run, stream = toy_run(tmp_path / name, "train.save_every_steps=100")
            with monkeypatch.context() as patch:
                patch.setattr("mmssl.train.torch.manual_seed", lambda seed: None)
                train(run, stream, until=until)
        weights.append(weights_of(run))
    assert not same(*weights)
