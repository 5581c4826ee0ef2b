"""Layers keep only their input, and the backward computes the rest again (Chen et al. 2016, arXiv:1604.06174)."""

from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from mmssl.attention import IS_TWICE
from mmssl.errors import ConfigError

IS_AGAIN = ContextVar("is_again", default=False)


class once_more:
    """Within it a layer sees a batch for the second time: what it learns by looking at it, it has learnt already, and
    attention runs as where this was made.
    """

    def __init__(self) -> None:
        self.is_twice = IS_TWICE.get()

    def __enter__(self) -> None:
        self.tokens = IS_AGAIN.set(True), IS_TWICE.set(self.is_twice)

    def __exit__(self, *error: object) -> None:
        for variable, token in zip((IS_AGAIN, IS_TWICE), self.tokens, strict=True):
            variable.reset(token)


def is_again() -> bool:
    """Whether a backward computes a forward again."""
    return IS_AGAIN.get()


def checkpointed(function: Callable[..., Any], *inputs: Any) -> Any:
    """function(*inputs), of which only the inputs are kept; dropout falls alike both times."""
    return checkpoint(function, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), once_more()))


def recompute(objective: nn.Module) -> None:
    """Let every layer of a transformer and every block of a convolutional encoder compute again in the backward.

    They are told as the stock layers of `transformers` are, by an attribute. ConfigError where there are none.
    """
    parts: list[Any] = [part for part in objective.modules() if hasattr(part, "gradient_checkpointing")]
    if not parts:
        raise ConfigError(
            "train.activation_checkpointing true: the encoder has no layers that can be computed again; expected false"
        )
    for part in parts:
        part.gradient_checkpointing, part._gradient_checkpointing_func = True, checkpointed
