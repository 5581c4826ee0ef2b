"""Gate 4, first half: whatever becomes of the files of checkpoints, it is found out; training goes on from the one
before or not at all, never from nothing.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from record import record

from mmssl import checkpoint, manifest
from mmssl.checkpoint import restore, save
from mmssl.errors import CheckpointError

STEPS = (1, 2, 3)


def tensors(step: int) -> dict[str, dict[str, torch.Tensor]]:
    """What a checkpoint of the step holds."""
    numbers = torch.Generator().manual_seed(step)
    weight = torch.randn(7, 5, generator=numbers)
    return {"model": {"weight": weight, "bias": weight[0] * 2}, "optimizer": {"weight/exp_avg": weight / 3}}


@pytest.fixture
def original(tmp_path) -> Path:
    """A run folder with three checkpoints."""
    folder = tmp_path / "original"
    folder.mkdir()
    for step in STEPS:
        save(folder, step, tensors(step), {"samples_seen": 8 * step, "data": "savanna"}, keep=3)
    return folder


def one_of(path: Path, random: Random) -> Path:
    """A file of a checkpoint."""
    return random.choice(sorted(path.iterdir()))


def truncate(path: Path, random: Random) -> None:
    """A file is cut off."""
    file = one_of(path, random)
    file.write_bytes(file.read_bytes()[: random.randrange(file.stat().st_size)])


def flip(path: Path, random: Random) -> None:
    """One bit is another."""
    file = one_of(path, random)
    content = bytearray(file.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    file.write_bytes(content)


def overwrite(path: Path, random: Random) -> None:
    """Some bytes are random ones."""
    file = one_of(path, random)
    content = bytearray(file.read_bytes())
    start = random.randrange(len(content))
    content[start : start + 64] = random.randbytes(len(content[start : start + 64]))
    file.write_bytes(content)


def grow(path: Path, random: Random) -> None:
    """A file has bytes behind its end."""
    with one_of(path, random).open("ab") as file:
        file.write(random.randbytes(random.randint(1, 100)))


def delete(path: Path, random: Random) -> None:
    """A file is gone."""
    one_of(path, random).unlink()


def delete_folder(path: Path, random: Random) -> None:
    """The checkpoint is gone."""
    shutil.rmtree(path)


def swap(path: Path, random: Random) -> None:
    """Two files have each other's names."""
    first, second = random.sample(sorted(path.iterdir()), 2)
    first.rename(path / "between")
    second.rename(first)
    (path / "between").rename(second)


def swap_older(path: Path, random: Random) -> None:
    """A file is that of an older checkpoint."""
    file = one_of(path, random)
    shutil.copy(path.parent / "step-000000001" / file.name, file)


def swap_folder(path: Path, random: Random) -> None:
    """The checkpoint is an older one under another name."""
    shutil.rmtree(path)
    shutil.copytree(path.parent / "step-000000001", path)


def replace_by_folder(path: Path, random: Random) -> None:
    """A folder has the name of a file."""
    file = one_of(path, random)
    file.unlink()
    file.mkdir()


MUTATIONS: tuple[Callable[[Path, Random], None], ...] = (
    truncate, flip, overwrite, grow, delete, delete_folder, swap, swap_older, swap_folder, replace_by_folder,
)  # fmt: skip


def mutants(original: Path, number: int, mutation: Callable[[Path, Random], None]) -> dict[str, str]:
    """What becomes of a run whose newest checkpoint is changed, and of one whose checkpoints all are: the fault of the
    answer, "" where there is none.
    """
    found = {}
    for kind, steps in (("newest", STEPS[-1:]), ("all", STEPS[::-1])):
        random, folder = Random(number), original.with_name(f"mutant-{number}-{kind}")
        shutil.copytree(original, folder)
        for step in steps:
            path = folder / "checkpoints" / f"step-{step:09d}"
            # the first has no older one to be swapped with
            (truncate if step == 1 and mutation in (swap_older, swap_folder) else mutation)(path, random)
        found[kind] = fault(folder, STEPS[-2] if kind == "newest" else None)
        shutil.rmtree(folder)
    return found


def fault(folder: Path, expected: int | None) -> str:
    """What is wrong with the answer where the checkpoint of a step, or a refusal, is expected."""
    try:
        restored = restore(folder)
    except CheckpointError:
        return "" if expected is None else "refused"
    if restored is None:
        return "a fresh start"
    if restored.step != expected:
        return f"step {restored.step}"
    if not restored.warnings:
        return "nothing said"
    same = [torch.equal(restored.tensors[group][key], tensor)
            for group, given in tensors(restored.step).items() for key, tensor in given.items()]  # fmt: skip
    return "" if all(same) else "other weights"


def faults(original: Path, count: int) -> Counter[str]:
    """The faults of so many mutants."""
    found: Counter[str] = Counter()
    for number in range(count):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        for kind, said in mutants(original, number, mutation).items():
            found[f"{mutation.__name__} of {kind}: {said}" if said else ""] += 1
    return found


@pytest.mark.parametrize("count", [250, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_mutant_is_found_out_and_none_begins_anew(original, capsys, count):
    began = time.monotonic()
    found = faults(original, count)
    undetected = {said: number for said, number in found.items() if said}
    record("checkpoint_fuzz", **{
        f"mutants_of_{count}": found.total(), f"undetected_of_{count}": sum(undetected.values()),
        f"seconds_of_{count}": round(time.monotonic() - began, 1), "kinds": len(MUTATIONS),
    })  # fmt: skip
    assert found.total() == 2 * count
    assert undetected == {}


def test_without_checksums_mutants_are_not_found_out(original, capsys, monkeypatch):
    monkeypatch.setattr(manifest, "verify", lambda *arguments: None)
    assert sum(number for said, number in faults(original, 40).items() if said) > 2


def test_without_a_look_at_latest_a_run_without_its_checkpoints_begins_anew(original, capsys, monkeypatch):
    shutil.rmtree(original / "checkpoints")
    with pytest.raises(CheckpointError, match=r"latest names step-000000003, .* no checkpoint"):
        restore(original)
    monkeypatch.setattr(checkpoint, "named_latest", lambda folder: "")
    assert restore(original) is None
