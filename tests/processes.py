"""Runs a function in several processes that can talk to each other."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.multiprocessing.spawn import spawn

Work = Callable[[], dict[str, Tensor]]


def on_processes(count: int, work: Work, folder: Path) -> list[dict[str, Tensor]]:
    """The tensors that `work` (a function of a module) answers in each of `count` gloo processes."""
    spawn(enter, args=(count, work, folder), nprocs=count)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(count)]


def enter(rank: int, count: int, work: Work, folder: Path) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count, timeout=timedelta(seconds=90))
    answers = work()
    save_file({name: tensor.clone().contiguous() for name, tensor in answers.items()}, folder / f"{rank}.safetensors")
    dist.destroy_process_group()
