"""Draws what lies nearest to a sample across modalities: to a sound the clips, to a caption the pictures."""

from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool
from torch import Tensor

from mmssl.augment import to_pixels
from mmssl.batch import Batch
from mmssl.modalities.text import Vocabulary
from mmssl.objectives import Objective
from mmssl.report.figures import GREY
from mmssl.report.pictures import LEAST, Line, Picture, save_png, sheet, shrunk, spectrogram_picture, words_picture

NEAREST = 6
FRAMES = 3  # of a clip, side by side
THUMBNAIL = 96  # pixels of the shorter side of a frame, at most
WORDS = {"image": "pictures", "video": "clips", "audio": "sounds", "text": "captions"}


class Candidates(NamedTuple):
    """Samples to choose from, as the objective sees them, with their labels ("" where there is none)."""

    batch: Batch
    labels: list[str]
    vocabulary: Vocabulary | None = None  # of their captions, where these are read

    def distinct(self, name: str) -> Bool[Tensor, " B"]:
        """Those that have the modality; of samples of which the same is said the first."""
        present = self.batch.present(name).cpu()
        if name != "text":
            return present
        _, said = self.batch.views["text"][0].cpu().unique(dim=0, return_inverse=True)
        first = (said[:, None] == said).int().argmax(1)
        return present & (first == torch.arange(len(said)))


def draw_nearest(objective: Objective, given: Batch, names: list[str], held: Candidates, folder: Path) -> list[Path]:
    """For each two modalities that a part of the objective compares: each given sample that has the one beside the
    candidates of the other with the lowest energy; the paths that were written.
    """
    written = []
    there = [name for name in WORDS if name in held.batch.views]
    for x, y in product(there, repeat=2):
        part = next((part for part in objective.each().values() if x != y and part.compares(x, y)), None)
        rows = given.present(x).nonzero()[:, 0].tolist() if x in given.views else []
        if part is None or not rows or int(held.batch.present(y).sum()) == 0:
            continue
        path = folder / f"neighbours-{x}-to-{y}.png"
        draw_couple(part, x, y, given, rows, names, held, path)
        written.append(path)
    return written


@torch.no_grad()
def draw_couple(
    part: Objective, x: str, y: str, given: Batch, rows: list[int], names: list[str], held: Candidates, path: Path
) -> None:
    """A row for each given sample: itself, then the nearest, with their energies and labels."""
    energies = part.eval().energies_between(x, y, given, held.batch).float().cpu()
    candidates = held.distinct(y)
    energies = energies.masked_fill(~candidates[None], torch.inf)
    count = min(NEAREST, int(candidates.sum()))
    look, pictures, below = partial(looks, vocabulary=held.vocabulary), [], []
    for row in rows:
        found = energies[row].argsort(stable=True)[:count].tolist()
        pictures.append([look(x, given.views[x][0][row]), *(look(y, held.batch.views[y][0][one]) for one in found)])
        lines = [[Line(held.labels[one]), Line(f"{float(energies[row, one]):.3f}", GREY)] for one in found]
        below.append([[Line(names[row])], *lines])
    titles = [x, "nearest", *(f"{place}." for place in range(2, count + 1))]
    note = (
        f"Left, what was given; beside it the {WORDS[y]} of the lowest energy (below them, behind the label) of "
        f"{int(candidates.sum()):,} held-out {'captions, no two alike' if y == 'text' else 'samples'}. "
        "Labels are for the reader only."
    )
    save_png(sheet(pictures, titles, LEAST, below), path, note)


def looks(name: str, view: Tensor, vocabulary: Vocabulary | None = None) -> Picture:
    """A view as a picture: some frames of a clip side by side, a sound as its spectrogram, a caption as it was read."""
    if name == "text":
        assert vocabulary is not None, "captions without a vocabulary"
        around = (vocabulary.first, vocabulary.last, vocabulary.pad)
        return words_picture(vocabulary.decode([number for number in view.tolist() if number not in around]))
    if name == "audio":
        return spectrogram_picture(view if view.ndim == 2 else view.flatten(0, -3).mean(0), zoom=2)
    pixels = to_pixels(view).cpu()
    factor = max(1, -(-min(pixels.shape[-2:]) // THUMBNAIL))
    if name == "image":
        return shrunk(pixels, factor)
    chosen = torch.linspace(0, len(pixels) - 1, min(FRAMES, len(pixels))).round().long()
    return rearrange(shrunk(pixels[chosen], factor), "l c h w -> c h (l w)")
