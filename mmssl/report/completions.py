"""Draws what is seen, what is hidden and what a model predicts: pictures, spectrograms with their sounds, films."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mmssl.augment import to_pixels
from mmssl.evaluate.completion import Completed
from mmssl.inputs import Inputs
from mmssl.report.pictures import film, save_gif, save_mp4, save_png, save_wav, sheet, spectrogram_picture

GREY = 0.0  # of what is not shown, in the encoder's units
DECODED = "The model predicts embeddings: these pixels were read off them afterwards by a linear map."
MAX_FRAMES_PER_SECOND = 12.0  # of a film: a clip of few frames is shown slowly enough to be followed


def draw_completions(found: dict[str, Completed], inputs: Inputs, folder: Path, names: list[str]) -> list[Path]:
    """One file (or two) for each modality and sample; the paths that were written."""
    written = []
    for modality, one in found.items():
        for row, name in enumerate(names):
            written += DRAWERS[modality](one, row, inputs, folder / f"{modality}-{name}")
    return written


def draw_picture(one: Completed, row: int, inputs: Inputs, path: Path) -> list[Path]:
    """A sheet: seen, hidden, predicted; of several predictions their mean, and where they differ."""
    samples, word = [sample[row] for sample in one.samples], "decoded" if one.is_decoded else "predicted"
    views = [one.seen[row], torch.where(one.is_hidden[row], one.original[row], GREY), *samples]
    titles = ["seen", "hidden: the truth", *numbered(len(samples), word)]
    if len(samples) > 1:
        views.append(torch.stack(samples).mean(0))
        titles += [f"{word}: mean", f"{word}: spread"]
    pictures = [to_pixels(view).cpu() for view in views]
    if len(samples) > 1:
        pictures.append(spread([sample[None] for sample in samples])[0])
    save_png(sheet([pictures], titles), target := path.with_suffix(".png"), DECODED if one.is_decoded else "")
    return [target]


def draw_sound(one: Completed, row: int, inputs: Inputs, path: Path) -> list[Path]:
    """A sheet of spectrograms, the sound as it was heard through them, and the prediction as a sound."""
    hidden, rate = one.is_hidden[row], inputs.config.audio.rate_hz
    views = [spectrogram_picture(one.original[row], hidden, zoom=2)]
    views += [spectrogram_picture(view[row], zoom=2) for view in (one.samples[0], one.original)]
    save_png(sheet([views], ["seen", "predicted", "hidden: the truth"]), target := path.with_suffix(".png"))
    written = [target]
    for suffix, view in (("predicted", one.samples[0]), ("truth", one.original)):
        sound = inputs.log_mel.to_waveform(view[row : row + 1])[0]
        save_wav(sound, target := path.with_name(f"{path.name}-{suffix}.wav"), rate)
        written.append(target)
    return written


def draw_film(one: Completed, row: int, inputs: Inputs, path: Path) -> list[Path]:
    """The true clip beside the predicted ones, as GIF and MP4, and what the predictions disagree about."""
    frames_hidden = one.is_hidden[row].flatten(1).all(1)
    seen = int((~frames_hidden).sum()) if bool(frames_hidden.any()) else 0
    clips = [one.original[row], *(sample[row] for sample in one.samples)]
    titles = ["truth", *numbered(len(one.samples))]
    pixels = [to_pixels(clip).cpu() for clip in clips]
    if len(one.samples) > 1:
        pixels.append(spread([sample[row] for sample in one.samples]))
        titles.append("spread")
    rate = min(MAX_FRAMES_PER_SECOND, len(pixels[0]) / inputs.config.data.seconds)
    frames = film(pixels, seen, titles, num_true=1)
    save_gif(frames, gif := path.with_suffix(".gif"), rate)
    save_mp4(frames, mp4 := path.with_suffix(".mp4"), rate)
    return [gif, mp4]


def spread(samples: list[Tensor]) -> Tensor:
    """The standard deviation of the predictions at each pixel, the largest as white."""
    deviation = torch.stack(samples).float().std(0).mean(1, keepdim=True)
    scaled = deviation / deviation.max().clamp(min=1e-6) * 255
    return scaled.expand(-1, 3, -1, -1).round().to(torch.uint8).cpu()


def numbered(count: int, word: str = "predicted") -> list[str]:
    """What the predictions are called."""
    return [word] if count == 1 else [f"{word} {number + 1}" for number in range(count)]


DRAWERS: dict[str, Callable[[Completed, int, Inputs, Path], list[Path]]] = {
    "image": draw_picture, "audio": draw_sound, "video": draw_film,
}  # fmt: skip
