"""A canvas to draw animals and landscapes on with a few soft shapes, in units of its height."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Number = int | float
Point = tuple[Number, Number]  # x to the right and y down, the canvas is 1 high

BLACK, WHITE = (18, 16, 22), (255, 255, 255)


def blend(colour: Colour, other: Colour, ratio: Number) -> Colour:
    """A colour that is `other` by the given ratio."""
    red, green, blue = (round(one + (two - one) * ratio) for one, two in zip(colour, other))
    return red, green, blue


def darker(colour: Colour, ratio: Number = 0.25) -> Colour:
    """The colour in the shade."""
    return blend(colour, (20, 14, 34), ratio)


def lighter(colour: Colour, ratio: Number = 0.4) -> Colour:
    """The colour in the light."""
    return blend(colour, (255, 250, 238), ratio)


def rounded(points: Sequence[Point], turns: int = 3) -> list[Point]:
    """A closed curve by cutting the corners of a polygon (Chaikin 1974)."""
    found = np.array(points, dtype=np.float64)
    for _ in range(turns):
        after = np.roll(found, -1, axis=0)
        found = np.stack([0.75 * found + 0.25 * after, 0.25 * found + 0.75 * after], axis=1).reshape(-1, 2)
    return [(float(x), float(y)) for x, y in found]


class Canvas:
    """A picture in the making, transparent at first."""

    def __init__(self, width: Number, pixels: int, move: Callable[[Point], Point] | None = None) -> None:
        self.width, self.pixels = width, pixels
        self.move = move or (lambda point: point)  # bends all that is drawn
        self.image = Image.new("RGBA", (round(width * pixels), pixels), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)

    def fill(self, points: Sequence[Point], colour: Colour, opacity: Number = 1.0) -> None:
        """A polygon; it replaces what is below it, unless it is not opaque."""
        moved = [self.move(point) for point in points]
        pixels = [(x * self.pixels, y * self.pixels) for x, y in moved]
        if opacity == 1:
            self.draw.polygon(pixels, fill=(*colour, 255))
        else:
            layer = Image.new("RGBA", self.image.size, (*colour, 0))
            ImageDraw.Draw(layer).polygon(pixels, fill=(*colour, round(255 * opacity)))
            self.lay(layer)

    def lay(self, layer: Image.Image) -> None:
        """Put another picture on top."""
        self.image.alpha_composite(layer)

    def blob(self, points: Sequence[Point], colour: Colour, opacity: Number = 1.0) -> list[Point]:
        """A shape without corners; its outline is returned."""
        outline = rounded(points)
        self.fill(outline, colour, opacity)
        return outline

    def oval(
        self, centre: Point, radii: Point, colour: Colour, degrees: Number = 0.0, opacity: Number = 1.0
    ) -> list[Point]:
        """An ellipse, turned clockwise; its outline is returned."""
        turn = math.radians(degrees)
        points = []
        for step in range(32):
            x = radii[0] * math.cos(step * math.pi / 16)
            y = radii[1] * math.sin(step * math.pi / 16)
            turned = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
            points.append((centre[0] + turned[0], centre[1] + turned[1]))
        self.fill(points, colour, opacity)
        return points

    def limb(self, points: Sequence[Point], widths: Sequence[Number], colour: Colour) -> None:
        """A line through the points that is as wide as given at each, with round ends."""
        for (start, end), (first, last) in zip(pairwise(points), pairwise(widths)):
            steps = max(2, round(math.dist(start, end) / max(min(first, last), 0.01) * 4))
            for step in range(steps + 1):
                share = step / steps
                centre = start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
                self.dot(centre, (first + (last - first) * share) / 2, colour)

    def dot(self, centre: Point, radius: Number, colour: Colour) -> None:
        """A circle."""
        x, y = (value * self.pixels for value in self.move(centre))
        size = max(radius * self.pixels, 0.5)
        self.draw.ellipse((x - size, y - size, x + size, y + size), fill=(*colour, 255))

    def within(self, outline: Sequence[Point], marks: Callable[["Canvas"], object]) -> None:
        """Draw marks that are seen only inside an outline."""
        layer, mask = Canvas(self.width, self.pixels, self.move), Canvas(self.width, self.pixels, self.move)
        marks(layer)
        mask.fill(outline, WHITE)
        seen = ImageChops.multiply(layer.image.getchannel("A"), mask.image.getchannel("A"))
        layer.image.putalpha(seen)
        self.lay(layer.image)

    def eye(self, centre: Point, radius: Number, iris: Colour = WHITE) -> None:
        """An eye that looks ahead."""
        self.dot(centre, radius, iris)
        self.dot((centre[0] + radius * 0.25, centre[1]), radius * 0.65, BLACK)

    def outlined(self, thickness: Number, colour: Colour) -> Image.Image:
        """The picture with a line around all that is drawn."""
        size = max(3, round(2 * thickness * self.pixels) | 1)
        line = Image.new("RGBA", self.image.size, (*colour, 0))
        line.putalpha(self.image.getchannel("A").filter(ImageFilter.MaxFilter(size)))
        return Image.alpha_composite(line, self.image)


def soft(image: Image.Image, radius: Number, colour: Colour) -> Image.Image:
    """The shape of a picture out of focus, in one colour."""
    found = Image.new("RGBA", image.size, (*colour, 0))
    found.putalpha(image.getchannel("A").filter(ImageFilter.GaussianBlur(radius)))
    return found
