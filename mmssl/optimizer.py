"""Optimizers and parameter groups."""

from typing import Any

import torch
from torch import Tensor, nn

from mmssl.sharding import shared_like


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


def parameter_groups(objective: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and everything of one axis do not. Tied weights appear once."""
    weights: list[Tensor] = [weight for weight in objective.parameters() if weight.requires_grad]
    return [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]


def optimizer(objective: nn.Module, train: Any) -> torch.optim.Optimizer:
    """The optimizer that a TrainConfig names."""
    groups = parameter_groups(objective, train.weight_decay)
    if train.optimizer == "lars":
        return LARS(groups, lr=train.learning_rate, momentum=train.betas[0])
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=train.betas, eps=train.epsilon, fused=True)


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
