"""The figures of the gates, written where MMSSL_GATES_OUT names a folder: results/reliability.md is made of them."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch


def record(name: str, **figures: Any) -> None:
    """One file for a gate; what it holds already stays beside what is new."""
    if not (folder := os.environ.get("MMSSL_GATES_OUT")):
        return
    path = Path(folder) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    here = {"host": platform.node(), "torch": torch.__version__}
    path.write_text(json.dumps(known | here | figures, indent=1, sort_keys=True) + "\n")
