"""One YAML file and `key=value` overrides, read strictly into a frozen `Config`; every fault is one clear line.

The keys of `method` and `encoder` are the keyword-only parameters of the function that their `name` chooses.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, create_model

from mmssl import strict_yaml
from mmssl.config_errors import one_line, one_of, place, refusal, shown
from mmssl.errors import ConfigError
from mmssl.sections import (
    AudioConfig,
    Choice,
    CountOrZero,
    DataConfig,
    EvaluateConfig,
    ImageConfig,
    Section,
    SoundsConfig,
    Text,
    TokenizerConfig,
    TrainConfig,
    VideoConfig,
    ViewsConfig,
)
from mmssl.strict_yaml import Keys

MAX_BYTES = 2**20
COMMAND_LINE = "command line"
PACKAGE = Path(__file__).resolve().parent
SUFFIXES = {"configs": ".yaml", "tasks": ".py"}


class Config(Section):
    """All that defines a run."""

    task: Annotated[str, Field(pattern="^[a-z0-9_]+$")]  # a file of tasks/
    run: Text  # output folder
    seed: CountOrZero = 0
    data: DataConfig = DataConfig()
    image: ImageConfig = ImageConfig()
    audio: AudioConfig = AudioConfig()
    video: VideoConfig = VideoConfig()
    views: ViewsConfig = ViewsConfig()
    sounds: SoundsConfig = SoundsConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    method: Choice = Choice(name="bert")
    encoder: Choice = Choice(name="bert")
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    track: list[Literal["tensorboard", "trackio", "wandb", "mlflow"]] = Field(default=[])


def schema(function: Callable[..., Any]) -> type[Choice]:
    """The keys that a function takes: its keyword-only parameters, their annotations and defaults, and `name`."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(function.__name__, __base__=Choice, **fields)


@cache
def composed(method: Callable[..., Any], encoder: Callable[..., Any]) -> type[Config]:
    """`Config` with the keys of one method and one encoder."""
    return create_model("Config", __base__=Config, method=(schema(method), ...), encoder=(schema(encoder), ...))


def load_config(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    methods: Mapping[str, Callable[..., Any]] | None = None,
    encoders: Mapping[str, Callable[..., Any]] | None = None,
) -> Config:
    """The config of a file, with dotted `key=value` overrides, of which the last one counts; raises ConfigError.

    A path below `configs/` that is not in the current folder is looked for in the package. `methods` and `encoders` are
    METHODS and ENCODERS of the package where not given.
    """
    raw, origin = read(path)
    for text in overrides:
        override(raw, origin, text)
    if methods is None:
        from mmssl.methods import METHODS as methods
    if encoders is None:
        from mmssl.models import ENCODERS as encoders
    model = composed(chosen("method", methods, raw, origin), chosen("encoder", encoders, raw, origin))
    try:
        return model.model_validate_json(json.dumps(raw))  # as JSON, in which a tuple is a list
    except ValidationError as error:
        raise refusal(error.errors(include_url=False), raw, origin, model) from None


def read(path: str | Path) -> tuple[dict[str, Any], dict[Keys, str]]:
    """The keys of a file, and where each was written; origin[()] is the file."""
    path = Path(path)
    if not path.exists() and path.parts[:1] == ("configs",):
        path = packaged("configs", "/".join(path.parts[1:]))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{path}: more than {MAX_BYTES} bytes, expected a config of at most 1 MiB")
        raw, lines = strict_yaml.parse(data.decode())
    except OSError as error:
        raise one_line(
            str(path), (), f"{(error.strerror or 'cannot be read').lower()}, expected a config file"
        ) from None
    except UnicodeDecodeError as error:
        raise one_line(str(path), (), f"byte {error.start} is not UTF-8 text, expected a YAML file") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise one_line(f"{path}:{line}", (), strict_yaml.problem(error)) from None
    if not isinstance(raw, dict):
        raise one_line(str(path), (), f"got {shown(raw)}, expected keys such as 'task: ...'")
    return raw, {(): str(path)} | {keys: f"{path}:{line}" for keys, line in lines.items()}


def override(raw: dict[str, Any], origin: dict[Keys, str], text: str) -> None:
    """Set the key of one `key=value` in place; the value is YAML."""
    name, sign, value_text = text.partition("=")
    keys = tuple(name.strip().split("."))
    if not sign or not all(keys):
        raise one_line(COMMAND_LINE, (), f"got {shown(text)}, expected key=value, as in train.steps=100")
    try:
        value, _ = strict_yaml.parse(value_text)
    except yaml.MarkedYAMLError as error:
        problem = f"got {shown(value_text)}, expected YAML (text in quotes): {strict_yaml.problem(error)}"
        raise one_line(COMMAND_LINE, keys, problem) from None
    for depth, key in enumerate(keys[:-1], start=1):
        if key not in raw:
            raw[key], origin[keys[:depth]] = {}, COMMAND_LINE
        raw = raw[key]
        if not isinstance(raw, dict):
            raise one_line(COMMAND_LINE, keys, f"{'.'.join(keys[:depth])} is {shown(raw)}, expected a section of keys")
    raw[keys[-1]] = value
    for other in [other for other in origin if other[: len(keys)] == keys]:
        del origin[other]
    origin[keys] = COMMAND_LINE


def chosen(
    kind: str, known: Mapping[str, Callable[..., Any]], raw: dict[str, Any], origin: Mapping[Keys, str]
) -> Callable[..., Any]:
    """The function that a section names ("bert" where it names none, which is then written into it)."""
    section = raw.setdefault(kind, {})
    if not isinstance(section, dict):
        raise one_line(
            place(origin, (kind,)), (kind,), f"got {shown(section)}, expected a section, as in {{name: bert}}"
        )
    name = section.setdefault("name", "bert")
    if isinstance(name, str) and name in known:
        return known[name]
    keys = kind, "name"
    raise one_line(place(origin, keys), keys, f"got {shown(name)}; {one_of(str(name), known)}")


def packaged(kind: Literal["configs", "tasks"], name: str) -> Path:
    """A file of `configs/` or `tasks/`, installed or in a clone; its suffix may be left out; raises ConfigError."""
    folder = next((place for place in (PACKAGE / kind, PACKAGE.parent / kind) if place.is_dir()), PACKAGE / kind)
    path = folder / (name if PurePath(name).suffix else name + SUFFIXES[kind])
    if path.is_file() and path.resolve().is_relative_to(folder):
        return path
    known = sorted(str(other.relative_to(folder).with_suffix("")) for other in folder.rglob("*" + SUFFIXES[kind]))
    raise one_line(f"{kind}/{name}", (), f"no such file; {one_of(name.removesuffix(SUFFIXES[kind]), known)}")


def dump(config: Config) -> str:
    """YAML of the resolved config; a file of it loads as the same config."""
    return strict_yaml.dump(config.model_dump(mode="json"))


def hash_of(config: Config) -> str:
    """SHA-256 of the resolved config, whatever the order of its keys, in hexadecimal digits."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(a: Config, b: Config) -> list[str]:
    """`key: old -> new` of each dotted key in which two configs differ."""
    old, new = (flat(config.model_dump(mode="json")) for config in (a, b))
    return [
        f"{key}: {shown(old[key]) if key in old else 'absent'} -> {shown(new[key]) if key in new else 'absent'}"
        for key in {**old, **new}
        if key not in old or key not in new or old[key] != new[key]
    ]


def flat(section: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The values of nested sections by their dotted keys."""
    values: dict[str, Any] = {}
    for key, value in section.items():
        values |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return values
