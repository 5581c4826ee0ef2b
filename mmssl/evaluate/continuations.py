"""What is shown of a clip and what continues it: the frames that a method hides, and a user's files in their place."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.errors import DataError
from mmssl.methods.hiding import seen_times
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.labelled_media import first_window, kind_of
from mmssl.modalities.media_cache import quiet
from mmssl.modalities.video import Clip, decode_video, probe_video
from mmssl.random import Draw

Frames = UInt8[np.ndarray, "L 3 size size"]


def hidden_frames(config: Config) -> slice:
    """Of a clip, those that the method hides whole; all where it shows no whole frame."""
    asked, frames = config.method.arguments(), config.video.frames
    seen = seen_times(asked.get("predicts", "future"), frames, asked.get("seen_frames", 0))
    hidden = [time for time in range(frames) if time not in seen]
    return slice(hidden[0], hidden[-1] + 1)


class Side(NamedTuple):
    """What is read of a file: so many frames, of the last seconds of it or of the first."""

    frames: int
    seconds: float
    is_last: bool
    of_what: str

    def __str__(self) -> str:
        return f"the {'last' if self.is_last else 'first'} {self.seconds:g} s"


def sides(config: Config) -> tuple[Side, Side] | None:
    """What is read of x and of each y, where x ends as y begins or the other way round; None where a method hides
    anything else, so that x and y are whole clips.
    """
    hidden, frames, seconds = hidden_frames(config), config.video.frames, config.data.seconds
    count = hidden.stop - hidden.start
    if count == frames or (hidden.start > 0 and hidden.stop < frames):
        return None
    is_future = hidden.start > 0
    return (
        Side(frames - count, (frames - count) * seconds / frames, is_future, "which the model is shown"),
        Side(count, count * seconds / frames, not is_future, "which it has to predict"),
    )


def clips_of(paths: list[str], config: Config) -> tuple[Batch, frozenset[int]]:
    """The first clip of each file, and the files of which nobody knows what is hidden.

    These are the files too short for a whole clip where whole frames are predicted: only the end that is shown is read,
    and its last frame stands for what is hidden.
    """
    ends, clips, unknown = sides(config), [], []
    for row, path in enumerate(paths):
        if ends is None or is_as_long(path, config.data.seconds, config.video.frames):
            clips.append(first_window(path, config, ("video",))["video"])
            continue
        given, asked = ends
        shown = part_of(path, config, given)
        stands = np.repeat(shown[-1:] if given.is_last else shown[:1], asked.frames, axis=0)
        clips.append(np.concatenate([shown, stands] if given.is_last else [stands, shown]))
        unknown.append(row)
    return batch_of_clips(clips, config), frozenset(unknown)


def continued(x: str, candidates: list[str], config: Config, given: Side, asked: Side) -> tuple[Batch, Batch]:
    """(x, its hidden frames those of the first candidate; x with each candidate in their place), not yet prepared."""
    shown = part_of(x, config, given)
    others = [part_of(path, config, asked) for path in candidates]
    clips = [np.concatenate([shown, other] if given.is_last else [other, shown]) for other in others]
    return batch_of_clips(clips[:1], config), batch_of_clips(clips, config)


def batch_of_clips(clips: list[Frames], config: Config) -> Batch:
    """Clips with the draws of samples 0, 1, ..."""
    index = torch.arange(len(clips))
    views: dict[str, list[Tensor]] = {"video": [torch.from_numpy(np.stack(clips))]}
    return Batch(views, Draw(config.seed, torch.zeros_like(index), index))


def part_of(path: str, config: Config, side: Side) -> Frames:
    """One end of a file; DataError where it cannot be read or is too short."""
    if not is_as_long(path, side.seconds, side.frames):
        raise DataError(
            f"{path} lasts {probed(path).video_seconds:.3g} s; expected {side.seconds:g} s or more, "
            f"{side.frames} frame(s) {side.of_what}"
        )
    clip = probed(path)
    start = clip.video_start_seconds + max(0.0, clip.video_seconds - side.seconds) * side.is_last
    try:
        with quiet():
            return decode_video(Path(path), config.video.size, side.frames, start, side.seconds)
    except BadSample as error:
        raise DataError(f"{path} cannot be used: {error}; expected a readable video") from error


def is_as_long(path: str, seconds: float, frames: int) -> bool:
    """Whether a file holds so many frames of so many seconds: the last one is shown in the middle of its time, so half
    of that may be missing.
    """
    return probed(path).video_seconds >= seconds * (1 - 0.5 / frames)


def probed(path: str) -> Clip:
    """What a user's file says of its streams; DataError where it is no video that can be read."""
    kind_of(path, ("video",))
    try:
        return probe_video(Path(path))
    except BadSample as error:
        raise DataError(f"{path} cannot be used: {error}; expected a readable video") from error
