"""Draws what an encoder makes of pictures: the nearest neighbours of some of them, and a map of all."""

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from mmssl.config import Config
from mmssl.evaluate.media_features import features
from mmssl.inputs import Inputs
from mmssl.modalities.labelled_media import thinned
from mmssl.modalities.media_reader import Reader
from mmssl.report.figures import GREY, RULE, THEME, VERMILLION, shortened, style
from mmssl.report.pictures import LEAST, Line, save_png, sheet, shrunk

SAMPLES = 500  # pictures that are embedded, at most
QUERIES, NEIGHBOURS = 8, 6
THUMBNAIL = 128  # pixels of the shorter side of a neighbour, at most
MAP_INCHES, MAP_DOTS = (8.0, 5.2), 150  # and dots per inch
# Of labels that can be told apart: the colours of the charts, then three of Tol 2021's muted ones.
POINTS = [(style(number)["color"], style(number)["marker"]) for number in range(7)]
POINTS += [("#882255", "p"), ("#999933", "*"), ("#332288", "<")]


class Embedded(NamedTuple):
    """Pictures with the directions of their embeddings and their labels, "" of one that has none."""

    pictures: UInt8[Tensor, "N 3 H W"]
    directions: Float[Tensor, "N D"]  # of length 1
    labels: list[str]

    @property
    def has_labels(self) -> bool:
        """Whether a picture has one."""
        return any(self.labels)


def embedded(encoder: nn.Module, reader: Reader, inputs: Inputs, config: Config) -> Embedded:
    """At most SAMPLES pictures of a reader, at even distances, without those that are missing."""
    some = thinned(reader, SAMPLES)
    found = features(encoder, some, inputs.only("image"), config, some.size).get("image", torch.zeros(0, 1))
    views = some(np.arange(some.size))
    rows = [row for row, is_there in enumerate(views["image.present"][0].tolist()) if is_there]
    labels = some.labels()
    return Embedded(views["image"][0][rows], functional.normalize(found[rows], dim=1), [labels[row] for row in rows])


def draw_neighbours(found: Embedded, path: Path) -> list[Path]:
    """QUERIES pictures, at even distances, each beside the NEIGHBOURS nearest to it; nothing of fewer than 2."""
    count = len(found.labels)
    if count < 2:
        return []
    near, cosine = nearest_others(found.directions, min(NEIGHBOURS, count - 1))
    factor = max(1, -(-min(found.pictures.shape[2:]) // THUMBNAIL))
    rows, below = [], []
    for query in range(0, count, -(-count // QUERIES)):
        shown = [query, *near[query].tolist()]
        rows.append([shrunk(found.pictures[row], factor) for row in shown])
        lines = [labelled(found.labels[row], found.labels[query]) for row in shown]
        numbers = ["", *(f"{value:.3f}" for value in cosine[query].tolist())]
        below.append([[*words, Line(number, GREY)] for words, number in zip(lines, numbers, strict=True)])
    titles = ["picture", "nearest", *(f"{place}." for place in range(2, near.shape[1] + 1))]
    save_png(sheet(rows, titles, LEAST, below), path, about_neighbours(found, near))
    return [path]


def nearest_others(directions: Float[Tensor, "N D"], k: int) -> tuple[Int[Tensor, "N k"], Float[Tensor, "N k"]]:
    """The k nearest other samples of each by the cosine, nearest first, ties to the earlier one; and the cosines."""
    cosine = (directions @ directions.T).fill_diagonal_(-2)  # below all others
    found, near = cosine.sort(dim=1, descending=True, stable=True)
    return near[:, :k], found[:, :k]


def labelled(label: str, expected: str) -> list[Line]:
    """The line with a picture's label, in a colour of its own where it is not the expected one."""
    return [Line(label) if label == expected else Line(label, VERMILLION)] if label else []


def about_neighbours(found: Embedded, near: Int[Tensor, "N k"]) -> str:
    """What the sheet of neighbours shows, and how many of all have the label of their picture."""
    count = len(found.labels)
    said = (
        f"Left, pictures of the test part; beside each, the nearest of its {count - 1:,} others, by the cosine (below "
        "them) of the encoder's embeddings, each the mean over the tokens of the plain picture."
    )
    if not found.has_labels:
        return said
    numbers = torch.tensor([sorted(set(found.labels)).index(label) for label in found.labels])
    share = float((numbers[near] == numbers[:, None]).double().mean())
    sizes = numbers.bincount().double()
    chance = float((sizes * (sizes - 1)).sum() / (count * (count - 1)))
    return (
        f"{said} Labels, which are for the reader only, agree with that on the left in {share:.0%} of the "
        f"{near.shape[1]} nearest of all {count:,} pictures; by chance in {chance:.0%}."
    )


def draw_map(found: Embedded, path: Path) -> list[Path]:
    """All pictures as points of the plane in which their directions differ most; nothing of fewer than 3, or of equal
    ones.
    """
    from sklearn.decomposition import PCA

    values = found.directions.double()
    variance = float(values.var(0).sum()) if len(values) > 2 else 0.0
    if variance < torch.finfo(torch.float32).eps or values.shape[1] < 2:
        return []
    plane = PCA(2, svd_solver="full").fit(values.numpy())
    shares = (plane.explained_variance_ / variance).tolist()
    names = coloured(found.labels)
    caption = (
        f"The embeddings of {len(values):,} pictures of the test part, scaled to length 1, on their first two "
        f"principal components, which hold {shares[0]:.0%} and {shares[1]:.0%} of the variance."
    )
    caption = f"{caption} {about_colours(found, names)}".strip()
    save_png(scatter(plane.transform(values.numpy()), found.labels, names, shares), path, caption)
    return [path]


def coloured(labels: Sequence[str]) -> list[str]:
    """The labels that get a colour: all, or where they are too many the most frequent ones; none where these are the
    lesser part of the pictures.
    """
    counts = Counter(label for label in labels if label)
    if len(counts) <= len(POINTS):
        return sorted(counts)
    frequent = sorted(counts, key=lambda label: (-counts[label], label))[: len(POINTS) - 1]
    return sorted(frequent) if 2 * sum(counts[label] for label in frequent) > len(labels) else []


def about_colours(found: Embedded, names: list[str]) -> str:
    """A sentence on what the colours say; "" where there are no labels."""
    count = len(set(found.labels) - {""})
    if not count:
        return ""
    if not names:
        return f"Their {count} labels are too many to be told apart by colours."
    return "Colours are labels, which had no part in it" + (
        f"; grey, {count - len(names)} rarer ones." if count > len(names) else "."
    )


def scatter(
    points: Float[np.ndarray, "N 2"], labels: Sequence[str], names: list[str], shares: Sequence[float]
) -> Image.Image:
    """The points in the colours of their labels, those of no name in grey; a step to the right is as long as one up."""
    import matplotlib
    from matplotlib.figure import Figure

    theme: dict[Any, Any] = {**THEME, "axes.grid": False, "axes.edgecolor": RULE}
    with matplotlib.rc_context(theme):
        figure = Figure(figsize=MAP_INCHES, layout="constrained")
        axes = figure.subplots()
        drawn = [(name, *look, 6.0) for name, look in zip(names, POINTS)]
        others = [("rarer labels", GREY, "o", 3.5)] if names else [("", POINTS[0][0], "o", 5.0)]
        for name, colour, marker, size in [*drawn, *others]:
            mine = np.array([label == name if label in names else (name, colour) == others[0][:2] for label in labels])
            if mine.any():
                axes.plot(
                    *points[mine].T, marker, color=colour, markersize=size, alpha=0.7, markeredgewidth=0,
                    label=shortened(name), zorder=2 if name in names else 1,
                )  # fmt: skip
        axes.set(xlabel=f"first component, {shares[0]:.0%}", ylabel=f"second component, {shares[1]:.0%}")
        axes.set_aspect("equal", adjustable="datalim")
        axes.tick_params(labelbottom=False, labelleft=False, bottom=False)
        axes.spines[:].set_visible(True)
        if names:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2)
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a label in letters that the font lacks
            figure.savefig(buffer, format="png", dpi=MAP_DOTS)
    return Image.open(buffer).convert("RGB")
