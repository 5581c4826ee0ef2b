"""The weights of a module by name, and how those of a checkpoint are put in their place."""

import torch
from torch import Tensor, nn

from mmssl.checkpoint import check_compatible


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, tied weights once."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}


@torch.no_grad()
def copy_into(module: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Copy tensors into a module; CheckpointError, with this name, where they are not those of such a module."""
    expected = tensors_of(module)
    check_compatible(expected, tensors, name)
    for key, tensor in expected.items():
        tensor.copy_(tensors[key])
