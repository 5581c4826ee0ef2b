"""Gate 4, second half: the power fails after any prefix of what saves ask of the disk; what was saved is there."""

import itertools
import shutil
import time
from pathlib import Path
from random import Random

import pytest
import torch
from disk import Disk, put, states
from record import record

from mmssl import checkpoint
from mmssl.checkpoint import restore, save
from mmssl.errors import CheckpointError

SAVES = 3


def write(folder: Path, step: int) -> None:
    """Save the step."""
    model = {"weight": torch.full((20,), float(step))}
    save(folder, step, {"model": model, "optimizer": {"weight": model["weight"] / 3}}, {"samples_seen": step}, keep=2)


@pytest.fixture
def saved(tmp_path):
    """What is asked of the disk by some saves, then by one in the place of a checkpoint that was damaged."""

    def events() -> list[tuple]:
        folder = tmp_path / "run"
        folder.mkdir()
        with Disk(folder) as disk:
            for step in range(1, SAVES + 1):
                write(folder, step)
                disk.say("saved", step)
            damaged = folder / "checkpoints" / f"step-{SAVES:09d}" / "model.safetensors"
            disk.say("saved", SAVES - 1)
            damaged.write_bytes(b"rotten")
            disk.look()
            disk.events.append(("sync", disk.number[damaged]))
            write(folder, SAVES)
            disk.say("saved", SAVES)
        return disk.events

    return events


def lost(events: list[tuple], choices: int, folder: Path) -> tuple[int, int]:
    """The states that were looked at after all prefixes, and those in which a saved step is lost or not whole."""
    random, seen, bad = Random(0), 0, 0
    for length in range(len(events) + 1):
        given = events[:length]
        step = next((event[2] for event in reversed(given) if event[0] == "said"), 0)
        different = {tuple(sorted(tree.items())): tree for tree in states(given, choices, random)}
        for number, tree in enumerate(different.values()):
            put(tree, folder / f"{length}-{number}")
            bad += not is_held(folder / f"{length}-{number}", step)
            seen += 1
            shutil.rmtree(folder / f"{length}-{number}")
    return seen, bad


def is_held(folder: Path, step: int) -> bool:
    """Whether the checkpoint of this step is found, or a later one, all of it."""
    try:
        found = restore(folder)
    except CheckpointError:
        return False
    if found is None:
        return step == 0
    weight = torch.full((20,), float(found.step))
    is_whole = torch.equal(found.tensors["model"]["weight"], weight) and found.state == {"samples_seen": found.step}
    return found.step >= step and is_whole


@pytest.mark.parametrize("choices", [3, pytest.param(300, marks=pytest.mark.slow)])
def test_after_every_prefix_of_the_events_the_last_saved_step_is_there(saved, tmp_path, choices, capsys):
    events, began = saved(), time.monotonic()
    seen, bad = lost(events, choices, tmp_path)
    figures = {"prefixes": len(events) + 1, "states": seen, "lost": bad, "seconds": time.monotonic() - began}
    record("fsync_order", **{f"{name}_of_{choices}": value for name, value in figures.items()})
    assert len(events) > 30 * SAVES
    assert seen > len(events)
    assert bad == 0


@pytest.mark.parametrize("name", ["sync_directory", "write_synced"])
def test_without_syncs_of_folders_or_of_files_saved_steps_are_lost(saved, tmp_path, monkeypatch, capsys, name):
    def write_unsynced(path: Path, chunks) -> None:
        path.write_bytes(b"".join(chunks))

    monkeypatch.setattr(checkpoint, name, {"write_synced": write_unsynced}.get(name, lambda path: None))
    events = saved()
    monkeypatch.undo()
    assert lost(events, 1, tmp_path)[1] > SAVES


def test_with_old_checkpoints_removed_before_the_new_one_is_named_saved_steps_are_lost(
    saved, tmp_path, monkeypatch, capsys
):
    write_and_rename = checkpoint.write_and_rename

    def removed_first(final: Path, *content) -> None:
        for path in itertools.islice(checkpoint.newest_first(final.parent), 2):
            checkpoint.remove(path)
        write_and_rename(final, *content)

    monkeypatch.setattr(checkpoint, "write_and_rename", removed_first)
    events = saved()
    monkeypatch.undo()
    assert lost(events, 1, tmp_path)[1] > SAVES
