"""Sound pretraining: windows of sound in, as log-mel spectrograms; an encoder of them out."""

from mmssl.media_task import MediaTask

TASK = MediaTask(modalities=("audio",))

main, evaluate, predict, score = TASK.main, TASK.evaluate, TASK.predict, TASK.score
fill = TASK.fill  # predict --hide
embed, export, preview = TASK.embed, TASK.export, TASK.preview
