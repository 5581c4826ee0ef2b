"""Targets: what the prediction is compared with."""

import copy
import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import instance_norm, layer_norm

from mmssl.augment import DEVIATION
from mmssl.errors import ConfigError
from mmssl.tokens import Place, Tokens

EPSILON = 1e-6  # added to a variance


class Data(nn.Module):
    """The input itself."""

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        return tokens

    def shown(self, prediction: Tensor, answer: Tensor, place: Place) -> Tensor | None:
        """A prediction in the input's own units, as a person looks at it; None where it cannot be looked at."""
        return prediction.float()

    def follow(self, student: nn.Module, progress: float) -> None:
        """It has nothing to learn."""


class NormalisedPatches(Data):
    """Each patch minus its mean, over its standard deviation (He et al. 2021, arXiv:2111.06377, section 3), the
    unbiased one as in the authors' code; ConfigError where a patch is one number.
    """

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        found = {}
        for name, part in tokens.items():
            mean, deviation = mean_and_deviation(part.value)
            found[name] = Tokens((part.value.float() - mean) / deviation, part.place)
        return found

    def shown(self, prediction: Tensor, answer: Tensor, place: Place) -> Tensor:
        """With the mean and deviation of the hidden patch itself: the model was never asked for them."""
        mean, deviation = mean_and_deviation(answer)
        return prediction.float() * deviation + mean


class NormalisedChannels(Data):
    """Each of the `channels` of a patch minus its mean, over its unbiased standard deviation (Tong et al. 2022,
    arXiv:2203.12602, and the authors' code: a channel of a tubelet by itself); ConfigError where that is one number.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        found = {}
        for name, part in tokens.items():
            value, mean, deviation = self.parts(part.value)
            found[name] = Tokens(((value - mean) / deviation).flatten(-2), part.place)
        return found

    def shown(self, prediction: Tensor, answer: Tensor, place: Place) -> Tensor:
        """With the means and deviations of the hidden patch itself: the model was never asked for them."""
        _, mean, deviation = self.parts(answer)
        return (prediction.float().unflatten(-1, (self.channels, -1)) * deviation + mean).flatten(-2)

    def parts(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The channels of each patch, their means and deviations, to which (not to their squares) the authors add
        0.000001 where pixels lie in [0, 1].
        """
        parts = value.float().unflatten(-1, (self.channels, -1))
        if parts.shape[-1] == 1:
            raise ConfigError("method.normalise_patches: a channel of one number has no deviation; expected more")
        variance, mean = torch.var_mean(parts, -1, keepdim=True, correction=1)
        return parts, mean, variance.sqrt() + EPSILON / DEVIATION


def mean_and_deviation(value: Tensor) -> tuple[Tensor, Tensor]:
    """Of each patch, over the last axis, in float32; ConfigError where it is one number."""
    if value.shape[-1] == 1:
        raise ConfigError("method.normalise_patches: a patch of one number has no deviation; expected larger patches")
    variance, mean = torch.var_mean(value.float(), -1, keepdim=True, correction=1)
    return mean, (variance + EPSILON).sqrt()


def normalised(value: Tensor) -> Tensor:
    """Zero mean and unit variance over the last axis, in float32."""
    return layer_norm(value.float(), value.shape[-1:], eps=EPSILON)


@runtime_checkable
class Tokenizer(Protocol):
    """What turns patches into codes, and codes into patches again (van den Oord et al. 2017, arXiv:1711.00937)."""

    num_codes: int

    def codes(self, tokens: Tokens) -> Int[Tensor, "B N"]:
        """The code of each of all patches of a grid, from 0 to num_codes - 1."""
        ...

    def patches(self, codes: Int[Tensor, "B N"], place: Place) -> Float[Tensor, "B N D"]:
        """The patches that these codes stand for at these places, which need not be the whole grid."""
        ...


class Codes(Data):
    """The codes of patches by a tokenizer that was trained before and stays as it is (Bao et al. 2021,
    arXiv:2106.08254, section 2.1).

    Its weights are kept with those of the objective; `tokenizer` is a module that is a `Tokenizer`.
    """

    def __init__(self, tokenizer: nn.Module) -> None:
        super().__init__()
        assert isinstance(tokenizer, Tokenizer), f"{type(tokenizer).__name__}, expected codes, patches and num_codes"
        self.tokenizer = tokenizer.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Codes":
        """The tokenizer does not learn."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    @torch.no_grad()
    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        return {name: Tokens(self.tokenizer.codes(part), part.place) for name, part in tokens.items()}

    def shown(self, prediction: Float[Tensor, "B M K"], answer: Tensor, place: Place) -> Float[Tensor, "B M D"]:
        """The patches of the most likely codes."""
        return self.tokenizer.patches(prediction.argmax(-1), place).float()


class Told(Data):
    """What an objective tells a target of one modality under another name."""

    def __init__(self, name: str, told: str) -> None:
        super().__init__()
        self.name, self.told = name, told

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        return {self.name: tokens[self.told]}

    def shown(self, prediction: Tensor, answer: Tensor, place: Place) -> Tensor | None:
        """Nobody can look at a feature."""
        return None


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

    def shown(self, prediction: Tensor, answer: Tensor, place: Place) -> Tensor | None:
        """Nobody can look at an embedding."""
        return None


@runtime_checkable
class Layered(Protocol):
    """A stack of layers that tells what the perceptron of each adds to all tokens of a modality."""

    @property
    def num_layers(self) -> int: ...
    def added(self, name: str, tokens: Tokens) -> list[Float[Tensor, "B N D"]]: ...


class LayersTeacher(Teacher):
    """The mean over the last `top_layers` layers of what the perceptrons of a copy of the encoder add to each token
    (Baevski et al. 2022, arXiv:2212.07525, section 3).

    As in the authors' code each layer is normalised first, each feature over the tokens of a sample, and the mean is
    layer-normalised.
    """

    def __init__(self, student: nn.Module, momentum: float, last: float, top_layers: int) -> None:
        super().__init__(student, momentum, last)
        assert isinstance(student, Layered), f"{type(student).__name__}, expected added and num_layers"
        if top_layers > student.num_layers:
            raise ConfigError(
                f"method.top_layers {top_layers}: the encoder has {student.num_layers} layers; expected no more"
            )
        self.top_layers = top_layers

    def train(self, mode: bool = True) -> "LayersTeacher":
        """Nothing is dropped from what the teacher says."""
        super().train(mode)
        self.module.eval()
        return self

    @torch.no_grad()
    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        return {name: Tokens(self.mean(name, part), part.place) for name, part in tokens.items()}

    def mean(self, name: str, tokens: Tokens) -> Float[Tensor, "B N D"]:
        """That of the normalised layers, normalised."""
        assert isinstance(self.module, Layered)
        layers = self.module.added(name, tokens)[-self.top_layers :]
        parts = [instance_norm(layer.float().mT).mT for layer in layers]
        return normalised(torch.stack(parts).mean(0))


class OwnEmbeddings(Data):
    """The student's own embeddings of all tokens, with gradient, each modality encoded alone (Balestriero & LeCun 2025,
    arXiv:2511.08544: no teacher, no stop-gradient). Nothing here keeps them apart.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        return {name: Tokens(self.student({name: part})[name].value, part.place) for name, part in tokens.items()}

    def shown(self, prediction: Tensor, answer: Tensor, place: Place) -> Tensor | None:
        """Nobody can look at an embedding."""
        return None
