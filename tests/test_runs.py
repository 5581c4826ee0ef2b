"""The run folder: what may change between two starts, what may not, and that it is never left half written."""

import errno
import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from running import TINY, call, metrics, toy_config, toy_run, training_only, write_config

from mmssl.config import Config, load_config
from mmssl.errors import CheckpointError, ConfigError
from mmssl.runs import environment, open_folder, open_run, record_bad, task_of, write_json
from mmssl.train import train


def started(folder: Path, *overrides: str, changed: tuple[str, ...] = (), has_saved: bool = True) -> None:
    """Open and close the run folder with a config, as a run that has saved a checkpoint."""
    with open_folder(toy_config(folder, *overrides), changed=changed):
        if has_saved:
            (folder / "run" / "checkpoints" / "step-000000002").mkdir(parents=True, exist_ok=True)


def test_before_the_first_checkpoint_a_new_config_begins_anew(tmp_path):
    started(tmp_path, has_saved=False)
    (tmp_path / "run" / "tokenizer").mkdir()
    started(tmp_path, has_saved=False)
    assert (tmp_path / "run" / "tokenizer").exists()  # the same config goes on with its tokenizer
    started(tmp_path, "seed=1", has_saved=False)
    assert not (tmp_path / "run" / "tokenizer").exists()
    assert load_config(tmp_path / "run" / "config.yaml").seed == 1


def test_open_folder_writes_the_resolved_config_and_the_environment(tmp_path):
    config = toy_config(tmp_path, "train.learning_rate=1e-3")
    with open_folder(config) as folder:
        assert load_config(folder / "config.yaml") == config
        said = json.loads((folder / "environment.json").read_text())
    assert said["versions"]["torch"] == metadata.version("torch")
    assert said.keys() >= {"hardware", "python", "processes", "command"}
    assert environment()["processes"] == 1


def fails(folder: Path, config: Config, saves: bool) -> None:
    """A run whose weights do not fit, or one that saved something before."""
    with open_folder(config, changed=["encoder"]):
        if saves:
            (folder / "run" / "checkpoints" / "step-000000003").mkdir()
        raise CheckpointError("weights do not fit")


@pytest.mark.parametrize("saves", [False, True])
def test_a_config_that_fails_before_it_saves_anything_is_not_that_of_the_run(tmp_path, saves):
    started(tmp_path)
    former, new = toy_config(tmp_path), toy_config(tmp_path, "encoder.width=64")
    with pytest.raises(CheckpointError):
        fails(tmp_path, new, saves)
    assert load_config(tmp_path / "run" / "config.yaml") == (new if saves else former)


@pytest.mark.parametrize(
    "override",
    ["track=[tensorboard]", "train.log_every_steps=3", "train.save_every_steps=5", "train.keep_checkpoints=9",
     "train.evaluate_every_steps=2", "train.accumulate=4", "data.workers=1", "data.cache=elsewhere",
     "evaluate.documents=64"],
)  # fmt: skip
def test_what_does_not_change_the_training_may_change(tmp_path, override):
    started(tmp_path)
    started(tmp_path, override)
    assert load_config(tmp_path / "run" / "config.yaml") == toy_config(tmp_path, override)


@pytest.mark.parametrize(
    "override, said",
    [
        ("seed=1", "seed: 0 -> 1"),
        ("train.steps=7", "train.steps: 6 -> 7"),
        ("train.learning_rate=1e-3", r"train.learning_rate: 0.0005 -> 0.001"),
        ("data.samples=500", "data.samples: 600 -> 500"),
        ("encoder.width=64", "encoder.width: 32 -> 64"),
        ("method.name=roberta", 'method.name: "bert" -> "roberta"'),
    ],
)
def test_what_changes_the_training_may_not_change(tmp_path, override, said):
    started(tmp_path)
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(CheckpointError) as raised:
        started(tmp_path, override)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_an_overridden_key_may_change_and_no_other(tmp_path):
    started(tmp_path)
    with pytest.raises(CheckpointError, match=r"train\.steps: 6 -> 7; expected"):
        started(tmp_path, "seed=1", "train.steps=7", changed=("seed",))
    started(tmp_path, "seed=1", "train.steps=7", changed=("seed", "train"))
    assert load_config(tmp_path / "run" / "config.yaml").train.steps == 7


@pytest.mark.parametrize("key", ["train.optimizer", "train"])
def test_the_optimizer_may_not_change_once_there_is_a_checkpoint(tmp_path, key):
    started(tmp_path)
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(
        CheckpointError, match=r'run: train\.optimizer: "adamw" -> "lars": what one .*; expected the same'
    ):
        started(tmp_path, "train.optimizer=lars", changed=(key,))
    assert (tmp_path / "run" / "config.yaml").read_text() == before
    shutil.rmtree(tmp_path / "run" / "checkpoints")  # nothing was trained yet
    started(tmp_path, "train.optimizer=lars", changed=(key,))


def test_part_of_a_key_s_name_overrides_nothing(tmp_path):
    started(tmp_path)
    with pytest.raises(ConfigError, match=r"override-on-resume train\.learning: no such key"):
        started(tmp_path, "train.learning_rate=1e-3", changed=("train.learning",))


def test_an_overridden_value_is_live_in_the_optimizer(tmp_path):
    live = ["train.weight_decay=0.3", "train.learning_rate=0.02", "train.betas=[0.5, 0.6]", "train.schedule=constant"]
    run, stream = toy_run(tmp_path, "train.save_every_steps=2")
    with open_folder(run.config):
        train(run, stream, until=2)
    changed = tuple(one.partition("=")[0] for one in live)
    with open_folder(toy_config(tmp_path, *live), changed=changed):
        resumed, stream = toy_run(tmp_path, *live)
        assert resumed.step == 2
        train(resumed, stream, until=3)
    decays = [group["weight_decay"] for group in resumed.optimizer.param_groups]
    assert decays == [0.3, 0.0]  # weights decay, biases do not
    for group in resumed.optimizer.param_groups:
        assert (group["lr"], tuple(group["betas"])) == (0.02, (0.5, 0.6))
    assert [line["learning_rate"] for line in metrics(tmp_path / "run")][-1] == 0.02


def test_a_folder_with_a_config_that_cannot_be_read_is_refused(tmp_path):
    started(tmp_path)
    (tmp_path / "run" / "config.yaml").write_text("task: [")
    with pytest.raises(CheckpointError, match="its config cannot be read"):
        started(tmp_path)


def test_a_disk_that_fills_leaves_the_config_whole(tmp_path, monkeypatch):
    started(tmp_path)
    before = (tmp_path / "run" / "config.yaml").read_bytes()

    def half(self, content, *arguments, **options):
        with open(self, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(CheckpointError, match="No space left on device"), open_folder(toy_config_there(tmp_path)):
        pass
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def toy_config_there(folder):
    """The config of a folder that has been started, with another free key."""
    return load_config(folder / "tiny.yaml", [f"run={folder / 'run'}", "train.log_every_steps=5"])


def test_write_json_leaves_the_old_file_where_the_new_one_fails(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "evaluation.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(Path, "replace", lambda self, other: (_ for _ in ()).throw(OSError(errno.EIO, "broken disk")))
    with pytest.raises(CheckpointError, match=r"evaluation\.json: broken disk; expected"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_record_bad_writes_each_fault_once(tmp_path):
    for entry in ({"path": "a"}, {"path": "b"}, {"path": "a"}):
        record_bad(tmp_path, entry)
    lines = (tmp_path / "bad_samples.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"path": "a"}, {"path": "b"}]


def test_of_a_file_whose_samples_are_replaced_the_first_is_recorded(tmp_path):
    for path, other in (("a", 3), ("a", 4), ("ab", 5), ("a", 3)):
        record_bad(tmp_path, {"path": path, "reason": f"instead {other}", "replaced_by": other})
    record_bad(tmp_path, {"path": "a", "offset": 1})  # a fault of another kind
    lines = [json.loads(line) for line in (tmp_path / "bad_samples.jsonl").read_text().splitlines()]
    assert [(entry["path"], entry.get("replaced_by")) for entry in lines] == [("a", 3), ("ab", 5), ("a", None)]


def test_a_task_of_the_current_folder_goes_before_the_package_s(tmp_path, monkeypatch):
    config = toy_config(tmp_path)
    assert task_of(config).__file__ != str(tmp_path / "tasks" / "masked_language.py")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "masked_language.py").write_text("NAME = 'mine'\n")
    monkeypatch.chdir(tmp_path)
    assert task_of(config).NAME == "mine"


def test_open_run_reads_a_run_folder_that_has_been_moved(tmp_path):
    run, stream = toy_run(tmp_path)
    with open_folder(run.config):
        train(run, stream, until=2)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    config, found = open_run(tmp_path / "moved")
    assert config.run == str(tmp_path / "moved")
    assert found.step == 2


def test_open_run_refuses_a_folder_that_is_no_run_or_has_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.yaml; expected a run folder"):
        open_run(tmp_path)
    started(tmp_path, has_saved=False)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        open_run(tmp_path / "run")


def test_tensorboard_files_lie_in_the_run_folder(tmp_path):
    pytest.importorskip("tensorboard")
    run, stream = toy_run(tmp_path, "track=[tensorboard]")
    train(run, stream, until=2)
    run.accelerator.end_training()
    files = [path for path in (tmp_path / "run").rglob("events.out.tfevents*") if path.stat().st_size]
    assert files
    assert all(path.is_file() for path in files)


@pytest.mark.parametrize("broken", [("init_trackers",), ("log",), ("init_trackers", "log")])
def test_a_tracker_that_fails_never_stops_training_and_is_said_once(tmp_path, monkeypatch, capsys, broken):
    pytest.importorskip("tensorboard")
    run, stream = toy_run(tmp_path, "track=[tensorboard]")

    def fail(*arguments, **options):
        raise RuntimeError("no connection")

    for name in broken:
        monkeypatch.setattr(run.accelerator, name, fail)
    train(run, stream, until=6)
    run.accelerator.trackers.clear()
    assert len(metrics(tmp_path / "run")) == run.step == 6
    said = capsys.readouterr().err
    assert said.count("warning: tracker tensorboard: no connection; training goes on") == 1


def test_a_tracker_that_is_not_installed_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mmssl.train.get_available_trackers", list)
    run, stream = toy_run(tmp_path, "track=[wandb]")
    train(run, stream, until=1)
    assert "warning: tracker wandb: not installed" in capsys.readouterr().err


def test_a_second_start_of_a_finished_run_trains_no_further(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    for _ in range(2):
        with training_only():
            assert call("pretrain", write_config(tmp_path), f"run={tmp_path / 'run'}", "train.steps=2") == 0
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2]


def test_code_that_a_run_s_own_config_names_is_not_loaded_until_the_command_line_says_so(tmp_path, capsys):
    run, stream = toy_run(tmp_path)
    with open_folder(run.config):
        train(run, stream, until=2)
    text = (tmp_path / "tiny.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(text.replace("evaluate: {", "evaluate: {fvd_weights: evil.pt, "))
    capsys.readouterr()
    config, _ = open_run(tmp_path / "run")
    assert config.evaluate.fvd_weights == ""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: evaluate.fvd_weights evil.pt of ")
    assert line.endswith("is not loaded: TorchScript is code; expected it as KEY=VALUE")
    config, _ = open_run(tmp_path / "run", ["evaluate.fvd_weights=mine.pt"])
    assert config.evaluate.fvd_weights == "mine.pt"
    assert capsys.readouterr().err == ""
