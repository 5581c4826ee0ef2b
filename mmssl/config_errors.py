"""One line for what is wrong in a config: where, which key, what came, what was expected, and the nearest known key."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from mmssl.errors import ConfigError
from mmssl.strict_yaml import Keys

EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "text of the form {pattern}",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "model_type": "a section of keys",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "missing": "a value, for it has no default",
}
MISSING = object()
MAX_SHOWN = 60  # characters of a value


def one_line(place: str, keys: Keys, problem: str) -> ConfigError:
    """The error of a key at a place such as `configs/a.yaml:3`."""
    parts = (place, dotted(keys), problem)
    return ConfigError(" ".join(": ".join(part for part in parts if part).splitlines()))


def dotted(keys: Keys) -> str:
    """`train.steps` of ("train", "steps")."""
    return ".".join(map(str, keys))


def shown(value: object) -> str:
    """A value as it would be written in a config, cut where it is long."""
    if value is MISSING or value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def place(origin: Mapping[Keys, str], keys: Keys) -> str:
    """Where the nearest key above was written; origin[()] is the file itself."""
    return next(origin[keys[:length]] for length in range(len(keys), -1, -1) if keys[:length] in origin)


def refusal(found: Iterable[ErrorDetails], raw: Any, origin: Mapping[Keys, str], model: type[BaseModel]) -> ConfigError:
    """The first fault, unknown keys before others (they may be why one is missing), and how many more there are."""
    unknown: list[Keys] = []
    expected: dict[Keys, list[str]] = {}
    came: dict[Keys, object] = {}
    for error in found:
        context = error.get("ctx", {})
        keys, value = follow(raw, error["loc"])
        if error["type"] == "extra_forbidden":
            unknown.append(keys)
            continue
        if error["type"] == "missing":
            keys, value = (*keys, error["loc"][-1]), MISSING
        elif error["type"] == "conflict":
            keys, value = (*keys, context["key"]), context["came"]
        text = EXPECTED.get(error["type"], error["msg"]).format(**context)
        came[keys] = value
        if text not in expected.setdefault(keys, []):
            expected[keys].append(text)
    # each branch of a union complains: the one that got furthest into the value is the one that was meant
    meant = [keys for keys in expected if not any(keys == other[: len(keys)] != other for other in expected)]
    count = len(unknown) + len(meant)
    more = f" (+{count - 1} more)" if count > 1 else ""
    if unknown:
        return one_line(place(origin, unknown[0]), unknown[0], f"unknown key; {advice(unknown[0], model)}{more}")
    keys = meant[0]
    problem = f"got {shown(came[keys])}, expected {' or '.join(expected[keys])}{more}"
    return one_line(place(origin, keys), keys, problem)


def follow(raw: Any, location: Keys) -> tuple[Keys, object]:
    """The keys of pydantic's location without its names of a union's branches, and the value there."""
    keys: list[str | int] = []
    for part in location:
        entries: dict = raw if isinstance(raw, dict) else dict(enumerate(raw)) if isinstance(raw, list) else {}
        if part in entries:
            raw = entries[part]
            keys.append(part)
    return tuple(keys), raw


def all_keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key that a model knows, level by level from the top."""
    yield from ((*above, name) for name in model.model_fields)
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from all_keys(field.annotation, (*above, name))


def one_of(name: str, known: Iterable[str]) -> str:
    """What was expected in place of a name: the nearest that is known, and all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean '{near[0]}'? " if near else "") + f"expected one of {', '.join(known)}"


def advice(keys: Keys, model: type[BaseModel]) -> str:
    """The key that was meant: of this level or, where it is spelt right, of another; else the keys of this level."""
    name = str(keys[-1]).lower().replace("-", "_")
    known = list(all_keys(model))
    here = [other[-1] for other in known if other[:-1] == keys[:-1]]
    same = [other for other in known if other[-1] == name]
    close = difflib.get_close_matches(name, here, n=2, cutoff=0.85) or difflib.get_close_matches(name, here, n=1)
    if name in here:
        same = [(*keys[:-1], name)]
    elif close and not same:
        same = [(*keys[:-1], other) for other in close]
    elif not same:
        leaf = difflib.get_close_matches(name, [other[-1] for other in known], n=1, cutoff=0.8)
        same = [other for other in known if other[-1] in leaf]
    meant = " or ".join(f"'{dotted(other)}'" for other in same)
    return f"did you mean {meant}?" if same else f"expected one of {', '.join(here)}"
