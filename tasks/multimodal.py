"""Text, picture, sound and video of the same events, by several objectives over one encoder.

Captions are those of `savanna`, of files (that of x.mp4 is x.txt) or of a manifest.
"""

from mmssl.evaluate.continuations import hidden_frames
from mmssl.evaluate.negatives import reversed_time
from mmssl.media_task import MediaTask

TASK = MediaTask(
    modalities=("text", "image", "audio", "video"),
    negatives=lambda config: {
        "time_reversed": ("video", reversed_time(hidden_frames(config))),
    },
)

main, evaluate, predict, score = TASK.main, TASK.evaluate, TASK.predict, TASK.score
embed, export, preview = TASK.embed, TASK.export, TASK.preview
