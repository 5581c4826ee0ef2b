"""What a run folder says about its run, and what of it is missing or cannot be read."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeGuard

import yaml

from mmssl.errors import CheckpointError


class Record(NamedTuple):
    """One run as its folder tells it; `notes` are sentences about what is missing or broken."""

    folder: Path
    config_text: str
    config: dict[str, Any]  # keys joined by dots
    environment: dict[str, Any]  # keys joined by dots
    metrics: list[dict[str, Any]]  # one for each logged step, ascending
    evaluation: dict[str, Any]  # empty where the run was not evaluated
    bad_samples: list[dict[str, Any]]
    notes: list[str]

    @property
    def name(self) -> str:
        """The last part of the folder's path."""
        return self.folder.resolve().name

    def series(self, key: str, x: str = "step") -> tuple[list[float], list[float]]:
        """The finite values of one metric, with the steps (or `x`) at which they were logged."""
        pairs = [(line[x], line[key]) for line in self.metrics if is_finite(line.get(key)) and is_finite(line.get(x))]
        return [float(at) for at, _ in pairs], [float(value) for _, value in pairs]

    def last(self, key: str) -> Any:
        """The last logged value of a metric, None where it was never logged."""
        return next((line[key] for line in reversed(self.metrics) if line.get(key) is not None), None)

    def usual(self, key: str) -> float | None:
        """The median of a metric, None where it was never logged."""
        _, values = self.series(key)
        return median(values) if values else None


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether this is a number that can be drawn; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read_record(folder: Path) -> Record:
    """Reads a run folder; raises CheckpointError where it holds neither config.yaml nor metrics.jsonl."""
    if not any((folder / name).is_file() for name in ("config.yaml", "metrics.jsonl")):
        found = "it holds no config.yaml and no metrics.jsonl" if folder.is_dir() else "there is no such folder"
        raise CheckpointError(f"{folder} is not a run: {found}; expected a folder written by `mmssl pretrain`")

    notes: list[str] = []
    config_text = _text(folder / "config.yaml", notes) or ""
    lines = _json_lines(folder / "metrics.jsonl", notes)
    evaluation = _json_object(folder / "evaluation.json", notes) if (folder / "evaluation.json").exists() else {}
    bad_samples = _json_lines(folder / "bad_samples.jsonl", notes) if (folder / "bad_samples.jsonl").exists() else []
    return Record(
        folder=folder,
        config_text=config_text,
        config=_flat(_yaml_mapping(config_text, notes)),
        environment=_flat(_json_object(folder / "environment.json", notes)),
        metrics=_by_step(lines, notes),
        evaluation={key: value for key, value in evaluation.items() if value is not None},
        bad_samples=bad_samples,
        notes=notes,
    )


def _text(path: Path, notes: list[str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        notes.append(f"{path.name} is missing.")
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error.strerror}.")
    return None


def _yaml_mapping(text: str, notes: list[str]) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        content = None
    if isinstance(content, dict):
        return content
    notes.append("config.yaml is not a YAML mapping; it is shown as it stands.")
    return {}


def _json_object(path: Path, notes: list[str]) -> dict[str, Any]:
    text = _text(path, notes)
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return content
    notes.append(f"{path.name} is not a JSON object; it was left out.")
    return {}


def _json_lines(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; a line half written by a run that was cut off is said apart from others."""
    text = _text(path, notes) or ""
    objects, broken = [], []
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            content = ()
        if isinstance(content, dict):
            objects.append(content)
        elif content is not None:
            broken.append(number)

    if broken and broken[-1] == len(lines) and not text.endswith("\n"):
        broken.pop()
        notes.append(f"The last line of {path.name} is half written (the run was cut off, or still runs); left out.")
    if broken:
        notes.append(f"{len(broken)} of {len(lines)} lines of {path.name} cannot be read (first: line {broken[0]}).")
    return objects


def _by_step(lines: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """Merges the lines of one step; steps that were run again after a resume replace those of the first time."""
    merged: dict[float, dict[str, Any]] = {}
    newest = -math.inf
    for line in lines:
        step = line.get("step")
        if not is_finite(step):
            continue
        if step < newest:
            merged = {at: content for at, content in merged.items() if at < step}
        newest = step
        merged.setdefault(step, {}).update(line)

    diverged = [
        at for at, line in merged.items() if isinstance(line.get("loss"), float) and not is_finite(line["loss"])
    ]
    if diverged:
        notes.append(f"The loss is not finite at step {diverged[0]:,}.")
    return list(merged.values())


def _flat(content: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
