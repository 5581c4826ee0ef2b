"""What a run takes of the memory, counted and measured before it begins."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.distributed import alone
from mmssl.losses.criterion import Criterion
from mmssl.modalities.grids import Cut, Waveform
from mmssl.models.codebook import Codebook
from mmssl.models.codes import Code
from mmssl.models.likelihood import SquaredOutput
from mmssl.models.target import Copy
from mmssl.objectives import Objective
from mmssl.optimizer import optimizer
from mmssl.random import Draw
from mmssl.sharding import local


def footprint(objective: Objective, config: Config, processes: int, batch: Batch) -> list[str]:
    """Two lines on the parameters and on the bytes that each process holds while training, and a third one where its
    GPU has not as many; `batch` is a micro-batch of a process.

    An objective that first groups all samples cannot be measured before it has: its activations are left out.
    """
    weights, teachers = [*objective.parameters()], [*in_teachers(objective)]
    trained = [weight for weight in weights if weight.requires_grad]
    held = {
        "weights": nbytes([*weights, *objective.buffers()]) - nbytes(teachers),
        "teachers": nbytes(teachers),
        "gradients": nbytes(trained),
        "optimizer": remembered(objective, config),
    }
    said = "(activations: not known before samples have groups)"
    if not objective.regroup_epochs:
        held["activations"] = activations(objective, batch)
        said = f"for {len(batch.draw.index):,} samples"
        if config.train.activation_checkpointing:
            said += ", and those of one layer more"
    each = f"each of {processes} processes: " if processes > 1 else ""
    lines = [
        f"model: {count(weights):,} parameters, {count(objective.encoder.parameters()):,} in the encoder, "
        f"{count(trained):,} trained, {count(teachers):,} in teachers",
        f"memory: {each}{', '.join(f'{name} {amount(size)}' for name, size in held.items() if size)} {said}",
    ]
    room = room_on(weights[0].device)
    if room is not None and sum(held.values()) > room:
        lines.append(
            f"warning: that is {amount(sum(held.values()))}, the GPU has {amount(room)} free; expected less: "
            "try a higher train.accumulate or train.activation_checkpointing=true"
        )
    return lines


def tokens_of(objective: Objective) -> float:
    """Tokens that the encoder makes of a sample, whatever is hidden of them: patches, and of waveforms frames; words
    are not counted.
    """
    encoder: Any = objective.encoder
    cuts: dict[str, Any] = getattr(encoder, "cuts", {})
    patches = sum(prod(cut.grid) for cut in cuts.values() if isinstance(cut, Cut))
    return float(patches + sum(encoder.frames(cut.length) for cut in cuts.values() if isinstance(cut, Waveform)))


def in_teachers(objective: Objective) -> Iterator[Tensor]:
    """The weights of all that follows a student."""
    for part in objective.modules():
        if isinstance(part, Copy):
            yield from part.parameters()


def activations(objective: Objective, batch: Batch) -> int:
    """Bytes that a forward of this batch keeps for the backward: measured on its first two and four samples, on to the
    whole batch along the line through both. What grows with the square of the batch is not in it.
    """
    size = len(batch.draw.index)
    few, more = min(2, size), min(4, size)
    with untouched(objective):
        most = kept_bytes(objective, first(batch, more))
        if more == few:
            return most
        return most + (size - more) * (most - kept_bytes(objective, first(batch, few))) // (more - few)


def kept_bytes(objective: Objective, batch: Batch) -> int:
    """Bytes that a forward keeps for the backward, weights and buffers excepted."""
    own = {local(tensor).untyped_storage().data_ptr() for tensor in [*objective.parameters(), *objective.buffers()]}
    kept: dict[int, torch.UntypedStorage] = {}  # by address: many tensors may share one

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        objective(batch)
    return sum(storage.nbytes() for storage in kept.values())


@contextmanager
def untouched(objective: Objective) -> Iterator[None]:
    """Within it the objective trains on one process, and leaves nothing behind: no number drawn, no statistics, nothing
    noted by a criterion, a code, a codebook or an output.
    """
    modes = {part: part.training for part in objective.modules()}
    buffers = {name: buffer.clone() for name, buffer in objective.named_buffers()}
    device = next(objective.parameters()).device
    objective.train()
    for part in modes:
        if isinstance(part, (Criterion, Code, Codebook, SquaredOutput)):
            part.eval()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), alone():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for name, buffer in objective.named_buffers():
            buffer.copy_(buffers[name])


def first(batch: Batch, count: int) -> Batch:
    """The first samples of a batch."""
    views = {name: [view[:count] for view in views] for name, views in batch.views.items()}
    return Batch(views, Draw(batch.draw.seed, batch.draw.epoch[:count], batch.draw.index[:count]))


def remembered(objective: Objective, config: Config) -> int:
    """Bytes that the optimizer holds of the weights after a step."""
    made = optimizer(objective, config.train)
    return sum(nbytes(group["params"]) * slots_of(type(made), group) for group in made.param_groups)


def slots_of(kind: Callable[..., torch.optim.Optimizer], group: dict[str, Any]) -> int:
    """Numbers that an optimizer remembers of each weight of a group: those that it holds of one after a step."""
    weight = nn.Parameter(torch.ones(2, 2))
    made = kind([{**group, "params": [weight]}], lr=1.0)
    weight.grad = torch.zeros_like(weight)
    made.step()
    return sum(value.shape == weight.shape for value in made.state[weight].values())


def room_on(device: torch.device) -> int | None:
    """Bytes of a GPU that this process has or could have; None on another device."""
    if device.type != "cuda":
        return None
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def count(weights: Iterable[Tensor]) -> int:
    """Numbers in all of them."""
    return sum(weight.numel() for weight in weights)


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of all of them, of what processes share those of this one."""
    return sum(local(tensor).nbytes for tensor in tensors)


def amount(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
