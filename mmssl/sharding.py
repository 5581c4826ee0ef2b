"""Fully sharded data parallelism: of each weight, its gradient and its moments a process keeps its share only
(Rajbhandari et al. 2019, arXiv:1910.02054, section 5.3; Zhao et al. 2023, arXiv:2304.11277).
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from mmssl.distributed import processes, rank, share
from mmssl.errors import ConfigError
from mmssl.models.convnet import ConvolutionalEncoder
from mmssl.objectives.base import Objective


def shard(objective: Objective) -> None:
    """Leave to each process its rows of each parameter; a layer's are whole while it computes, then parted again.

    Buffers stay whole. `forward` and `energies` are to be called by all processes alike. ConfigError where the
    objective cannot be shared.
    """
    if processes() == 1:
        raise ConfigError("train.sharding full: there is one process; expected several, as of torchrun, or none")
    if objective.regroup_epochs:
        raise ConfigError("train.sharding full: this method makes weights anew with each grouping; expected none")
    if objective.differentiates:
        # weights are parted again after a layer's backward, and the rest of that forward would find shares
        raise ConfigError("train.sharding full: this method takes the slope of a critic as it goes; expected none")
    with torch.no_grad():
        for tensor in [*objective.parameters(), *objective.buffers()]:
            share(tensor)  # as DDP does
    mesh = init_device_mesh(next(objective.parameters()).device.type, (processes(),))
    for part in [*layers(objective), objective]:
        # the root too is parted after its forward: whatever is asked between two forwards is asked of shares
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(objective, "energies")


def layers(objective: nn.Module) -> Iterator[nn.Module]:
    """All layers of transformers and all blocks of convolutional encoders, those of teachers too."""
    for part in objective.modules():
        if isinstance(part, GradientCheckpointingLayer):
            yield part
        elif isinstance(part, ConvolutionalEncoder):
            yield from part.residual_blocks()


def is_sharded(module: nn.Module) -> bool:
    """Whether its parameters are shared among processes."""
    return any(isinstance(weight, DTensor) for weight in module.parameters())


def local(tensor: Tensor) -> Tensor:
    """This process's share of a tensor; the whole where it is not shared."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; all processes must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_like(complete: Tensor, like: Tensor) -> Tensor:
    """Of a tensor of the same shape the share that this process holds of `like`; nothing is sent."""
    if not isinstance(like, DTensor):
        return complete
    return distribute_tensor(complete, like.device_mesh, like.placements, src_data_rank=None)


def collected(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whole, on the first process; what is shared comes one by one, and to the CPU: together they may be
    too large for a device.
    """
    found = {}
    # by name: a restored optimizer lists its moments in another order on each process
    for name, tensor in sorted(tensors.items()):
        complete = whole(tensor)
        if rank() == 0:
            found[name] = complete.cpu() if isinstance(tensor, DTensor) else complete
    return found
