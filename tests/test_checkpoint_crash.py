"""A process is killed, or its disk fills, at every point of a save: what it leaves must be whole, old or new."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmssl.checkpoint import FAULT_POINTS, restore, save
from mmssl.errors import CheckpointError

# One process imports torch once and forks a child for each crash; a child that survives answers 0, a killed one -9.
FORKS = """
import json, os, resource, shutil, sys
from pathlib import Path
import torch
from mmssl import checkpoint
from mmssl.errors import CheckpointError

torch.set_num_threads(1)
os.fsync = lambda descriptor: None  # a kill does not lose what the kernel holds; the order of syncs has its own test
checkpoint.CHUNK_BYTES = 300  # so that a kill also falls into the middle of a file

def put(folder, step):
    model = {"weight": torch.full((10, 10), float(step)), "count": torch.tensor(step)}
    optimizer = {"weight.exp_avg": torch.full((10, 10), step / 3)}
    checkpoint.save(folder, step, {"model": model, "optimizer": optimizer}, {"samples_seen": step}, keep=2)

def prepare(root):
    for scenario, steps in {"first": [], "third": [1, 2], "damaged": [1, 2, 3]}.items():
        (root / scenario).mkdir()
        for step in steps:
            put(root / scenario, step)
    file = root / "damaged" / "checkpoints" / "step-000000003" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])

def in_child(action):
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except CheckpointError as error:
            print(error, file=sys.stderr)
            os._exit(error.exit_code)
        except BaseException:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def killed(folder, point, number):
    os.environ["MMSSL_FAULT"] = f"{point}:{number}"
    put(folder, 3)

def killed_without_rename(folder):
    def write_in_place(final, *content):
        final.mkdir()
        checkpoint.write_files(final, *content)

    checkpoint.write_and_rename = write_in_place
    killed(folder, "after_model", 1)

def limited(folder, size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    put(folder, 3)

root, codes = Path(sys.argv[1]), {}
prepare(root)
for scenario in ("first", "third", "damaged"):
    for point in checkpoint.FAULT_POINTS:
        for number in range(1, 100):
            name = f"{scenario}-{point}-{number}"
            shutil.copytree(root / scenario, root / name)
            codes[name] = in_child(lambda: killed(root / name, point, number))
            if codes[name] == 0:
                break
for size in (0, 10, 300, 500, 5000):
    shutil.copytree(root / "third", root / f"full-{size}")
    codes[f"full-{size}"] = in_child(lambda: limited(root / f"full-{size}", size))
(root / "in-place").mkdir()
codes["in-place"] = in_child(lambda: killed_without_rename(root / "in-place"))
(root / "codes.json").write_text(json.dumps(codes))
"""


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The folders that the crashes left, and how each process ended."""
    root = tmp_path_factory.mktemp("crashes")
    subprocess.run([sys.executable, "-c", FORKS, str(root)], check=True, capture_output=True)
    return root, json.loads((root / "codes.json").read_text())


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def held_step(folder: Path) -> int:
    """The step of the restored checkpoint, all of whose content must belong to that step; 0 where there is none."""
    restored = restore(folder)
    if restored is None:
        return 0
    step = restored.step
    assert restored.state == {"samples_seen": step}
    assert torch.equal(restored.tensors["model"]["weight"], torch.full((10, 10), float(step)))
    assert torch.equal(restored.tensors["model"]["count"], torch.tensor(step))
    assert torch.equal(restored.tensors["optimizer"]["weight.exp_avg"], torch.full((10, 10), step / 3))
    return step


def assert_next_save_works(folder: Path) -> None:
    save(folder, 4, {"model": {"weight": torch.ones(2)}}, {}, keep=2)
    restored = restore(folder)
    assert restored is not None
    assert (restored.step, restored.warnings) == (4, [])
    assert not [path for path in folder.rglob("*") if path.name.startswith((".tmp", ".trash", ".latest"))]


@pytest.mark.parametrize("scenario, old", [("first", 0), ("third", 2), ("damaged", 2)])
@pytest.mark.parametrize("point", FAULT_POINTS)
def test_a_kill_at_any_point_leaves_the_old_or_the_new_checkpoint_whole(crashes, scenario, old, point):
    root, codes = crashes
    ends = {name: code for name, code in codes.items() if name.startswith(f"{scenario}-{point}-")}
    is_reached = not (point == "during_keep" and scenario == "first")  # the first save has nothing to remove
    assert list(ends.values()) == [-9] * (len(ends) - 1) + [0]
    assert len(ends) > (6 if point == "during_write" else 1) or not is_reached
    is_new = FAULT_POINTS.index(point) >= FAULT_POINTS.index("after_rename")
    for name in list(ends)[:-1]:
        is_replacing = scenario == "damaged" and point == "during_keep" and name.endswith("-1")
        assert held_step(root / name) == (3 if is_new and not is_replacing else old)
        assert_next_save_works(root / name)


def test_without_the_rename_a_kill_leaves_half_a_checkpoint(crashes):
    root, codes = crashes
    assert codes["in-place"] == -9
    with pytest.raises(CheckpointError, match="none of 1 can be used"):
        restore(root / "in-place")


@pytest.mark.parametrize("size", [0, 10, 300, 500])
def test_a_limit_on_the_size_of_files_ends_the_save_with_exit_code_4(crashes, size):
    root, codes = crashes
    folder = root / f"full-{size}"
    assert codes[folder.name] == 4
    assert held_step(folder) == 2
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["step-000000001", "step-000000002"]
    assert_next_save_works(folder)
    assert codes["full-5000"] == 0  # a limit that is not reached changes nothing
    assert held_step(root / "full-5000") == 3
