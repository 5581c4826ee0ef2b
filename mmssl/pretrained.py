"""The encoder, or the whole objective, of another run, with its trained weights."""

from typing import Any

import torch

from mmssl.checkpoint import Restored, check_compatible
from mmssl.config import Config
from mmssl.errors import CheckpointError, ConfigError
from mmssl.modalities.grids import Cut
from mmssl.models.target import Tokenizer
from mmssl.objectives.base import Objective
from mmssl.runs import open_run

PREFIXES = ("embedder.encoder.", "encoder.")  # of the encoder's weights in an objective's


@torch.no_grad()
def encoder_of_run(folder: str, modalities: Any) -> Any:
    """The encoder of the newest checkpoint of a run folder, frozen, in eval mode; ConfigError where there is no such
    run, or where it reads other sizes than `modalities`.
    """
    from mmssl.models import ENCODERS

    config, found = opened(folder)
    encoder = ENCODERS[config.encoder.name](modalities, **config.encoder.arguments())
    weights = found.tensors["model"]
    for prefix in PREFIXES:
        mine = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if mine:
            expected = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
            check_compatible(expected, mine, f"method.pretrained {folder}: encoder")
            for name, tensor in expected.items():
                tensor.copy_(mine[name])
            return encoder.requires_grad_(False).eval()
    raise ConfigError(f"method.pretrained: {folder} has no encoder of {', '.join(modalities)}; expected a run on them")


@torch.no_grad()
def objective_of_run(folder: str, modalities: Any) -> Objective:
    """The objective of the newest checkpoint of a run folder, frozen, in eval mode; ConfigError where there is no such
    run, or where it reads other sizes than `modalities`.
    """
    from mmssl.methods import METHODS
    from mmssl.models import ENCODERS

    config, found = opened(folder)
    encoder = ENCODERS[config.encoder.name](modalities, **config.encoder.arguments())
    objective: Objective = METHODS[config.method.name](encoder, modalities, **config.method.arguments())
    expected = {**dict(objective.named_parameters()), **dict(objective.named_buffers())}
    weights = found.tensors["model"]
    check_compatible(expected, weights, f"method.pretrained {folder}: {config.method.name}")
    for name, tensor in expected.items():
        tensor.copy_(weights[name])
    return objective.requires_grad_(False).eval()


def tokenizer_of_run(folder: str, modalities: Any, cut: Cut) -> Any:
    """The objective of a run folder as a `Tokenizer`, frozen; ConfigError where it has no codes, or where its patches
    are not those of `cut`.
    """
    found = objective_of_run(folder, modalities)
    if not isinstance(found, Tokenizer):
        raise ConfigError(f"method.pretrained: {folder} is a run without codes; expected one of vqvae")
    cuts: Any = found.encoder.cuts
    if cuts[cut.name].patch != cut.patch:
        theirs, ours = (" x ".join(map(str, patch)) for patch in (cuts[cut.name].patch, cut.patch))
        raise ConfigError(f"method.pretrained: {folder} has codes of patches of {theirs}; expected {ours}")
    return found


def opened(folder: str) -> tuple[Config, Restored]:
    """The config and the newest checkpoint of a run folder; ConfigError where there is none."""
    try:
        return open_run(folder)
    except CheckpointError as error:
        raise ConfigError(f"method.pretrained: {error}") from error
