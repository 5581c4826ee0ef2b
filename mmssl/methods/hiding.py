"""The shapes of what is hidden of a picture, and the frames that are hidden of a clip."""

from typing import Annotated, Literal

from pydantic import Field

from mmssl.corruption import Corruption
from mmssl.drop import drop_blocks, drop_right, drop_squares
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut

Mask = Literal["random", "blocks", "right"]  # single patches, rectangles, or the columns at the right
Predicts = Literal["future", "past", "between"]  # of a clip: what follows, precedes or lies between what is seen
Ratio = Annotated[float, Field(gt=0, lt=1)]


def hiding(mask: Mask, hidden_ratio: float, block_ratio: float = 0.2, unit: int = 1) -> Corruption:
    """Hides round(hidden_ratio * patches): exactly so many of each picture; block_ratio is a rectangle's share, and a
    random mask consists of squares of `unit` x `unit` patches.
    """
    shapes = {
        "random": drop_squares(hidden_ratio, unit), "blocks": drop_blocks(hidden_ratio, block_ratio),
        "right": drop_right(hidden_ratio),
    }  # fmt: skip
    return shapes[mask]


def seen_times(predicts: Predicts, times: int, seen: int) -> list[int]:
    """The times that are seen of a clip of so many: the first, the last, or as many at its beginning as at its end."""
    first = {"future": seen, "past": 0, "between": seen // 2}[predicts]
    return [time for time in range(times) if time < first or time >= times - seen + first]


def seen_patches(predicts: Predicts, seen_frames: int, cut: Cut) -> list[int]:
    """The times of the patches in which whole frames are seen; ConfigError where that splits a patch."""
    frames, part = cut.size[0], cut.patch[0]
    step = 2 * part if predicts == "between" else part
    if seen_frames % step or not 0 < seen_frames < frames:
        raise ConfigError(
            f"method.seen_frames {seen_frames}: a clip has {frames} frames in patches of {part}; "
            f"expected a multiple of {step} below {frames}"
        )
    return seen_times(predicts, frames // part, seen_frames // part)
