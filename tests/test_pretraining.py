"""Claims about runs that group their samples: each epoch anew, and a resumed one as if it had never stopped."""

import shutil
from pathlib import Path

import pytest
import torch
from media_runs import write_media_config
from running import call

from mmssl.checkpoint import restore

METHODS = {
    "deepcluster": "{name: deepcluster, num_clusters: 4, whitened_width: 8, regroup_epochs: 0.5}",
    "deepcluster_v2": "{name: deepcluster_v2, num_clusters: 4, num_groupings: 2, projector_width: 32, "
    "embedding_width: 16, num_small: 1, small_size: 8, regroup_epochs: 0.5}",
}


def pretrain(folder: Path, method: str) -> int:
    """Six steps of four of 24 pictures, saved after each; samples are grouped before the first and fourth."""
    options = ["train.steps=6", "train.save_every_steps=1", "train.keep_checkpoints=9", f"run={folder / 'run'}"]
    config = write_media_config(folder, "image_pretraining")
    return call("pretrain", str(config), f"method={METHODS[method]}", *options)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All that the newest checkpoint holds."""
    found = restore(folder / "run")
    assert found is not None
    assert found.step == 6
    return {f"{part}/{name}": value for part, group in found.tensors.items() for name, value in group.items()}


@pytest.mark.parametrize("method, step", [("deepcluster", 3), ("deepcluster_v2", 4)])  # 3: where they are grouped
def test_a_run_that_goes_on_groups_its_samples_as_if_it_had_not_stopped(method, step, tmp_path, monkeypatch):
    monkeypatch.setattr("mmssl.media_task.MediaTask.finish", lambda *arguments: None)
    assert pretrain(tmp_path, method) == 0
    whole = tensors(tmp_path)
    assert int(whole["model/groups.turn"]) == 2
    assert whole["model/groups.label"].min() >= 0
    for path in (tmp_path / "run" / "checkpoints").glob("step-*"):
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    assert pretrain(tmp_path, method) == 0
    again = tensors(tmp_path)
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], whole[name]) for name in whole)
