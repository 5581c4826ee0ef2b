"""The run folder: who writes it, with which config, on which machine; and how a finished run is opened again."""

import fcntl
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from mmssl.checkpoint import Restored, restore
from mmssl.config import Config, differences, dump, flat, load_config, packaged
from mmssl.errors import CheckpointError, ConfigError
from mmssl.folder import lock, write_whole

PACKAGES = ("mmssl", "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy", "safetensors")
# what may change between two starts of a run without changing what is trained
FREE = ("run", "track", "evaluate", "data.workers", "data.cache", "train.log_every_steps", "train.save_every_steps",
        "train.keep_checkpoints", "train.evaluate_every_steps", "train.accumulate",
        "train.hang_seconds", "train.stop_on_spike", "train.stop_on_collapse", "train.sharding")  # fmt: skip


def environment() -> dict[str, Any]:
    """Hardware and versions, as every result must state them."""
    listing = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":", 1)[1].strip() for line in listing.splitlines() if "model name" in line]
    cpu = f"{models[0] if models else platform.processor()}, {len(os.sched_getaffinity(0))} cores"
    devices = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "hardware": ", ".join(devices) or cpu, "python": platform.python_version(),
        "processes": int(os.environ.get("WORLD_SIZE", 1)), "versions": versions, "command": " ".join(sys.argv[1:]),
    }  # fmt: skip


@contextmanager
def open_folder(config: Config, *, changed: Sequence[str] = ()) -> Iterator[Path]:
    """The run folder, locked for this run; its config must agree with one that is there, but for the keys in
    `changed`. The former config comes back where a run fails that had checkpoints and saved no more.
    """
    folder = Path(config.run)
    with ExitStack() as stack:
        if int(os.environ.get("RANK", 0)) == 0:
            stack.enter_context(lock(folder))
            agree(config, folder, changed)
            stack.enter_context(written(config, folder / "config.yaml"))
            write_json(folder / "environment.json", environment())
        yield folder


@contextmanager
def written(config: Config, path: Path) -> Iterator[None]:
    """The config in its file; as checkpoints fit the config they were saved under, that one is kept if it fails."""
    saved = set(path.parent.glob("checkpoints/step-*"))
    former = path.read_bytes() if saved and path.exists() else None
    write_whole(path, dump(config).encode())
    try:
        yield
    except BaseException:
        if former is not None and set(path.parent.glob("checkpoints/step-*")) <= saved:
            write_whole(path, former)
        raise


def agree(config: Config, folder: Path, changed: Sequence[str]) -> None:
    """CheckpointError where the folder holds a run with another config, ConfigError where `changed` names no key."""
    path = folder / "config.yaml"
    for key in changed:
        if not any(has_key(known, (key,)) for known in flat(config.model_dump())):
            raise ConfigError(f"override-on-resume {key}: no such key; expected one of the config, as in train.steps")
    if not path.exists():
        return
    try:
        there = load_config(path)
    except ConfigError as error:
        raise CheckpointError(
            f"run {folder}: its config cannot be read ({error}); expected another run folder"
        ) from error
    every = differences(there, config)
    found = [line for line in every if not has_key(line.partition(":")[0], (*FREE, *changed))]
    is_trained = any((folder / "checkpoints").glob("step-*"))
    if is_trained and (other := [line for line in every if line.startswith("train.optimizer:")]):
        raise CheckpointError(
            f"run {folder}: {other[0]}: what one optimizer remembers means nothing to another; "
            "expected the same one, or another run folder"
        )
    if found and not is_trained:
        # nothing was trained yet, as after an error in the data: the new config begins anew
        shutil.rmtree(folder / "tokenizer", ignore_errors=True)
    elif found:
        more = f" (+{len(found) - 4} more)" if len(found) > 4 else ""
        raise CheckpointError(
            f"run {folder} holds a run with another config: {'; '.join(found[:4])}{more}; "
            "expected the same config, another run folder, or --override-on-resume KEY"
        )


def has_key(key: str, names: Sequence[str]) -> bool:
    """Whether a dotted key is one of the names, or lies in a section that is."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def record_bad(folder: Path, report: dict[str, Any]) -> None:
    """One line of bad_samples.jsonl: each fault is written once, and of a file whose samples are replaced the first."""
    line, path = json.dumps(report), f'"path": {json.dumps(report["path"])}, '
    with (folder / "bad_samples.jsonl").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # several workers may find it
        file.seek(0)
        known = file.read().splitlines()
        if line not in known and not ("replaced_by" in report and any(path in each for each in known)):
            file.write(line + "\n")


def write_json(path: Path, content: Any) -> None:
    """A JSON file, whole or not at all; CheckpointError where it cannot be written."""
    write_whole(path, json.dumps(content, indent=1, default=str).encode())


def task_of(config: Config) -> ModuleType:
    """The task's file: from `tasks/` in the current folder, or the package's own."""
    own = Path("tasks") / f"{config.task}.py"
    path = own if own.exists() else packaged("tasks", f"{config.task}.py")
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("[a-z]*.py")))
        raise ConfigError(f"task {config.task}: no file tasks/{config.task}.py; known: {known}")
    spec = importlib.util.spec_from_file_location(f"mmssl_task_{config.task}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def open_run(folder: str | Path, overrides: Sequence[str] = ()) -> tuple[Config, Restored]:
    """The config and the newest intact checkpoint of a run."""
    folder = Path(folder)
    if not (folder / "config.yaml").exists():
        raise CheckpointError(f"run {folder}: no config.yaml; expected a run folder of `mmssl pretrain`")
    found = restore(folder)
    if found is None:
        raise CheckpointError(f"run {folder}: no checkpoint yet; expected a run that has saved one")
    # the folder may have been moved since it was written
    settings = [*without_code(folder / "config.yaml", overrides), *overrides, f"run={json.dumps(str(folder))}"]
    return load_config(folder / "config.yaml", settings), found


def without_code(path: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides by which a run's config names no file of code: whoever made the run may be another, so only the
    command line does.
    """
    evaluate, given = load_config(path).evaluate, {text.partition("=")[0].strip() for text in overrides}
    found = []
    for key in ("lpips_weights", "fvd_weights"):
        if (name := getattr(evaluate, key)) and f"evaluate.{key}" not in given:
            line = f"note: evaluate.{key} {name} of {path} is not loaded: TorchScript is code; expected it as KEY=VALUE"
            print(line, file=sys.stderr)
            found.append(f"evaluate.{key}=''")
    return found


def open_task(folder: str | Path, overrides: Sequence[str] = ()) -> tuple[ModuleType, Config, Restored]:
    """The task, config and newest checkpoint of a run."""
    config, found = open_run(folder, overrides)
    return task_of(config), config, found
