import errno
import json
import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmssl import checkpoint
from mmssl.checkpoint import restore, save
from mmssl.errors import CheckpointError
from mmssl.weights import check_compatible


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def content(seed: int) -> dict[str, dict[str, Tensor]]:
    numbers = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 5, generator=numbers)
    model = {"weight": weight, "bias": torch.randn(5, generator=numbers), "bias2": torch.randn(5, generator=numbers)}
    return {"model": model, "optimizer": {"weight.exp_avg": weight * 0.1, "step": torch.tensor(float(seed))}}


def put(folder: Path, step: int, keep: int = 2) -> Path:
    folder.mkdir(exist_ok=True)
    return save(folder, step, content(step), {"samples_seen": 8 * step, "note": "é"}, keep=keep)


def assert_same(found: dict[str, dict[str, Tensor]], expected: dict[str, dict[str, Tensor]]) -> None:
    assert {name: set(group) for name, group in found.items()} == {name: set(group) for name, group in expected.items()}
    for name, group in expected.items():
        for key, tensor in group.items():
            assert found[name][key].dtype == tensor.dtype
            assert found[name][key].shape == tensor.shape
            as_bytes = (one.contiguous().reshape(-1).view(torch.uint8) for one in (found[name][key], tensor))
            assert torch.equal(*as_bytes), (name, key)


def assert_holds(folder: Path, step: int) -> None:
    restored = restore(folder)
    assert restored is not None
    assert (restored.step, restored.state) == (step, {"samples_seen": 8 * step, "note": "é"})
    assert_same(restored.tensors, content(step))


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*"))


def full_disk(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_round_trip_is_exact_for_every_dtype_and_shape(tmp_path):
    model = {
        "float32": torch.tensor([1.0, float("nan"), float("-inf"), -0.0, 1e-45]),
        "bfloat16": torch.randn(3, 4).bfloat16(),
        "int64": torch.tensor([[2**63 - 1, -(2**63)]]),
        "bool": torch.tensor([True, False, True]),
        "empty": torch.empty(0, 7),
        "scalar": torch.tensor(3.5),
        "transposed": torch.arange(6).reshape(2, 3).T,
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    state = {"samples_seen": 2**40, "rate": 0.1, "groups": [{"betas": [0.9, 0.95]}]}
    path = save(tmp_path, 7, {"model": model, "optimizer": {}}, state, keep=2)
    restored = restore(tmp_path)
    assert restored is not None
    assert path == restored.path == tmp_path / "checkpoints" / "step-000000007"
    assert (restored.step, restored.state, restored.warnings) == (7, state, [])
    assert_same(restored.tensors, {"model": {key: one.detach() for key, one in model.items()}, "optimizer": {}})
    restored.tensors["model"]["float32"].add_(1)  # the restored tensors can be written


def test_a_folder_without_checkpoints_gives_none(tmp_path):
    assert restore(tmp_path / "absent") is None
    (tmp_path / "checkpoints" / ".tmp-step-000000001-abc").mkdir(parents=True)
    assert restore(tmp_path) is None


def test_a_checkpoint_holds_only_safetensors_and_json_and_latest_names_it(tmp_path):
    path = put(tmp_path, 3)
    names = {"model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"}
    assert {file.name for file in path.iterdir()} == names
    assert (tmp_path / "latest").read_text() == "step-000000003\n"
    manifest = json.loads((path / "MANIFEST.json").read_text())
    assert manifest["tensors"]["model"]["weight"] == {"shape": [6, 5], "dtype": "float32"}
    assert manifest["files"]["state.json"]["size"] == (path / "state.json").stat().st_size


def test_the_same_content_gives_the_same_bytes(tmp_path):
    one, two = put(tmp_path / "one", 3), put(tmp_path / "two", 3)
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes()


def test_latest_is_only_a_hint(tmp_path):
    put(tmp_path, 1)
    put(tmp_path, 2)
    (tmp_path / "latest").write_text("step-000000001\n")
    assert_holds(tmp_path, 2)


def test_a_checkpoint_that_latest_names_and_that_is_gone_is_told(tmp_path, capsys):
    put(tmp_path, 1)
    shutil.rmtree(put(tmp_path, 2))
    restored = restore(tmp_path)
    assert restored is not None
    assert (restored.step, restored.warnings) == (
        1, [f"checkpoints in {tmp_path}: latest names step-000000002, which is gone"],
    )  # fmt: skip
    assert "warning: checkpoints in" in capsys.readouterr().err


def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(tmp_path):
    put(tmp_path, 1)
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(CheckpointError, match="latest names step-000000001, and there is no checkpoint") as caught:
        restore(tmp_path)
    assert caught.value.exit_code == 4
    (tmp_path / "latest").unlink()  # as the error says
    assert restore(tmp_path) is None


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced (with its size in bytes, if a file), renamed and replaced, in order."""
    done = []

    def name(path: str | Path) -> str:
        return ".tmp" if Path(path).name.startswith(".tmp") else Path(path).name

    def sync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append(f"sync {name(path)}" + (f" {path.stat().st_size}" if path.is_file() else ""))

    rename, replace = os.rename, os.replace
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", lambda old, new: (done.append(f"rename {name(new)}"), rename(old, new)))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append(f"replace {name(new)}"), replace(old, new)))
    return done


def safe_order(path: Path) -> list[str]:
    """The order that loses nothing when the power fails: each file whole on the disk before what vouches for it."""
    names = ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]
    files = [f"sync {name} {(path / name).stat().st_size}" for name in names]
    folder = path.parent.parent.name
    named = ["sync .tmp", f"rename {path.name}", "sync checkpoints"]
    return [f"sync {folder}", *files, *named, "sync .latest.tmp 15", "replace latest", f"sync {folder}"]


def test_every_file_is_synced_before_the_manifest_and_the_manifest_before_the_rename(tmp_path, order):
    assert order == safe_order(put(tmp_path, 3))


@pytest.mark.parametrize("name", ["sync_directory", "write_synced"])
def test_a_missing_sync_shows_in_the_order(tmp_path, order, monkeypatch, name):
    def write_unsynced(path: Path, chunks: Iterator[bytes]) -> None:
        path.write_bytes(b"".join(chunks))

    monkeypatch.setattr(checkpoint, name, {"write_synced": write_unsynced}.get(name, lambda path: None))
    assert order != safe_order(put(tmp_path, 3))


def test_the_newest_are_kept_and_never_fewer_than_two(tmp_path):
    for step in (1, 2, 3, 4, 1000000000):
        put(tmp_path / "three", step, keep=3)
        put(tmp_path / "one", step, keep=1)
    assert steps(tmp_path / "three") == [3, 4, 1000000000]
    assert steps(tmp_path / "one") == [4, 1000000000]
    assert_holds(tmp_path / "three", 1000000000)


def test_a_damaged_checkpoint_does_not_count_among_the_kept(tmp_path):
    put(tmp_path, 1)
    (put(tmp_path, 2) / "state.json").write_text("{}")
    put(tmp_path, 3)
    assert steps(tmp_path) == [1, 2, 3]
    put(tmp_path, 4)
    assert steps(tmp_path) == [3, 4]


def test_an_intact_checkpoint_of_the_same_step_stays_and_a_damaged_one_is_replaced(tmp_path):
    path = put(tmp_path, 1)
    put(tmp_path, 2)
    save(tmp_path, 1, content(5), {}, keep=2)
    shutil.rmtree(tmp_path / "checkpoints" / "step-000000002")
    assert_holds(tmp_path, 1)
    (path / "model.safetensors").write_bytes(b"")
    put(tmp_path, 1)
    assert_holds(tmp_path, 1)


def test_what_a_killed_process_left_is_swept(tmp_path):
    for name in (".tmp-step-000000001-00", ".trash-step-000000001-00"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "model.safetensors").write_bytes(b"half")
    put(tmp_path, 2)
    assert os.listdir(tmp_path / "checkpoints") == ["step-000000002"]


def test_a_failing_deletion_is_told_and_harms_nothing(tmp_path, monkeypatch, capsys):
    put(tmp_path, 1)
    put(tmp_path, 2)
    monkeypatch.setattr(shutil, "rmtree", full_disk)
    put(tmp_path, 3)
    assert "cannot be deleted" in capsys.readouterr().err
    monkeypatch.undo()
    assert_holds(tmp_path, 3)


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    put(tmp_path, 1)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1234, 1234))
    with pytest.raises(CheckpointError, match=r"needs 1,0\d\d,\d{3} bytes, 1,234 are free"):
        put(tmp_path, 2)
    assert os.listdir(tmp_path / "checkpoints") == ["step-000000001"]


@pytest.mark.parametrize("number", range(1, 5))  # model, optimizer, state, manifest
@pytest.mark.parametrize("place", ["write", "sync"])
def test_a_disk_that_fills_during_a_save_loses_nothing(tmp_path, monkeypatch, number, place):
    put(tmp_path, 1)
    put(tmp_path, 2)
    calls = []

    def fail(point: object) -> None:
        if point == "during_write" or place == "sync":
            calls.append(point)
        if len(calls) == number:
            full_disk()

    monkeypatch.setattr(*((checkpoint, "fault", fail) if place == "write" else (os, "fsync", fail)))
    with pytest.raises(CheckpointError, match=r"No space left .* needs [\d,]+ bytes, [\d,]+ are free") as caught:
        put(tmp_path, 3)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-000000001", "step-000000002"]
    assert_holds(tmp_path, 2)
    put(tmp_path, 3)
    assert_holds(tmp_path, 3)


def test_a_disk_that_fills_after_the_rename_leaves_the_new_checkpoint(tmp_path, monkeypatch):
    put(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "write_latest", full_disk)
    with pytest.raises(CheckpointError, match="No space left"):
        put(tmp_path, 2)
    monkeypatch.undo()
    assert_holds(tmp_path, 2)


def test_an_interrupted_save_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(point: str) -> None:
        if point == "after_model":
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "fault", interrupt)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path, 1)
    assert os.listdir(tmp_path / "checkpoints") == []


def test_a_state_that_is_not_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TypeError, match="JSON"):
        save(tmp_path, 1, content(1), {"rate": torch.tensor(1.0)}, keep=2)
    assert os.listdir(tmp_path) == []


def test_two_names_for_one_tensor_are_refused_and_leave_nothing(tmp_path):
    tied = torch.ones(3)
    with pytest.raises(RuntimeError, match="share memory"):
        save(tmp_path, 1, {"model": {"one": tied, "two": tied}}, {}, keep=2)
    assert os.listdir(tmp_path / "checkpoints") == []


def test_check_compatible_lists_what_differs():
    expected = {"a": torch.ones(2, 3), "b": torch.ones(4), "c": torch.ones(1)}
    found = {"a": torch.ones(3, 2), "b": torch.ones(4).bfloat16(), "d": torch.ones(1)}
    check_compatible(expected, dict(expected), "model")
    with pytest.raises(CheckpointError) as caught:
        check_compatible(expected, found, "model")
    assert str(caught.value) == (
        "model of the checkpoint does not fit: c float32(1,) is missing; d float32(1,) is unexpected; "
        "a is float32(3, 2), expected float32(2, 3); b is bfloat16(4,), expected float32(4,)"
    )
    with pytest.raises(CheckpointError, match=r"x4 float32\(\) is missing; \+3 more$"):
        check_compatible({f"x{number}": torch.tensor(1.0) for number in range(8)}, {}, "optimizer")
