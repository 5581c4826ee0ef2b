"""Captions in, pictures out, by `latent_diffusion` or any method that reads both and hides pictures.

Captions are those of `savanna`, of files (that of x.jpg is x.txt) or of a manifest. Beside other pictures, y is
measured against its own pieces in another order, and against noise of its colours. `mmssl predict RUN "a caption"...`
paints each caption `--samples` times.
"""

from pathlib import Path

import torch

from mmssl.augment import to_pixels
from mmssl.batch import Batch
from mmssl.checkpoint import Restored
from mmssl.config import Config
from mmssl.errors import DataError
from mmssl.evaluate.completion import completed
from mmssl.evaluate.negatives import noise, patches_shuffled
from mmssl.inputs import Inputs
from mmssl.media_task import MediaTask
from mmssl.modalities.given_text import caption_rows
from mmssl.modalities.grids import Grid
from mmssl.modalities.text import Vocabulary
from mmssl.random import Draw
from mmssl.report.pictures import save_png, sheet

TASK = MediaTask(
    modalities=("text", "image"),
    negatives=lambda config: {"patches_shuffled": ("image", patches_shuffled), "noise": ("image", noise)},
)


def predict(config: Config, found: Restored, inputs: list[str], *, samples: int, out: Path | None) -> None:
    """`mmssl predict RUN CAPTION...`: a sheet with a row of pictures for each caption."""
    objective, prepare, data = TASK.restored(config, found)
    assert data.vocabulary is not None
    one = next(iter(completed(objective, prepare(asked(inputs, data.vocabulary, prepare)), samples=samples).values()))
    rows = [[to_pixels(sample[row]).cpu() for sample in one.samples] for row in range(len(inputs))]
    titles = [f"painted {number + 1}" for number in range(len(one.samples))]
    path = (out or Path(config.run) / "predictions") / "captions.png"
    save_png(sheet(rows, titles), path, caption=" | ".join(inputs))
    print(path)


def asked(captions: list[str], vocabulary: Vocabulary, inputs: Inputs) -> Batch:
    """Captions without pictures, with the draws of samples 0, 1, ...; DataError where the run knows a word not, or one
    is too long.
    """
    rows = torch.from_numpy(caption_rows(captions, vocabulary, inputs.config.data.caption_tokens)).long()
    for caption, ids in zip(captions, rows, strict=True):
        if bool((ids == vocabulary.unknown).any()):
            raise DataError(f"predict: '{caption}' has words that the run never read; expected words of its captions")
    index = torch.arange(len(captions))
    grid = inputs.modalities["image"]
    assert isinstance(grid, Grid)
    blank = torch.zeros(len(captions), grid.channels, *grid.size, dtype=torch.uint8)
    views = {"text": [rows], "image": [blank]}
    return Batch(views, Draw(inputs.config.seed, torch.zeros_like(index), index))


main, evaluate, score = TASK.main, TASK.evaluate, TASK.score
embed, export, preview = TASK.embed, TASK.export, TASK.preview
