"""The figures of a gate's full form, as a file of JSON where MMSSL_GATES_OUT names a folder."""

import json
import os
import platform
from pathlib import Path

import torch


def record(name: str, **figures: object) -> None:
    """Write counts, differences and seconds of a gate as NAME.json with host and version; nothing without a folder."""
    folder = os.environ.get("MMSSL_GATES_OUT")
    if not folder:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    host = {"host": platform.platform(), "cores": len(os.sched_getaffinity(0)), "torch": torch.__version__}
    (Path(folder) / f"{name}.json").write_text(json.dumps({**host, **figures}, indent=1, default=str))
