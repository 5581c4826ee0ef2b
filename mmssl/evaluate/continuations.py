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
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.labelled_media import kind_of
from mmssl.modalities.media_cache import quiet
from mmssl.modalities.video import decode_video, probe_video
from mmssl.random import Draw

Frames = UInt8[np.ndarray, "L 3 size size"]


def hidden_frames(config: Config) -> slice:
    """Of a clip, those that the method hides whole; all where it shows no whole frame."""
    asked, frames = config.method.arguments(), config.video.frames
    seen = asked.get("seen_frames", 0)
    first = {"future": seen, "past": 0, "between": seen // 2}[asked.get("predicts", "future")]
    return slice(first, first + frames - seen)


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
    """One end of a file; DataError where it cannot be read or is too short. What is missing of the time of the last
    frame, half of its distance from the next, may be missing.
    """
    kind_of(path, ("video",))
    try:
        with quiet():
            clip = probe_video(Path(path))
            if clip.video_seconds < side.seconds * (1 - 0.5 / side.frames):
                raise DataError(
                    f"{path} lasts {clip.video_seconds:.3g} s; expected {side.seconds:g} s or more, "
                    f"{side.frames} frame(s) {side.of_what}"
                )
            start = clip.video_start_seconds + max(0.0, clip.video_seconds - side.seconds) * side.is_last
            return decode_video(Path(path), config.video.size, side.frames, start, side.seconds)
    except BadSample as error:
        raise DataError(f"{path} cannot be used: {error}; expected a readable video") from error
