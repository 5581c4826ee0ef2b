"""Draw what the runs of scripts/video.py make of a held-out clip.

usage: python scripts/draw_video.py OUT [SOURCE] [--sample K]

docs/results/video_SOURCE.png has a row for each run OUT/ROW-SOURCE that predicts frames: the last frame that is seen,
the last frame of all futures (of the true one where the source knows no others), of 8 samples of the model (one where
it has one answer only), their mean, and where they differ. What is read off embeddings is called decoded. The clip is
by default the first held-out one with three futures or more. docs/results/video_curves.png has the loss of each run on
real clips, on those of training and on held-out ones.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from draw_uncertainty import CPU, SHOWN, row_of
from matplotlib.figure import Figure
from tables import RESULTS, in_order, logged
from torch import Tensor
from video_columns import REAL, SOURCES

from mmssl.augment import to_pixels
from mmssl.config import Config
from mmssl.evaluate.completion import Completed, completed, cut_of, predictive
from mmssl.evaluate.heldout import batch_of
from mmssl.evaluate.worlds import future, futures_of
from mmssl.report.figures import STYLES
from mmssl.report.pictures import save_png, sheet
from mmssl.runs import open_run, open_task

MODES = 3  # futures of the clip that is drawn, at least
PANEL_INCHES = (3.2, 2.6)


def last_frames(run: Path, index: int) -> Completed | None:
    """What a run makes of a held-out clip: the last seen frame, and the last one; None where nobody can look at it."""
    task, config, found = open_task(run)
    objective, inputs, data = task.TASK.restored(config, found)
    part = predictive(objective)
    cut = None if part is None else cut_of(part, "video")
    hide = None if cut is None else future(cut, config)
    if hide is None:
        return None
    batch = inputs(batch_of(data.heldout, config.seed, np.array([index]), CPU))
    decode = task.TASK.decoder(objective, inputs, config, data)
    one = completed(objective, batch, samples=SHOWN, decode=decode, hide=hide).get("video")
    # of a method with masks only what is decoded: pixels of its own may be shown with the truth's mean and deviation
    if one is None or not (one.is_decoded or "seen_frames" in config.method.arguments()):
        return None
    seen = int((~one.is_hidden[0].flatten(1).all(1)).sum())
    return one._replace(
        original=one.original[:, -1], seen=one.original[:, seen - 1], samples=[each[:, -1] for each in one.samples]
    )


def possible(index: int, config: Config) -> tuple[list[Tensor], list[str]]:
    """The last frames of all futures of a clip, and how likely each is."""
    found = futures_of(index, config, config.method.arguments().get("seen_frames") or config.video.frames // 2)
    if found is None:
        return [], []
    return [torch.from_numpy(video[-1]) for video in found.video], [f"{share:.0%}" for share in found.probability]


def draw(out: Path, source: str, index: int | None = None) -> Path | None:
    """The picture of all runs of a source below a folder; None where there are none."""
    names = in_order(path.parent.name for path in out.glob(f"*-{source}/evaluation.json"))
    if not names:
        return None
    config, _ = open_run(out / names[0])
    if index is None:
        numbers = (number for number in range(1000) if len(possible(number, config)[0]) >= MODES)
        index = next(numbers, 0)
    found = {name: one for name in names if (one := last_frames(out / name, index)) is not None}
    if not found:
        return None
    modes, titles = possible(index, config)
    if not modes:
        modes, titles = [to_pixels(next(iter(found.values())).original[0])], ["truth"]
    rows = [row_of(one, modes, name.removesuffix(f"-{source}")) for name, one in found.items()]
    titles = ["last seen", *(title if title == "truth" else f"possible: {title}" for title in titles)]
    titles += [*(f"sample {number + 1}" for number in range(SHOWN)), "mean", "spread"]
    path = RESULTS / f"video_{source}.png"
    save_png(sheet([pictures for pictures, _ in rows], titles, below=[words for _, words in rows]), path)
    return path


def draw_curves(out: Path) -> Path | None:
    """The losses of all runs on real clips below a folder, over the steps; None where there are none."""
    found = [(source, sorted(out.glob(f"*-{source}/metrics.jsonl"))) for source in REAL]
    rows = [(source, in_order(path.parent.name for path in paths)) for source, paths in found if paths]
    if not rows:
        return None
    columns = max(len(names) for _, names in rows)
    size = (columns * PANEL_INCHES[0], len(rows) * PANEL_INCHES[1] + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for axes in panels.flat:
        axes.set_visible(False)
    for (_, names), line in zip(rows, panels, strict=True):
        for name, axes in zip(names, line, strict=False):
            steps = logged(out / name)
            for key, label, style in zip(("loss", "heldout.loss"), ("training", "held out"), STYLES, strict=False):
                points = [(step["step"], step[key]) for step in steps if key in step]
                axes.plot(*zip(*points, strict=True), label=label, **{**style, "marker": ""})
            axes.set(title=name, xlabel="step", yscale="log", visible=True)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path := RESULTS / "video_curves.png", dpi=110, metadata={"Software": None})
    return path


def main() -> None:
    """Draw the runs of a folder."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("source", choices=SOURCES, nargs="?", default="digits")
    parser.add_argument("--sample", type=int)
    asked = parser.parse_args()
    print(draw(asked.out, asked.source, asked.sample))


if __name__ == "__main__":
    main()
