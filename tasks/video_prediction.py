"""Video: predict hidden frames (the future, or a masked region), in pixels or in embeddings.

Beside other clips and other windows of its file, the true continuation is measured against its own frames in reverse
order and shuffled, and against an earlier part of the clip.
"""

from mmssl.config import Config
from mmssl.evaluate.continuations import hidden_frames
from mmssl.evaluate.negatives import Negatives, frames_shuffled, reversed_time, time_shifted
from mmssl.media_task import MediaTask


def negatives(config: Config) -> Negatives:
    """Of the hidden frames; of all of them where no frames are seen whole."""
    kinds = {"time_reversed": reversed_time, "frames_shuffled": frames_shuffled, "time_shifted": time_shifted}
    return {name: ("video", kind(hidden_frames(config))) for name, kind in kinds.items()}


TASK = MediaTask(modalities=("video",), negatives=negatives)

main, evaluate, predict, score = TASK.main, TASK.evaluate, TASK.predict, TASK.score
embed, export, preview = TASK.embed, TASK.export, TASK.preview
