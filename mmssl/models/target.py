"""Targets: what the prediction is compared with."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from mmssl.tokens import Tokens

EPSILON = 1e-6  # added to a variance


class Data(nn.Module):
    """The input itself."""

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        return tokens

    def shown(self, prediction: Tensor, answer: Tensor) -> Tensor | None:
        """A prediction in the input's own units, as a person looks at it; None where it cannot be looked at."""
        return prediction.float()

    def follow(self, student: nn.Module, progress: float) -> None:
        """It has nothing to learn."""


class NormalisedPatches(Data):
    """Each patch minus its mean, over its standard deviation (He et al. 2021, arXiv:2111.06377, section 3)."""

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        return {name: Tokens(normalised(part.value), part.place) for name, part in tokens.items()}

    def shown(self, prediction: Tensor, answer: Tensor) -> Tensor:
        """With the mean and deviation of the hidden patch itself: the model was never asked for them."""
        mean, variance = answer.float().mean(-1, keepdim=True), answer.float().var(-1, keepdim=True, correction=0)
        return prediction.float() * (variance + EPSILON).sqrt() + mean


def normalised(value: Tensor) -> Tensor:
    """Zero mean and unit variance over the last axis, in float32."""
    return layer_norm(value.float(), value.shape[-1:], eps=EPSILON)


class Copy(nn.Module):
    """A module's weights as an exponential moving average of a student's; no gradient reaches it.

    The momentum goes from `momentum` to `last` along half a cosine (Grill et al. 2020, arXiv:2006.07733, section 3.2).
    """

    def __init__(self, student: nn.Module, momentum: float, last: float = 1.0) -> None:
        super().__init__()
        self.momentum, self.last = momentum, last
        self.module = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def follow(self, student: nn.Module, progress: float) -> None:
        """One step towards the student."""
        momentum = self.last - (self.last - self.momentum) * (math.cos(math.pi * progress) + 1) / 2
        mine, theirs = list(self.module.parameters()), list(student.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - momentum)  # pyright: ignore


class Teacher(Copy):
    """Embeddings of all tokens by a copy of the encoder, layer-normalised (Assran et al. 2023, arXiv:2301.08243).

    Each modality is encoded alone, so that what another one shows cannot be read off its own target.
    """

    @torch.no_grad()
    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        whole = {name: self.module({name: part})[name] for name, part in tokens.items()}
        return {name: Tokens(normalised(part.value), part.place) for name, part in whole.items()}

    def shown(self, prediction: Tensor, answer: Tensor) -> Tensor | None:
        """Nobody can look at an embedding."""
        return None
