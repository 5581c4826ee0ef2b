"""Image pretraining: pictures in, an encoder out; no label is needed.

Copy this file to start a task of your own. `MediaTask` reads and decodes what `modalities` names, builds the objective
from METHODS, trains it by the one loop (`mmssl/pretraining.py`) and answers the commands of the same names.

Beside other pictures, y is measured against its own pieces in another order, and against noise of its colours.
"""

from mmssl.evaluate.negatives import noise, patches_shuffled
from mmssl.media_task import MediaTask

TASK = MediaTask(
    modalities=("image",),
    negatives=lambda config: {"patches_shuffled": ("image", patches_shuffled), "noise": ("image", noise)},
)

main, evaluate, predict, score = TASK.main, TASK.evaluate, TASK.predict, TASK.score
embed, export, preview = TASK.embed, TASK.export, TASK.preview
