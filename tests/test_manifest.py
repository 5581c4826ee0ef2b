"""Whatever happens to the bytes of a checkpoint is noticed, and nothing in them is ever run."""

import json
import os
import pickle
import random
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mmssl import manifest
from mmssl.checkpoint import restore, save
from mmssl.errors import CheckpointError
from mmssl.manifest import damage, read_manifest, seal

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """The newer of two checkpoints; the tensors a and b have the same size."""
    for step in (1, 2):
        model = {"a": torch.full((4,), 1.0 * step), "b": torch.full((4,), 2.0 * step)}
        path = save(tmp_path, step, {"model": model, "optimizer": {"a": model["a"] / 2}}, {"step": step}, keep=2)
    return path


def assert_falls_back(newest: Path, capsys: pytest.CaptureFixture, name: str = "") -> None:
    restored = restore(newest.parent.parent)
    assert restored is not None
    assert restored.step == restored.state["step"] == 1
    assert torch.equal(restored.tensors["model"]["b"], torch.full((4,), 2.0))
    assert len(restored.warnings) == 1
    assert str(newest / name) in restored.warnings[0]
    assert capsys.readouterr().err == f"warning: {restored.warnings[0]}\n"


def with_manifest(path: Path, **changes: object) -> None:
    """Seals the manifest again around other content, as an attacker would."""
    (path / "MANIFEST.json").write_bytes(seal(read_manifest(path).model_copy(update=changes)))


def with_file(path: Path, name: str, data: bytes) -> None:
    """Replaces a file and makes the manifest agree with it."""
    files = dict(read_manifest(path).files)
    files[name] = manifest.File(size=len(data), sha256=sha256(data).hexdigest())
    with_manifest(path, files=files)
    (path / name).write_bytes(data)


def test_an_untouched_checkpoint_is_not_damaged(newest, capsys):
    restored = restore(newest.parent.parent)
    assert restored is not None
    assert (restored.step, restored.warnings, damage(newest)) == (2, [], "")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_noticed(newest, name):
    data, draw = (newest / name).read_bytes(), random.Random(name)
    for position in draw.sample(range(len(data)), min(150, len(data))):
        flipped = bytearray(data)
        flipped[position] ^= 1 << draw.randrange(8)
        (newest / name).write_bytes(flipped)
        assert str(newest / name) in damage(newest), position
    (newest / name).write_bytes(data)
    assert damage(newest) == ""


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_noticed(newest, name):
    data = (newest / name).read_bytes()
    for length in {0, 1, 8, *range(0, len(data), 37), len(data) - 1}:
        (newest / name).write_bytes(data[:length])
        assert str(newest / name) in damage(newest), length


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fate", ["flipped", "truncated", "extended", "deleted", "a directory", "of another step"])
def test_restore_falls_back_past_a_damaged_file_and_says_so(newest, capsys, name, fate):
    data = (newest / name).read_bytes()
    (newest / name).unlink()
    if fate == "a directory":
        (newest / name).mkdir()
    elif fate == "of another step":
        shutil.copy(newest.with_name("step-000000001") / name, newest / name)
    elif fate != "deleted":
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        mutants = {"flipped": flipped, "truncated": data[:middle], "extended": data + b"\0"}
        (newest / name).write_bytes(mutants[fate])
    assert_falls_back(newest, capsys, name)


@pytest.mark.parametrize("one, other", [(0, 1), (1, 2), (2, 3), (0, 3)])
def test_swapped_files_are_noticed(newest, capsys, one, other):
    first, second = newest / FILES[one], newest / FILES[other]
    first_data, second_data = first.read_bytes(), second.read_bytes()
    first.write_bytes(second_data)
    second.write_bytes(first_data)
    assert_falls_back(newest, capsys)


def test_swapped_tensors_of_the_same_size_are_noticed(newest, capsys):
    file = newest / "model.safetensors"
    tensors = safetensors.torch.load(file.read_bytes())
    swapped = safetensors.torch.save({"a": tensors["b"], "b": tensors["a"]})
    assert len(swapped) == file.stat().st_size
    file.write_bytes(swapped)
    assert_falls_back(newest, capsys, "model.safetensors")


def test_a_checkpoint_under_the_name_of_another_step_is_noticed(newest, capsys):
    older = newest.with_name("step-000000001")
    shutil.rmtree(newest)
    shutil.copytree(older, newest)
    assert_falls_back(newest, capsys, "MANIFEST.json: is of step 1")


def test_without_verification_a_flipped_bit_goes_through(newest, monkeypatch):
    file = newest / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    monkeypatch.setattr(manifest, "verify", lambda path, data, expected: None)
    restored = restore(newest.parent.parent)
    assert restored is not None
    assert (restored.step, restored.warnings) == (2, [])
    assert not torch.equal(restored.tensors["model"]["b"], torch.full((4,), 4.0))


def test_damaged_checkpoints_never_become_a_fresh_start(newest, capsys):
    for path in newest.parent.iterdir():
        (path / "MANIFEST.json").unlink()
    with pytest.raises(CheckpointError, match="none of 2 can be used") as caught:
        restore(newest.parent.parent)
    assert caught.value.exit_code == 4
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("name", ["step-000000007", "step-best", "step-"])
def test_an_empty_or_unknown_checkpoint_never_becomes_a_fresh_start(tmp_path, name):
    (tmp_path / "checkpoints" / name).mkdir(parents=True)
    with pytest.raises(CheckpointError, match="none of 1 can be used"):
        restore(tmp_path)


def test_a_file_in_the_place_of_the_checkpoints_is_an_error(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(CheckpointError, match="Not a directory"):
        restore(tmp_path)


class Payload:
    """What a hostile checkpoint would run when unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.sentinel),)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", ["pickle", "torch"])
def test_a_pickle_in_the_place_of_a_file_is_refused_and_not_run(newest, tmp_path, capsys, name, make):
    sentinel = tmp_path / "sentinel"
    if make == "pickle":
        data = pickle.dumps(Payload(sentinel))
    else:
        torch.save({"a": Payload(sentinel)}, tmp_path / "payload")
        data = (tmp_path / "payload").read_bytes()
    if name == "MANIFEST.json":
        (newest / name).write_bytes(data)
    else:
        with_file(newest, name, data)
    assert_falls_back(newest, capsys, name)
    assert not sentinel.exists()
    torch.load(tmp_path / "payload", weights_only=False) if make == "torch" else pickle.loads(data)
    assert sentinel.exists()  # the payload does run where it is unpickled


@pytest.mark.parametrize("text", ["[1]", "[" * 100_000, "{", "\x00"])
def test_a_sealed_state_that_is_not_a_mapping_is_refused(newest, capsys, text):
    with_file(newest, "state.json", text.encode())
    assert_falls_back(newest, capsys, "state.json")


def test_a_sealed_manifest_cannot_name_files_elsewhere(newest, capsys):
    files = read_manifest(newest).files
    with_manifest(newest, files={**files, "../../secret": files["state.json"]})
    assert_falls_back(newest, capsys, "MANIFEST.json: lists")
    content = read_manifest(newest.with_name("step-000000001")).model_dump() | {"tensors": {"../secret": {}}}
    (newest / "MANIFEST.json").write_text(json.dumps(content))
    assert_falls_back(newest, capsys, "MANIFEST.json: not a manifest")


def test_sealed_tensors_other_than_the_manifest_says_are_refused(newest, capsys):
    with_file(newest, "model.safetensors", safetensors.torch.save({"a": torch.ones(4), "b": torch.ones(2, 2)}))
    assert_falls_back(newest, capsys, "model.safetensors: holds other tensors")


def test_a_manifest_of_another_format_version_is_refused(newest, capsys):
    with_manifest(newest, format_version=2)
    assert_falls_back(newest, capsys, "MANIFEST.json: has format version 2, expected 1")
