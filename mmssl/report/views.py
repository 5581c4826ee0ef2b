"""Draws what a model is given: samples as they are, their views as the objective wants them, what is left of them."""

from collections.abc import Iterable
from math import isqrt
from pathlib import Path

import torch
from einops import rearrange, repeat
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from mmssl.augment import to_pixels
from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut
from mmssl.objectives import Objective
from mmssl.report.pictures import LEAST, Picture, save_png, sheet, shrunk, spectrogram_picture
from mmssl.report.waveforms import waveform_picture

MOST = 256  # pixels that the shorter side of the largest view is shown with, at most
CAPTION = (
    "A sample in each row, augmented as in training: as it is; the views that the method makes of it, at one scale "
    "(pieces at their own); and, where the method hides something, what is left of the last of them."
)


def draw_inputs(
    objective: Objective, plain: Batch, batch: Batch, names: Iterable[str], folder: Path, prefix: str = ""
) -> list[Path]:
    """A sheet PREFIX-MODALITY.png of each named modality but text: `plain` samples beside their views in `batch`."""
    left = masked_views(objective, batch)
    written = []
    for name in names:
        if name == "text":
            continue
        views = list(batch.views[name])
        titles = [title(name, view, number) for number, view in enumerate(views, 1)]
        if not torch.equal(plain.views[name][0], views[0]):
            views, titles = [plain.views[name][0], *views], ["as it is", *titles]
        if name in left:
            views, titles = [*views, left[name]], [*titles, "what is seen of it"]
        rows = [scaled(name, [view[row] for view in views]) for row in range(len(views[0]))]
        save_png(sheet(rows, titles, least=1), target := folder / f"{prefix}{name}.png", CAPTION)
        written.append(target)
    return written


def title(name: str, view: Tensor, number: int) -> str:
    """What the number-th view of a modality is called."""
    return f"view {number}, pieces" if is_jigsaw(name, view[0]) else f"view {number}"


def is_jigsaw(name: str, view: Tensor) -> bool:
    """Whether this view of a sample is a row of pieces of a picture; a row of pictures is a clip."""
    return name == "image" and view.ndim == 4


def masked_views(objective: Objective, batch: Batch) -> dict[str, Tensor]:
    """Each modality with grey where its tokens are hidden."""
    found = {}
    for part in objective.each().values():
        try:
            tokens, seen, _ = part.corrupted(batch)
        except ConfigError:
            continue  # a joint embedding hides nothing
        cuts: dict[str, Cut] = part.encoder.cuts  # type: ignore[assignment]
        for name, place in seen.items():
            if isinstance(cut := cuts[name], Cut):
                kept = torch.zeros_like(tokens[name].value)
                kept.scatter_(1, place.place.position[..., None].expand_as(place.value), place.value)
                found[name] = cut.paste(kept)
    return found


def strip(name: str, view: Tensor) -> Picture:
    """A view of a sample as one picture: the frames of a clip side by side, the pieces of a jigsaw in a square."""
    if name == "audio":
        return waveform_picture(view) if view.ndim == 1 else spectrogram_picture(view)
    if is_jigsaw(name, view):
        return jigsaw(to_pixels(view).cpu())
    return to_pixels(rearrange(view, "l c h w -> c h (l w)") if view.ndim == 4 else view).cpu()


def jigsaw(pieces: UInt8[Tensor, "K 3 _H _W"]) -> Picture:
    """The pieces in the order that the model gets them, row by row, with white gaps of an eighth of a piece."""
    gap = max(1, pieces.shape[-1] // 8)
    framed = functional.pad(pieces, (0, gap, 0, gap), value=255)
    return rearrange(framed, "(r q) c h w -> c (r h) (q w)", r=isqrt(len(pieces)))[:, :-gap, :-gap]


def scaled(name: str, views: list[Tensor]) -> list[Picture]:
    """The views of a sample at one scale; a jigsaw at its own, because its pieces were resized."""
    wholes = iter(at_one_scale([strip(name, view) for view in views if not is_jigsaw(name, view)]))
    return [at_one_scale([strip(name, view)])[0] if is_jigsaw(name, view) else next(wholes) for view in views]


def at_one_scale(pictures: list[Picture]) -> list[Picture]:
    """All enlarged alike to see the largest at LEAST pixels a side, or shrunk alike to see it at MOST."""
    side = max(min(picture.shape[1:]) for picture in pictures)
    if side > MOST:
        return [shrunk(picture, -(-side // MOST)) for picture in pictures]
    factor = -(-LEAST // side)
    return [repeat(picture, "c h w -> c (h p) (w q)", p=factor, q=factor) for picture in pictures]
