"""Run folders, checkpoints and tokenizers that attack whoever opens them."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from hostile_files import pickled, sparse_file
from hostile_texts import NEEDED

from mmssl import manifest
from mmssl.checkpoint import save


def checkpoint(place: Path) -> Path:
    """A run folder with a checkpoint."""
    save(place, 1, {"model": {"a": torch.ones(4)}}, {"samples_seen": 4}, keep=2)
    return place / "checkpoints" / "step-000000001"


def replaced(name: str, kind: str) -> Callable[[Path], Path]:
    """A run folder one of whose files is a pickle; the manifest agrees to it."""

    def make(place: Path) -> Path:
        folder = checkpoint(place)
        with_file(folder, name, pickled(place / name, kind))
        return place

    return make


def with_file(folder: Path, name: str, data: bytes) -> None:
    """Write a file of a checkpoint, and a manifest that agrees to it."""
    (folder / name).write_bytes(data)
    if name != "MANIFEST.json":
        known = manifest.read_manifest(folder)
        digest = manifest.sha256(data).hexdigest()
        files = {**known.files, name: manifest.File(size=len(data), sha256=digest)}
        (folder / "MANIFEST.json").write_bytes(manifest.seal(known.model_copy(update={"files": files})))


def large(name: str) -> Callable[[Path], Path]:
    """A run folder one of whose files has 4 GiB, and none of them in the manifest."""

    def make(place: Path) -> Path:
        sparse_file(checkpoint(place) / name, 2**32)
        return place

    return make


def foreign_run(place: Path) -> Path:
    """A run folder whose config names code: a TorchScript file, and a task that is a path."""
    checkpoint(place)
    (place / "config.yaml").write_text(NEEDED.replace("image_pretraining", "../../evil"))
    (place / "evil.py").write_text(f"open({str(place / 'sentinel')!r}, 'w')")
    return place


def foreign_tokenizer(place: Path) -> Path:
    """A tokenizer that asks for code of its own."""
    (place / "evil.py").write_text(f"open({str(place / 'sentinel')!r}, 'w')\nclass Evil: ...\n")
    mapped = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (place / "tokenizer_config.json").write_text(json.dumps(mapped))
    (place / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil"}))
    return place
