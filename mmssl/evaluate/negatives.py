"""Kinds of wrong answers: what a y is replaced by, so that (x, y) is no pair."""

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from mmssl.augment import View
from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.evaluate.heldout import batch_of
from mmssl.inputs import Inputs
from mmssl.modalities.media_data import Reader

GRID = 4  # a side of the pieces in which a picture is shuffled
Negative = Callable[[Batch], Batch]  # where there is none for a sample, it lacks the modality
Negatives = dict[str, tuple[str, Negative]]  # kind -> the modality that it changes, and how


def of_frames(hidden: slice, change: Callable[[Batch, Float[Tensor, "B L C H W"]], Tensor]) -> Negative:
    """The same clip with other frames where whole ones are hidden: `change` makes them of the whole clip."""

    def negative(batch: Batch) -> Batch:
        video = batch.views["video"][0].clone()
        video[:, hidden] = change(batch, batch.views["video"][0])
        return batch._replace(views={**batch.views, "video": [video]})

    return negative


def reversed_time(hidden: slice) -> Negative:
    """The same clip with the hidden frames in reverse order."""
    return of_frames(hidden, lambda batch, clip: clip[:, hidden].flip(1))


def frames_shuffled(hidden: slice) -> Negative:
    """The same clip with the hidden frames in an order of each sample's own, which is never the true one."""

    def shuffled(batch: Batch, clip: Float[Tensor, "B L C H W"]) -> Tensor:
        frames = clip[:, hidden]
        order = batch.draw.uniform("frames_shuffled", frames.shape[1]).argsort(1)
        is_true = (order == torch.arange(frames.shape[1], device=order.device)).all(1, keepdim=True)
        order = torch.where(is_true, order.roll(1, 1), order)
        return frames.take_along_dim(order[:, :, None, None, None], 1)

    return of_frames(hidden, shuffled)


def time_shifted(hidden: slice) -> Negative:
    """The same clip from another time: moved by as many frames as are hidden, by half of all at most, so that what was
    just seen comes again; what leaves at the end comes in at the beginning.
    """

    def shifted(batch: Batch, clip: Float[Tensor, "B L C H W"]) -> Tensor:
        shift = min(clip[:, hidden].shape[1], clip.shape[1] // 2)
        return clip.roll(shift, 1)[:, hidden]

    return of_frames(hidden, shifted)


def elsewhere(
    reader: Reader, inputs: Inputs, config: Config, wanted: tuple[View, ...], device: torch.device
) -> Negative | None:
    """Another window of the same file; None where no file has two."""
    others = neighbours(reader.films())
    if (others < 0).all():
        return None

    def negative(batch: Batch) -> Batch:
        own = batch.draw.index.cpu().numpy()
        there = torch.from_numpy(others[own] >= 0).to(device)
        read = batch_of(reader, config.seed, np.where(others[own] >= 0, others[own], own), device)
        answers = inputs(read, wanted=wanted)
        present = {f"{name}.present": [answers.present(name) & there] for name in inputs.modalities}
        return answers._replace(views=answers.views | present, draw=batch.draw)

    return negative


def neighbours(paths: list[str]) -> Int[np.ndarray, " N"]:
    """For each sample the next one of the same file, for the last one the first; -1 where it is alone or of none."""
    members: dict[str, list[int]] = {}
    for number, path in enumerate(paths):
        if path:
            members.setdefault(path, []).append(number)
    found = np.full(len(paths), -1)
    for numbers in members.values():
        if len(numbers) > 1:
            found[numbers] = numbers[1:] + numbers[:1]
    return found


def shifted_sound(batch: Batch) -> Batch:
    """The same clip with its sound moved by half of the window; what leaves at the end comes in at the beginning."""
    sound = batch.views["audio"][0]
    return batch._replace(views={**batch.views, "audio": [sound.roll(sound.shape[-2] // 2, -2)]})


def patches_shuffled(batch: Batch) -> Batch:
    """The same picture, its 4 x 4 pieces in an order of each sample's own.

    What is left over at the right and at the bottom, where a side is no multiple of 4, stays.
    """
    picture = answer(batch)
    height, width = (side // GRID * GRID for side in picture.shape[-2:])
    cut = "b c (i h) (j w) -> b (i j) c h w"
    pieces = rearrange(picture[..., :height, :width], cut, i=GRID, j=GRID)
    order = batch.draw.uniform("patches_shuffled", GRID**2).argsort(1)
    pieces = pieces.gather(
        1, repeat(order, "b n -> b n c h w", c=pieces.shape[2], h=pieces.shape[3], w=pieces.shape[4])
    )
    shuffled = picture.clone()
    shuffled[..., :height, :width] = rearrange(pieces, "b (i j) c h w -> b c (i h) (j w)", i=GRID)
    return with_answer(batch, shuffled)


def noise(batch: Batch) -> Batch:
    """Gaussian noise with the mean and the deviation of each channel of the picture."""
    picture = answer(batch)
    drawn = batch.draw.normal("noise", *picture.shape[1:])
    deviation, mean = torch.std_mean(picture, (2, 3), correction=0, keepdim=True)
    return with_answer(batch, mean + deviation * drawn)


def shifted_video(batch: Batch) -> Batch:
    """The same for its frames."""
    video = batch.views["video"][0]
    return batch._replace(views={**batch.views, "video": [video.roll(video.shape[1] // 2, 1)]})


MOVED: dict[str, Negative] = {"audio": shifted_sound, "video": shifted_video}  # of the same sample, at another time


def answer(batch: Batch) -> Float[Tensor, "B C H W"]:
    """The picture that is y: the second view, or the only one."""
    return batch.views["image"][:2][-1]


def with_answer(batch: Batch, picture: Float[Tensor, "B C H W"]) -> Batch:
    """Another picture as y."""
    views = list(batch.views["image"])
    views[min(1, len(views) - 1)] = picture
    return batch._replace(views={**batch.views, "image": views})
