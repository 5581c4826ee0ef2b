"""The encoder, or the whole objective, of another run, with its trained weights."""

from typing import Any

from mmssl.checkpoint import Restored
from mmssl.config import Config
from mmssl.errors import CheckpointError, ConfigError
from mmssl.modalities.grids import Cut, Waveform
from mmssl.models.target import Tokenizer
from mmssl.objectives.base import Objective
from mmssl.runs import open_run
from mmssl.weights import copy_into

PREFIXES = ("embedder.encoder.", "encoder.")  # of the encoder's weights in an objective's


def encoder_of_run(folder: str, modalities: Any) -> Any:
    """The encoder of the newest checkpoint of a run folder, frozen, in eval mode; ConfigError where there is no such
    run or where its encoder reads something else (waveforms of another rate, too), CheckpointError where its weights
    are not those of an encoder of `modalities`.
    """
    config, found = opened(folder)
    encoder = new_encoder(folder, config, modalities)
    for part in modalities.values():
        if isinstance(part, Waveform) and part.rate_hz != config.audio.rate_hz:
            raise ConfigError(
                f"method.pretrained: {folder} is a run on sounds of {config.audio.rate_hz} Hz, this one's have "
                f"{part.rate_hz}; expected the same audio.rate_hz"
            )
    weights = found.tensors["model"]
    for prefix in PREFIXES:
        mine = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if mine:
            copy_into(encoder, mine, f"method.pretrained {folder}: encoder")
            return encoder.requires_grad_(False).eval()
    raise ConfigError(f"method.pretrained: {folder} has no encoder of {', '.join(modalities)}; expected a run on them")


def objective_of_run(folder: str, modalities: Any) -> Objective:
    """The objective of the newest checkpoint of a run folder, frozen, in eval mode; ConfigError where there is no such
    run, CheckpointError where its weights are not those of its method on `modalities`.
    """
    from mmssl.methods import METHODS

    config, found = opened(folder)
    encoder = new_encoder(folder, config, modalities)
    objective: Objective = METHODS[config.method.name](encoder, modalities, **config.method.arguments())
    copy_into(objective, found.tensors["model"], f"method.pretrained {folder}: {config.method.name}")
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


def new_encoder(folder: str, config: Config, modalities: Any) -> Any:
    """An encoder as that of a run, with its first weights; ConfigError where it does not read these modalities."""
    from mmssl.models import ENCODERS
    from mmssl.models.encoder import TEXT_ENCODERS

    name, reason = config.encoder.name, "it reads text"
    if name not in TEXT_ENCODERS:
        try:
            return ENCODERS[name](modalities, **config.encoder.arguments())
        except ConfigError as error:
            reason = str(error).partition("; expected")[0]
    raise ConfigError(
        f"method.pretrained: {folder} is a run of {config.task} with encoder {name} ({reason}); "
        f"expected one that reads {' and '.join(modalities)} as this run does"
    )


def opened(folder: str) -> tuple[Config, Restored]:
    """The config and the newest checkpoint of a run folder; ConfigError where there is none."""
    try:
        return open_run(folder)
    except CheckpointError as error:
        raise ConfigError(f"method.pretrained: {error}") from error
