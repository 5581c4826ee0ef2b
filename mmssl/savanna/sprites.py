"""Animals and sound marks as small pictures that are drawn once for each size, and laid on many pictures at once."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8, UInt16
from PIL import Image

from mmssl.savanna.animals import POSES, drawn
from mmssl.savanna.bodies import PLAN_OF, PLANS, extent
from mmssl.savanna.drawing import Canvas, Colour

MARK_SIZE = 0.15  # of a sound mark, as a part of the picture
MARK_COLOUR: Colour = (255, 240, 60)
SHADE: tuple[Colour, float] = ((16, 14, 34), 0.38)  # colour and opacity of a shadow
WATER: tuple[Colour, float] = ((40, 110, 176), 0.75)


class Sprites(NamedTuple):
    """One subject in all its poses, headings and positions between pixels."""

    paint: UInt16[np.ndarray, "P 3 h w"]  # colour times opacity, 0..255 * 255
    clear: UInt16[np.ndarray, "P 1 h w"]  # 255 - opacity
    steps: int  # positions between two pixels, in each direction


def prepared(images: list[Image.Image], size: int, factor: int, width: float, height: float) -> Sprites:
    """Make sprites of pictures that are `factor` times too large."""
    steps = 4 if size <= 48 else 2 if size <= 96 else 1
    high, wide = (math.ceil(length * size) + 1 for length in (height, width))
    found = []
    for image in images:
        faded = image.convert("RGBa")  # colours times opacity, so that averages are right
        for figure in (faded, faded.transpose(Image.Transpose.FLIP_LEFT_RIGHT)):
            for down in range(steps):
                for right in range(steps):
                    moved = Image.new("RGBa", (wide * factor, high * factor), (0, 0, 0, 0))
                    moved.paste(figure, (right * factor // steps, down * factor // steps))
                    found.append(np.asarray(moved.reduce(factor), dtype=np.uint16))
    values = rearrange(np.stack(found), "p h w c -> p c h w")
    return Sprites(values[:, :3] * np.uint16(255), np.uint16(255) - values[:, 3:], steps)


def scale(size: int) -> int:
    """How much larger than in the end things are drawn; a multiple of all `steps`."""
    return max(4, 4 * round(64 / size))


def shadow(animal: str, habitat: str) -> tuple[Colour, float] | None:
    """What lies below an animal: nothing in the water, a pool below a swimmer elsewhere."""
    if habitat == "ocean":
        return None
    return WATER if PLANS[PLAN_OF[animal]].is_swimmer else SHADE


def animal_sprites(animal: str, habitat: str, size: int, enlarged: float = 1.0, poses: int = POSES) -> Sprites:
    """An animal in its first poses for pictures of a size, so many times larger than it is."""
    return shaded_sprites(animal, shadow(animal, habitat), size, enlarged, poses)


@cache
def shaded_sprites(animal: str, shade: tuple[Colour, float] | None, size: int, enlarged: float, poses: int) -> Sprites:
    """An animal with what lies below it."""
    factor, (width, height) = scale(size), (enlarged * length for length in extent(animal))
    pixels = max(1, round(height * size * factor))
    images = [drawn(animal, pose, pixels, shade) for pose in range(poses)]
    return prepared(images, size, factor, width, height)


@cache
def mark_sprites(size: int) -> Sprites:
    """The sound mark: arcs that spread forward and up from a mouth in the lower left corner."""
    factor = scale(size)
    canvas = Canvas(1, max(1, round(MARK_SIZE * size * factor)))
    for radius in (0.40, 0.66, 0.92):
        turns = [math.radians(5 + 80 * step / 12) for step in range(13)]
        arc = [(radius * math.cos(turn), 1 - radius * math.sin(turn)) for turn in turns]
        canvas.limb(arc, [0.11] * len(arc), MARK_COLOUR)
    image = canvas.outlined(0.035, (120, 60, 20))
    return prepared([image], size, factor, MARK_SIZE, MARK_SIZE)


def lay(
    pictures: UInt8[np.ndarray, "M 3 S S"],
    rows: Int[np.ndarray, " K"],
    sprites: Sprites,
    corner: Float[np.ndarray, "K 2"],
    pose: Int[np.ndarray, " K"],
    is_mirrored: Bool[np.ndarray, " K"],
) -> None:
    """Lay a sprite on some of the pictures, its upper left corner at (x, y), which are parts of the picture."""
    size = pictures.shape[-1]
    high, wide = sprites.paint.shape[-2:]
    place = np.floor(corner * (size * sprites.steps) + 0.5).astype(np.int64)
    place = np.clip(place, 0, (size - np.array([wide, high])) * sprites.steps)
    (x, right), (y, down) = (np.divmod(place[:, axis], sprites.steps) for axis in range(2))
    which = ((pose * 2 + is_mirrored) * sprites.steps + down) * sprites.steps + right

    first = rearrange((rows * 3 * size + y) * size + x, "k -> k 1 1 1")
    window = np.arange(3)[:, None, None] * size * size + np.arange(high)[:, None] * size + np.arange(wide)
    pixels, flat = first + window, pictures.reshape(-1)
    flat[pixels] = (flat[pixels] * sprites.clear[which] + sprites.paint[which] + 127) // 255
