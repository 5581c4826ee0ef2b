"""Draw what the runs of scripts/uncertainty.py make of a held-out picture.

usage: python scripts/draw_uncertainty.py OUT [--sample K]

docs/results/uncertainty.png has a row for each run below OUT: what is seen, all that the hidden half may be, 8 samples
of the model (one where it has one answer only), their mean, and where they differ. What is read off embeddings is
called decoded. The sample is by default the first held-out one that may be completed in three ways.
"""

import argparse
from pathlib import Path
from textwrap import wrap

import numpy as np
import torch
from tables import RESULTS, in_order
from torch import Tensor

from mmssl.augment import to_pixels
from mmssl.evaluate.completion import Completed, completed
from mmssl.evaluate.heldout import batch_of
from mmssl.evaluate.worlds import HALF, pictures_of
from mmssl.report.completions import spread
from mmssl.report.pictures import Line, save_png, sheet
from mmssl.runs import open_run, open_task

SHOWN = 8  # samples of each model
MODES = 3  # ways to complete the picture, the largest number there is
CPU = torch.device("cpu")
NAME_LETTERS = 14  # of a name that stay below a picture


def completed_sample(run: Path, index: int) -> Completed:
    """What a run makes of a held-out sample."""
    task, config, found = open_task(run)
    objective, inputs, data = task.TASK.restored(config, found)
    batch = inputs(batch_of(data.heldout, config.seed, np.array([index]), CPU))
    decode = task.TASK.decoder(objective, inputs, config, data)
    return completed(objective, batch, samples=SHOWN, decode=decode, hide=HALF)["image"]


def row_of(one: Completed, modes: list[Tensor], name: str) -> tuple[list[Tensor], list[list[Line]]]:
    """The pictures of a run, and the words below the first."""
    samples, blank = [sample[0] for sample in one.samples], torch.full_like(modes[0], 255)
    pictures = [to_pixels(one.seen[0]), *modes, *map(to_pixels, samples), *[blank] * (SHOWN - len(samples))]
    if len(samples) > 1:
        pictures += [to_pixels(torch.stack(samples).mean(0)), spread([sample[0] for sample in one.samples])]
    words = [*name.split("-"), *(["decoded"] if one.is_decoded else [])]
    return pictures, [[Line(line) for word in words for line in wrap(word.replace("_", " "), NAME_LETTERS)]]


def draw(out: Path, index: int | None = None) -> Path:
    """The picture of all runs below a folder."""
    names = in_order(path.parent.name for path in out.glob("*/evaluation.json"))
    config, _ = open_run(out / names[0])
    if index is None:
        index = next(number for number in range(10_000) if len(pictures_of(number, config).probability) == MODES)
    truth = pictures_of(index, config)
    modes = [torch.from_numpy(picture) for picture in truth.picture]
    rows = [row_of(completed_sample(out / name, index), modes, name) for name in names]
    titles = ["seen", *(f"possible: {share:.0%}" for share in truth.probability)]
    titles += [*(f"sample {number + 1}" for number in range(SHOWN)), "mean", "spread"]
    path = RESULTS / "uncertainty.png"
    save_png(sheet([pictures for pictures, _ in rows], titles, below=[words for _, words in rows]), path)
    return path


def main() -> None:
    """Draw the runs of a folder."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sample", type=int)
    asked = parser.parse_args()
    print(draw(asked.out, asked.sample))


if __name__ == "__main__":
    main()
