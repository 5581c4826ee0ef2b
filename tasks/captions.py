"""Captions with what they tell of: pictures, sounds, clips or several of them, as `data.modalities` says.

A user's captions lie beside their files or in a table of pairs; `savanna` has captions, too.
"""

from functools import partial
from typing import Any

from mmssl.config import Config
from mmssl.media_task import MediaTask

TASK = MediaTask(modalities=("text", "image"))


def call(name: str, config: Config, *arguments: Any, **options: Any) -> Any:
    """What the task of the config's modalities does."""
    task = MediaTask(modalities=tuple(dict.fromkeys(config.data.modalities)))
    return getattr(task, name)(config, *arguments, **options)


main, evaluate, predict, score = (partial(call, name) for name in ("main", "evaluate", "predict", "score"))
embed, export, preview = (partial(call, name) for name in ("embed", "export", "preview"))
