"""Video: predict hidden frames (the future, or a masked region), in pixels or in embeddings.

Beside other clips, the true continuation is measured against its own frames in reverse order.
"""

from mmssl.config import Config
from mmssl.evaluate.media import Negatives, reversed_time
from mmssl.media_task import MediaTask


def negatives(config: Config) -> Negatives:
    """The frames after the seen ones, reversed; all of them where no frames are seen whole."""
    seen = config.method.arguments().get("seen_frames", 0)
    return {"time_reversed": ("video", reversed_time(seen))}


TASK = MediaTask(modalities=("video",), negatives=negatives)

main, evaluate, predict, score = TASK.main, TASK.evaluate, TASK.predict, TASK.score
embed, export, preview = TASK.embed, TASK.export, TASK.preview
