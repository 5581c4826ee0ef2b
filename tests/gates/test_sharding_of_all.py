"""Every method shares its weights among two processes and ends as with a copy in each, or says why it cannot."""

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from processes import on_processes
from record import record
from test_sharding import FULL, begun, difference, ended
from tiny import tiny_objective
from torch import Tensor

from mmssl.distributed import rank
from mmssl.errors import ConfigError
from mmssl.methods import METHODS

LARGEST = 1e-4  # difference of a weight or a moment after four steps: sums are rounded otherwise


def is_refused(method: str) -> bool:
    """Whether a method makes weights anew or takes slopes as it goes."""
    objective = tiny_objective(method)
    return bool(objective.regroup_epochs) or objective.differentiates


def everything(root: Path, shared: list[str], refused: list[str]) -> dict[str, Tensor]:
    """All runs of all methods, in each process."""
    # Accelerate looks for these; nobody listens at the port, since the processes have met already
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank()), "LOCAL_RANK": str(rank()), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": "29500"}  # fmt: skip
    for method in shared:
        for kind, overrides in (("copies", ()), ("shared", (FULL,))):
            ended(begun(root / method / kind, method, *overrides), method)
    for method in refused:
        with pytest.raises(ConfigError, match=r"train\.sharding full"):
            begun(root / method, method, FULL)
    return {"refused": torch.tensor(len(refused))}


@pytest.mark.slow
def test_every_method_shares_its_weights_or_says_why_it_cannot(tmp_path):
    refused = [method for method in METHODS if is_refused(method)]
    shared = [method for method in METHODS if method not in refused]
    assert {"gan", "hubert", "xdc", "deepcluster"} <= {*refused}
    assert {"mae", "vqvae", "sparse_coding", "multimodal", "byol", "moco", "swav", "wav2vec2"} <= {*shared}
    on_processes(2, partial(everything, tmp_path, shared, refused), tmp_path)
    differences = {method: difference(tmp_path / method / "copies", tmp_path / method / "shared") for method in shared}
    record("sharding", shared=len(shared), refused=refused, largest_difference=max(differences.values()))
    assert {method: found for method, found in differences.items() if found > LARGEST} == {}
