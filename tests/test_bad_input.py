"""What a user can get wrong: the exit code, one clear line, and nothing lost."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from raw_folders import one_line
from running import call, finished_run, metrics, same, training_only, write_config
from safetensors.torch import load_file, save_file

from mmssl.checkpoint import restore
from mmssl.folder import lock

QUIET = ("step ", "note: ", "stopping ")
NAMES = ("lion", "zebra", "gnu", "hyena", "leopard", "warthog", "gazelle", "cheetah")


@pytest.fixture
def pretrain(tmp_path, capsys):
    """Runs `mmssl pretrain` with overrides; gives the exit code and what stderr says besides progress and notes."""
    config = write_config(tmp_path)

    def run(*overrides: str) -> tuple[int, list[str]]:
        with training_only():
            code = call("pretrain", config, f"run={tmp_path / 'run'}", "data.document=line", *overrides)
        lines = capsys.readouterr().err.splitlines()
        return code, [line for line in lines if not line.startswith(QUIET)]

    return run


@pytest.fixture
def finished(tmp_path, tmp_path_factory, capsys):
    """A copy of the finished run where `pretrain` finds it."""
    shutil.copytree(finished_run(tmp_path_factory.getbasetemp()), tmp_path / "run")
    capsys.readouterr()
    return tmp_path / "run"


def texts(folder: Path) -> Path:
    """A folder with one good text file of 300 lines."""
    folder.mkdir(exist_ok=True)
    lines = (f"the {NAMES[i % 8]} chases the {NAMES[i // 8 % 8]} near tree {i}" for i in range(300))
    (folder / "good.txt").write_text("\n".join(lines))
    return folder


def test_a_missing_folder(pretrain, tmp_path):
    one_line(pretrain(f"data.source={tmp_path}/missing"), 3, f"{tmp_path}/missing", "expected")


@pytest.mark.parametrize("kind", ["folder", "file", "file of spaces"])
def test_an_empty_source(pretrain, tmp_path, kind):
    source = tmp_path / "source"
    if kind == "folder":
        source.mkdir()
    else:
        source.write_text("" if kind == "file" else "  \n\n \n")
    one_line(pretrain(f"data.source={source}"), 3, str(source), "expected")


def test_a_binary_file_among_the_texts(pretrain, tmp_path):
    source = texts(tmp_path / "source")
    (source / "bad.txt").write_bytes(b"good text\n\xff\xfe\x00\x01 more")
    one_line(pretrain(f"data.source={source}"), 3, "bad.txt", "byte 10", "0xff", "data.invalid_text=replace")
    assert pretrain(f"data.source={source}", "data.invalid_text=replace") == (0, [])
    (entry,) = [json.loads(line) for line in (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()]
    assert entry["path"].endswith("bad.txt")
    assert (entry["offset"], entry["reason"]) == (10, "not UTF-8")


def test_crlf_is_a_line_end_and_nul_bytes_are_damage(pretrain, tmp_path):
    source = texts(tmp_path / "source")
    (source / "windows.txt").write_bytes(b"the zebra runs\r\nthe lion sleeps\r\n")
    assert pretrain(f"data.source={source}") == (0, [])
    assert not (tmp_path / "run" / "bad_samples.jsonl").exists()
    (source / "nul.txt").write_bytes(b"a zebra\x00\n")
    one_line(pretrain(f"data.source={source}", f"run={tmp_path}/second"), 3, "nul.txt", "byte 7", "0x00")


def single_line(path: Path, megabytes: int) -> None:
    """A file of so many megabytes without any line end."""
    block = "".join(f"the {NAMES[i * 7 % 8]} chases the {NAMES[i * 5 % 8]} again and again " for i in range(25_000))
    with path.open("w") as file:
        for _ in range(megabytes):
            file.write(block[:1_000_000])


def test_a_single_line_of_two_megabytes_is_cut_and_trained_on(pretrain, tmp_path):
    single_line(tmp_path / "line.txt", 2)
    assert pretrain(f"data.source={tmp_path}/line.txt", "train.steps=1", "data.row_length=64") == (0, [])
    assert len(metrics(tmp_path / "run")) == 1


@pytest.mark.slow
def test_a_single_line_of_200_megabytes_takes_bounded_memory(tmp_path):
    single_line(tmp_path / "line.txt", 200)
    single_line(tmp_path / "short.txt", 2)
    peaks = []
    for name in ("short", "line"):
        overrides = (f"run={tmp_path / name}", f"data.source={tmp_path / name}.txt", "train.steps=1")
        arguments = [sys.executable, "-m", "mmssl", "pretrain", write_config(tmp_path), *overrides]
        subprocess.run(arguments, check=True, capture_output=True, cwd=tmp_path, timeout=1800)
        peaks.append(metrics(tmp_path / name)[-1]["peak_memory_bytes"])
    assert peaks[1] - peaks[0] < 2e9


def test_a_config_of_another_method_on_a_run_folder(pretrain, finished):
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file() and path.name != "LOCK"}
    one_line(pretrain("method.name=roberta"), 4, 'method.name: "bert" -> "roberta"', "--override-on-resume")
    after = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file() and path.name != "LOCK"}
    assert after == before


def test_two_runs_on_one_folder(pretrain, tmp_path):
    (tmp_path / "run").mkdir()
    with lock(tmp_path / "run"):
        one_line(pretrain(), 4, str(tmp_path / "run"), "in use by process")


@pytest.mark.parametrize("place", ["file", "/proc"])
def test_a_folder_that_cannot_be_written(pretrain, tmp_path, place):
    (tmp_path / "file").write_text("here")
    folder = "/proc/none/run" if place == "/proc" else str(tmp_path / "file" / "run")
    one_line(pretrain(f"run={folder}"), 4, folder, "expected a folder that can be written")


def test_a_full_disk_while_saving_leaves_the_checkpoint_before(pretrain, tmp_path, monkeypatch):
    from mmssl import checkpoint

    write = checkpoint.write_synced

    def full(path, chunks):
        if "step-000000004" in str(path) and path.name == "optimizer.safetensors":
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, chunks)

    monkeypatch.setattr(checkpoint, "write_synced", full)
    one_line(pretrain(), 4, "step-000000004", "No space left on device", "earlier checkpoints are untouched")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000000002"]
    monkeypatch.undo()
    assert pretrain() == (0, [])
    found = restore(tmp_path / "run")
    assert found is not None
    assert (found.step, found.warnings) == (6, [])


def test_a_full_disk_while_logging(pretrain, monkeypatch):
    def full(self, step, values):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr("mmssl.metrics.Record.write", full)
    one_line(pretrain(), 4, "metrics.jsonl", "No space left on device", "expected")


def test_a_truncated_checkpoint_falls_back_with_a_loud_line(pretrain, finished):
    whole = restore(finished)
    assert whole is not None
    file = finished / "checkpoints" / "step-000000006" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    code, lines = pretrain()
    assert code == 0
    assert len(lines) == 1
    assert lines[0].startswith("warning: ")
    assert "step-000000006/model.safetensors" in lines[0]
    assert "falling back" in lines[0]
    mended = restore(finished)
    assert mended is not None
    assert mended.step == 6
    assert same(mended.tensors["model"], whole.tensors["model"])


def swap_two(file: Path) -> None:
    """Exchange two tensors of one shape, in a file that stays well-formed and as long as it was."""
    tensors = load_file(file)
    by_shape: dict = {}
    for name, tensor in tensors.items():
        by_shape.setdefault(tuple(tensor.shape), []).append(name)
    first, second = next(
        (a, b) for names in by_shape.values() for a in names for b in names if not torch.equal(tensors[a], tensors[b])
    )
    tensors[first], tensors[second] = tensors[second].clone(), tensors[first].clone()
    save_file(tensors, file)


def test_swapped_tensors_are_noticed_and_none_is_trusted(pretrain, finished, capsys):
    for step in (6, 4, 2):
        swap_two(finished / "checkpoints" / f"step-{step:09d}" / "model.safetensors")
    code, lines = pretrain()
    assert code == 4
    assert [line.startswith("warning: ") for line in lines] == [True, True, True, False]
    assert "none of 3 can be used" in lines[-1]
    assert len(metrics(finished)) == 6  # nothing was trained from the start


def test_nan_in_the_loss_of_a_real_run(pretrain, tmp_path):
    steep = ("train.learning_rate=1e20", "train.warmup_ratio=0.0", "train.schedule=constant")
    one_line(pretrain(*steep), 5, "expected finite numbers", "try a lower train.learning_rate")
    found = restore(tmp_path / "run")
    assert found is not None
    assert all(torch.isfinite(tensor).all() for tensor in found.tensors["model"].values())


@pytest.mark.parametrize(
    "override, parts",
    [
        ("train.learning_rat=1", ("train.learning_rat", "train.learning_rate")),
        ("train.steps=many", ("train.steps", "many")),
        ("train.batch_size=5", ("train.batch_size", "5", "multiple of train.accumulate (2)")),
        ("method.name=bart", ("method.name", "bart", "bert")),
        ("task=masked_langage", ("masked_langage", "masked_language")),
        ("encoder.heads=5", ("encoder.width 32", "encoder.heads 5")),
        ("nonsense", ("nonsense", "expected key=value")),
    ],
)
def test_a_key_or_value_that_cannot_be_used(pretrain, override, parts):
    one_line(pretrain(override), 2, *parts)


def test_a_config_that_is_missing(tmp_path, capsys):
    assert call("pretrain", tmp_path / "none.yaml") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "none.yaml" in line


def test_changed_data_on_resume(pretrain, tmp_path):
    source = texts(tmp_path / "source")
    assert pretrain(f"data.source={source}", "train.steps=2") == (0, [])
    (source / "more.txt").write_text("another gnu sleeps\n" * 3)
    one_line(pretrain(f"data.source={source}", "train.steps=2"), 4, "the data changed since")
    (source / "more.txt").unlink()
    assert pretrain(f"data.source={source}", "train.steps=2") == (0, [])


def test_predict_without_a_mask(finished, capsys):
    assert call("predict", finished, "nothing is hidden") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "'nothing is hidden' hides nothing; expected at least one [MASK]" in line


@pytest.mark.parametrize("command", ["evaluate", "predict", "score", "embed", "export"])
def test_a_folder_that_is_no_run(tmp_path, capsys, command):
    more = {"predict": ["[MASK]"], "score": ["x", "y"], "embed": ["savanna", "--out", "f.parquet"], "export": ["dir"]}
    assert call(command, tmp_path, *more.get(command, [])) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"mmssl: run {tmp_path}: no config.yaml; expected a run folder of `mmssl pretrain`"


def test_export_of_a_window_network(pretrain, tmp_path, capsys):
    config = tmp_path / "window.yaml"
    text = (tmp_path / "tiny.yaml").read_text()
    encoder = next(line for line in text.splitlines() if line.startswith("encoder:"))
    config.write_text(text.replace(encoder, "method: {name: collobert_weston}\nencoder: {name: window, width: 8}"))
    with training_only():
        assert call("pretrain", config, f"run={tmp_path / 'run'}", "train.steps=2") == 0
    capsys.readouterr()
    assert call("export", tmp_path / "run", tmp_path / "stock") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "WindowEncoder has no stock class in transformers; expected" in line
