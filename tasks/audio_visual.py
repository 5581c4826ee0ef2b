"""Video with its sound: two views of one event, from one file or from aligned folders (`data.paired`).

Beside other clips, the sound is measured against that of the same clip at another time, and the frames against their
reverse order.
"""

from mmssl.evaluate.negatives import reversed_time, shifted_sound
from mmssl.media_task import MediaTask

TASK = MediaTask(
    modalities=("video", "audio"),
    negatives=lambda config: {
        "sound_shifted": ("audio", shifted_sound),
        "time_reversed": ("video", reversed_time(slice(None))),
    },
)

main, evaluate, predict, score = TASK.main, TASK.evaluate, TASK.predict, TASK.score
embed, export, preview = TASK.embed, TASK.export, TASK.preview
