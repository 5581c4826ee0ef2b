"""Draws what is seen, what is hidden and what a model predicts: pictures, spectrograms with their sounds, films."""

from collections.abc import Callable
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from mmssl.augment import to_pixels
from mmssl.batch import Batch
from mmssl.evaluate.completion import Completed
from mmssl.inputs import Inputs
from mmssl.report.films import Panel, film, save_gif, save_mp4
from mmssl.report.pictures import LEAST, save_png, save_wav, sheet, shrunk, spectrogram_picture

GREY = 0.0  # of what is not shown, in the encoder's units
DECODED = (
    "The model predicts embeddings: these pixels were drawn by a decoder (a linear map) fitted afterwards to frozen "
    "features; “decoded: the truth” is what it draws of the true embeddings, the best that a prediction can look like."
)
FRAMED = (
    "Black frame: what the model was shown. Blue dots: what really came, hidden from it. Orange dashes: what it says."
)
COLUMNS = 16  # frames of a clip in a sheet, at most
IN_SHEET, IN_GIF, IN_FILM = 96, 128, 256  # pixels that the shorter side of a clip is shown with, at most


def draw_completions(
    found: dict[str, Completed], batch: Batch, inputs: Inputs, folder: Path, names: list[str]
) -> list[Path]:
    """One file (or some) for each modality and sample; none where a part of it were seen, but the sample has nothing of
    all that is completed. The paths that were written.
    """
    if not found:
        return []
    written, has_some = [], torch.stack([batch.present(name) for name in found]).any(0).cpu()
    for modality, one in found.items():
        is_drawn = has_some | one.is_hidden.flatten(1).all(1).cpu()
        for row, name in enumerate(names):
            if is_drawn[row]:
                written += DRAWERS[modality](one, row, inputs, folder / f"{modality}-{name}")
    return written


def panels(one: Completed, row: int) -> list[Panel]:
    """A picture or a clip: what is seen of it, what is hidden, what a decoder could draw at best, and the predictions;
    of several their mean, and where they differ.
    """
    samples, word = [sample[row] for sample in one.samples], "decoded" if one.is_decoded else "predicted"
    views = [("seen", one.seen[row], "seen")]
    if is_known := row not in one.unknown:
        views.append(("hidden: the truth", torch.where(one.is_hidden[row], one.original[row], GREY), "hidden"))
    if one.limit is not None and is_known:
        views.append((f"{word}: the truth", one.limit[row], "hidden"))
    views += [(title, sample, "predicted") for title, sample in zip(numbered(len(samples), word), samples, strict=True)]
    if len(samples) > 1:
        views.append((f"{word}: mean", torch.stack(samples).mean(0), "predicted"))
    found = [Panel(title, to_pixels(view).cpu(), kind) for title, view, kind in views]
    if len(samples) > 1:
        found.append(Panel(f"{word}: spread", spread(samples), "predicted"))
    return found


def note_of(one: Completed, row: int, *sentences: str) -> str:
    """What is to be known of the predictions of a sample, beside some sentences."""
    white = largest_deviation([sample[row] for sample in one.samples])
    several = f"Spread: standard deviation of the predictions at a pixel; white is {white:.0f} of 255."
    return " ".join([*sentences, *([several] if len(one.samples) > 1 else []), *([DECODED] if one.is_decoded else [])])


def draw_picture(one: Completed, row: int, inputs: Inputs, path: Path) -> list[Path]:
    """A sheet: seen, hidden, predicted."""
    shown, note = panels(one, row), note_of(one, row)
    drawn = sheet([[panel.clip for panel in shown]], [panel.title for panel in shown], note=note)
    save_png(drawn, target := path.with_suffix(".png"), DECODED if one.is_decoded else "")
    return [target]


def draw_sound(one: Completed, row: int, inputs: Inputs, path: Path) -> list[Path]:
    """A sheet of spectrograms, the sound as it was heard through them where it is known, and each prediction as a
    sound.
    """
    hidden, rate, is_known = one.is_hidden[row], inputs.config.audio.rate_hz, row not in one.unknown
    titles = ["seen", *numbered(len(one.samples), "decoded" if one.is_decoded else "predicted")]
    views = [spectrogram_picture(one.original[row], hidden, zoom=2)]
    views += [spectrogram_picture(view[row], zoom=2) for view in one.samples]
    sounds = dict(zip(numbered(len(one.samples)), one.samples, strict=True))
    if is_known:
        titles.append("hidden: the truth")
        views.append(spectrogram_picture(one.original[row], zoom=2))
        sounds["truth"] = one.original
    note = DECODED.replace("pixels", "sounds") if one.is_decoded else ""
    save_png(sheet([views], titles, note=note), target := path.with_suffix(".png"), note)
    written = [target]
    for suffix, view in sounds.items():
        sound = inputs.log_mel.to_waveform(rearrange(view[row : row + 1], "1 ... l f -> (...) l f"))
        save_wav(sound, target := path.with_name(f"{path.name}-{suffix.replace(' ', '-')}.wav"), rate)
        written.append(target)
    return written


def draw_film(one: Completed, row: int, inputs: Inputs, path: Path) -> list[Path]:
    """The true clip beside the predicted ones as GIF and MP4, at the speed of the clip; and a sheet of its frames."""
    shown, count, seconds = panels(one, row), len(one.original[row]), inputs.config.data.seconds
    hidden = one.is_hidden[row].flatten(1)
    seen = (~hidden.any(1)).tolist()
    save_png(frames_sheet(shown, seen, seconds, note_of(one, row)), png := path.with_suffix(".png"))

    # where whole frames are hidden and what they hold is known, the truth itself shows what is seen
    is_known, is_in_part = row not in one.unknown, bool((hidden.any(1) & ~hidden.all(1)).any())
    moving = [panel for panel in shown if not panel.title.endswith(("mean", "hidden: the truth"))]
    if is_known:
        truth = Panel("truth", to_pixels(one.original[row]).cpu(), "hidden")
        moving = [*moving[: int(is_in_part)], truth, *moving[1:]]
    elif not is_in_part:
        moving[0] = moving[0]._replace(kind="hidden")
    gif, mp4 = path.with_suffix(".gif"), path.with_suffix(".mp4")
    for target, save, most in ((gif, save_gif, IN_GIF), (mp4, save_mp4, IN_FILM)):
        sized, least = bounded(moving, most)
        save(film(sized, seen, note_of(one, row, FRAMED), least), target, count / seconds)
    return [gif, mp4, png]


def bounded(shown: list[Panel], most: int) -> tuple[list[Panel], int]:
    """(clips of which a large one is shrunk by a whole number, the pixels that their shorter side shall have)."""
    factor = -(-min(shown[0].clip.shape[-2:]) // most)
    if factor == 1:
        return shown, LEAST
    return [panel._replace(clip=shrunk(panel.clip, factor)) for panel in shown], 1


def frames_sheet(shown: list[Panel], seen: list[bool], seconds: float, note: str) -> Image.Image:
    """A row for each panel, a column for each frame, or for COLUMNS of them at even distances."""
    count = len(shown[0].clip)
    chosen = torch.linspace(0, count - 1, min(COLUMNS, count)).round().long().tolist()
    titles = [f"{(frame + 0.5) * seconds / count:.2f} s{', seen' if seen[frame] else ''}" for frame in chosen]
    sized, least = bounded(shown, IN_SHEET)
    rows = [[panel.clip[frame] for frame in chosen] for panel in sized]
    return sheet(rows, titles, least, names=[panel.title for panel in shown], note=note)


def deviation(samples: list[Tensor]) -> Tensor:
    """The standard deviation of the predictions at each pixel, the mean over its colours, in pixels from 0 to 255."""
    return torch.stack([to_pixels(sample).float() for sample in samples]).std(0).mean(-3, keepdim=True)


def largest_deviation(samples: list[Tensor]) -> float:
    """The largest of them; 0 of a single prediction."""
    return float(deviation(samples).max()) if len(samples) > 1 else 0.0


def spread(samples: list[Tensor]) -> Tensor:
    """The deviation as a picture, the largest as white."""
    found = deviation(samples)
    scaled = found / found.max().clamp(min=1e-6) * 255
    return scaled.expand(*scaled.shape[:-3], 3, *scaled.shape[-2:]).round().to(torch.uint8).cpu()


def numbered(count: int, word: str = "predicted") -> list[str]:
    """What the predictions are called."""
    return [word] if count == 1 else [f"{word} {number + 1}" for number in range(count)]


DRAWERS: dict[str, Callable[[Completed, int, Inputs, Path], list[Path]]] = {
    "image": draw_picture, "audio": draw_sound, "video": draw_film,
}  # fmt: skip
