"""Optimizers and parameter groups."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.errors import ConfigError
from mmssl.sharding import layers, shared_like, whole

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a, b, c of x <- a x + b (x x') x + c (x x')^2 x
NEWTON_SCHULZ_STEPS = 5
MUON_MOMENTUM = 0.95
MUON_RMS = 0.2  # of a step of Muon, in learning rates: as large as AdamW's usually are


class LARS(torch.optim.Optimizer):
    """SGD with momentum whose step is scaled for each weight (You et al. 2017, arXiv:1708.03888, algorithm 1).

    As in SimCLR's code, and unlike eq. 6, the weight's norm is divided by the norm of gradient plus decay, and
    parameters of groups without weight decay (biases, norms) take plain momentum steps.
    """

    def __init__(
        self, parameters: Any, lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 1e-3
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            for weight in (weight for weight in group["params"] if weight.grad is not None):
                update = weight.grad
                if group["weight_decay"] > 0:
                    update = update.add(weight, alpha=group["weight_decay"])
                    ratio = group["trust"] * weight.norm() / update.norm()
                    update = update * torch.where(torch.isfinite(ratio) & (ratio > 0), ratio, 1.0)
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].mul_(group["momentum"]).add_(update)
                weight.add_(state["momentum"], alpha=-group["lr"])


class Muon(torch.optim.AdamW):
    """AdamW; but in groups with `is_turned` the step is the orthogonal matrix that is nearest to the momentum, so that
    no direction of a matrix outruns the others (Jordan et al. 2024, "Muon: an optimizer for hidden layers": Nesterov's
    momentum, five steps of Newton-Schulz).

    It is as large as AdamW's steps are (Liu et al. 2025, arXiv:2502.16982, eq. 4), so one learning rate and one decay
    serve all groups. A kernel of a convolution is a matrix (out, all else). `precision` is that of Newton-Schulz.
    """

    def __init__(self, parameters: Any, *, precision: torch.dtype = torch.float32, **adamw: Any):
        super().__init__(parameters, **adamw)
        self.precision = precision

    def __setstate__(self, state: dict[str, Any]) -> None:
        # AdamW's asks every weight for the number of its steps, to bring old files up to date: ours know none
        torch.optim.Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        groups = self.param_groups
        for group in groups:
            if group["is_turned"]:
                self.turn(group)
        self.param_groups = [group for group in groups if not group["is_turned"]]
        try:
            super().step()
        finally:
            self.param_groups = groups

    def turn(self, group: dict[str, Any]) -> None:
        """The step of a group of matrices; those of one shape side by side."""
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for weight in group["params"]:
            if weight.grad is not None:
                by_shape.setdefault(weight.shape, []).append(weight)
        for weights in by_shape.values():
            updates = torch.stack([whole(self.momentum(weight)).flatten(1) for weight in weights])
            rate = group["lr"] * MUON_RMS * max(updates.shape[1:]) ** 0.5
            for weight, update in zip(weights, orthogonal(updates.to(self.precision)).to(updates.dtype)):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(shared_like(update.view(weight.shape), weight), alpha=rate)

    def momentum(self, weight: Tensor) -> Tensor:
        """Nesterov's, of this gradient and those before it."""
        assert weight.grad is not None
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].mul_(MUON_MOMENTUM).add_(weight.grad)
        return weight.grad.add(state["momentum"], alpha=MUON_MOMENTUM)


def orthogonal(matrix: Float[Tensor, "N A B"]) -> Float[Tensor, "N A B"]:
    """Near the orthogonal matrix that is nearest to each: the same singular vectors, singular values between 0.7 and
    1.2 but for the smallest, by Newton-Schulz.
    """
    if matrix.shape[1] > matrix.shape[2]:
        return orthogonal(matrix.mT).mT
    a, b, c = NEWTON_SCHULZ
    value = matrix / (matrix.norm(dim=(1, 2), keepdim=True) + 1e-7)  # no singular value above 1
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = value @ value.mT
        value = torch.baddbmm(value, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), value, beta=a)
    return value


def parameter_groups(objective: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and everything of one axis do not. Tied weights appear once."""
    weights: list[Tensor] = [weight for weight in objective.parameters() if weight.requires_grad]
    return [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]


def turned_apart(objective: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups with the matrices of the layers of transformers and of convolutional blocks in one of their own: not
    embeddings, norms, first and last layers. ConfigError where there is no such layer.
    """
    inner = {id(weight) for layer in layers(objective) for weight in layer.parameters() if weight.ndim > 1}
    matrices, *others = groups
    turned = [weight for weight in matrices["params"] if id(weight) in inner]
    if not turned:
        raise ConfigError("train.optimizer muon: this method has no layers of a transformer or blocks; expected adamw")
    rest = [weight for weight in matrices["params"] if id(weight) not in inner]
    return [
        {**matrices, "params": turned, "is_turned": True},
        *({**group, "is_turned": False} for group in ({**matrices, "params": rest}, *others)),
    ]


def optimizer(objective: nn.Module, train: Any, precision: torch.dtype = torch.float32) -> torch.optim.Optimizer:
    """The optimizer that a TrainConfig names."""
    groups = parameter_groups(objective, train.weight_decay)
    if train.optimizer == "lars":
        return LARS(groups, lr=train.learning_rate, momentum=train.betas[0])
    adamw = {"lr": train.learning_rate, "betas": train.betas, "eps": train.epsilon, "fused": True}
    if train.optimizer == "muon":
        return Muon(turned_apart(objective, groups), precision=precision, **adamw)
    return torch.optim.AdamW(groups, **adamw)


def state_of(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> dict[str, Tensor]:
    """The optimizer's tensors as "parameter name/slot"; `names` maps id(parameter) to its name."""
    return {
        f"{names[id(weight)]}/{slot}": value
        for weight, slots in optimizer.state.items()
        for slot, value in slots.items()
    }


def set_state(optimizer: torch.optim.Optimizer, names: dict[int, str], tensors: dict[str, Tensor]) -> None:
    """What `state_of` read, put back."""
    weights = {names[id(weight)]: weight for group in optimizer.param_groups for weight in group["params"]}
    for key, value in tensors.items():
        name, slot = key.rsplit("/", 1)
        weight = weights[name]
        # AdamW keeps its step count on the CPU unless it is fused on the parameter's device; a fused step pairs numbers
        # by their order in memory, so a moment must lie as its weight does
        placed = value.to(weight.device)
        optimizer.state[weight][slot] = (
            torch.empty_like(weight).copy_(shared_like(placed, weight)) if value.shape == weight.shape else placed
        )
