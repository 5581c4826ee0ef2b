"""A task of a millisecond a step, for gates that stop, kill or spoil its processes; it lies in their folder as
tasks/toy.py.

GATE (JSON) says what goes wrong inside: {"loss" | "gradient" | "leap" | "sleep": number of the call, "rank": of the
process}, {"collapses": true}, how long a sleeping worker does: {"asleep": seconds}, and each step takes: {"pause":
seconds}.
"""

import json
import os
import time
from typing import Any

import torch
from running import SAMPLES, Pulled, Toy
from torch import Tensor
from torch.utils.data import get_worker_info

from mmssl.config import Config
from mmssl.distributed import rank
from mmssl.objectives.base import Output
from mmssl.pretraining import pretrain
from mmssl.runs import open_folder
from mmssl.train import launch, reseed


def wrong() -> dict[str, Any]:
    """What goes wrong."""
    return json.loads(os.environ.get("GATE", "{}"))


class Slow(Toy):
    """The toy, each of its steps as long as is wanted."""

    def forward(self, batch) -> Output:
        time.sleep(wrong().get("pause", 0.0))
        return super().forward(batch)


def spoil(call: int, energy: Tensor) -> Tensor:
    """The energy with what goes wrong: not a number, a gradient that is none, or a hundred times as much."""
    mine = [what for what, when in wrong().items() if when == call and wrong().get("rank") == rank()]
    if "loss" in mine:
        return energy + torch.nan
    if "gradient" in mine:
        return energy + (energy - energy).clamp(min=0).sqrt()
    return energy * 100 if "leap" in mine else energy


class Read:
    """The samples; a worker may fall asleep at its n-th batch."""

    size = len(SAMPLES)

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, indices) -> dict[str, list[Tensor]]:
        self.calls += 1
        if get_worker_info() is not None and self.calls == wrong().get("sleep"):
            time.sleep(wrong().get("asleep", 3600))
        return {"x": [SAMPLES[indices]]}


class Data:
    """What `pretrain` reads."""

    train, sizes, fingerprint = Read(), (len(SAMPLES),), "toy"

    def summary(self) -> str:
        return "a toy"


def main(config: Config, *, changed: tuple[str, ...] = ()) -> None:
    """Pretrain."""
    accelerator = launch(config)
    with open_folder(config, changed=changed):
        time.sleep(wrong().get("start", 0.0))
        reseed(config.seed)
        objective = Pulled() if wrong().get("collapses") else Slow(spoil)
        pretrain(objective, config, accelerator, Data(), tokens_per_sample=1.0, evaluation=lambda run: {})
        time.sleep(wrong().get("finish", 0.0))
