"""The weights of a module by name, and how those of a checkpoint are put in their place."""

import torch
from torch import Tensor, nn

from mmssl.errors import CheckpointError


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


def check_compatible(expected: dict[str, Tensor], found: dict[str, Tensor], name: str) -> None:
    """Raises CheckpointError with the keys, shapes and dtypes in which `found` differs from `expected` (at most 5)."""
    wanted, given = ({key: describe(tensor) for key, tensor in group.items()} for group in (expected, found))
    differences = [f"{key} {wanted[key]} is missing" for key in wanted if key not in given]
    differences += [f"{key} {given[key]} is unexpected" for key in given if key not in wanted]
    differences += [
        f"{key} is {given[key]}, expected {wanted[key]}" for key in wanted if key in given and given[key] != wanted[key]
    ]
    if differences:
        more = f"; +{len(differences) - 5} more" if len(differences) > 5 else ""
        raise CheckpointError(f"{name} of the checkpoint does not fit: {'; '.join(differences[:5])}{more}")


def describe(tensor: Tensor) -> str:
    """The dtype and shape of a tensor, as in `float32(3, 4)`."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{tuple(tensor.shape)}"
