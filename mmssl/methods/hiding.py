"""The shapes of what is hidden of a picture."""

from typing import Annotated, Literal

from pydantic import Field

from mmssl.corruption import Corruption
from mmssl.drop import drop_blocks, drop_right, drop_squares

Mask = Literal["random", "blocks", "right"]  # single patches, rectangles, or the columns at the right
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
