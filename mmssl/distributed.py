"""The only place that talks to other processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.distributed.distributed_c10d import _set_pg_timeout

from mmssl.errors import HangError

IS_ALONE = ContextVar("is_alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Within it this process computes by itself: whoever waits for the others would wait for ever."""
    token = IS_ALONE.set(True)
    try:
        yield
    finally:
        IS_ALONE.reset(token)


@contextmanager
def all_alive() -> Iterator[None]:
    """HangError where another process died or does not answer, or a worker died while it was not waited for."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        if reason.startswith("DataLoader worker ("):
            raise HangError(f"data.workers: {reason}; expected all workers alive") from error
        if isinstance(error, dist.DistError) or "gloo" in reason:
            raise HangError(f"another process died or does not answer ({reason}); expected all alive") from error
        raise


def answer_within(seconds: int) -> None:
    """From here on no process may keep the others waiting for longer; before, one may prepare the data for all."""
    if processes() > 1:
        _set_pg_timeout(timedelta(seconds=seconds))


def processes() -> int:
    """How many processes compute together."""
    if IS_ALONE.get():
        return 1
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process."""
    return dist.get_rank() if processes() > 1 else 0


class Gather(torch.autograd.Function):
    """All-gather along the first axis; the backward sums what all processes say of our share."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.length = tensor.shape[0]
        parts = [torch.empty_like(tensor) for _ in range(processes())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # a copy: autograd may hand the same tensor to others
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[rank() * ctx.length : (rank() + 1) * ctx.length]


def gather(tensor: Shaped[Tensor, "B *D"]) -> Shaped[Tensor, "A *D"]:
    """The samples of all processes, in the order of their ranks, with gradient to the process that owns each.

    A loss on gathered samples is computed alike by all processes; DDP's mean of gradients is then that of one process.
    """
    return tensor if processes() == 1 else Gather.apply(tensor)


class Average(torch.autograd.Function):
    """Mean over processes; the gradient is the mean of what all processes say of it."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return mean_over_processes(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return mean_over_processes(gradients[0].contiguous())


def average(tensor: Float[Tensor, "*A"]) -> Float[Tensor, "*A"]:
    """The mean over processes of equally shaped tensors, with gradient: of means over equal batches the global mean."""
    return tensor if processes() == 1 else Average.apply(tensor)


def mean_over_processes(tensor: Tensor) -> Tensor:
    """The mean of equally shaped tensors, without gradient."""
    if processes() > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
        tensor /= processes()
    return tensor


def share(tensor: Tensor) -> Tensor:
    """The first process's values in place of one's own: what was computed alike may differ in its last bits."""
    if processes() > 1:
        dist.broadcast(tensor, 0)
    return tensor


def largest(*values: float) -> list[float]:
    """The largest of each value over all processes, so that all decide alike."""
    if processes() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)
    if dist.get_backend() == "nccl":
        tensor = tensor.cuda()
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return tensor.tolist()


def wait() -> None:
    """Until all processes are here."""
    if processes() > 1:
        dist.barrier()
