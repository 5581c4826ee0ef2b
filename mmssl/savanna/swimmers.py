"""Fish, whales, the seal and the squid; they head to the right, in a box that is 1 high and 1.875 wide."""

import math
from collections.abc import Callable
from typing import NamedTuple

from mmssl.savanna.drawing import BLACK, WHITE, Canvas, Colour, Point, darker, lighter

TAIL = 1.40  # x from which on the body bends towards the tail
IVORY: Colour = (250, 240, 215)


class Fish(NamedTuple):
    """Measures of a fish in units of the box's height."""

    depth: float  # of the body
    fork: float  # half of the tail's height
    fin: tuple[Point, ...]  # on the back
    mark: str = "silver"  # of `MARKS`


FISH: dict[str, Fish] = {
    "shark": Fish(0.44, 0.36, ((0.78, 0.36), (0.80, 0.04), (1.16, 0.36)), "gills"),
    "tuna": Fish(0.50, 0.38, ((0.80, 0.32), (0.66, 0.08), (1.12, 0.30)), "finlets"),
    "salmon": Fish(0.46, 0.28, ((0.80, 0.32), (0.85, 0.14), (1.10, 0.32)), "speckles"),
    "herring": Fish(0.36, 0.30, ((0.80, 0.36), (0.85, 0.20), (1.05, 0.36))),
}


def bent(phase: float, reach: float) -> Callable[[Point], Point]:
    """The wave that runs through a swimming body, wider towards the tail."""

    def move(point: Point) -> Point:
        rear = max(0.0, 1 - point[0] / TAIL)
        return point[0], point[1] + reach * rear * math.sin(2 * math.pi * phase + 2.5 * point[0])

    return move


def gills(layer: Canvas, colour: Colour) -> None:
    """Of a shark."""
    for x in (1.20, 1.27, 1.34):
        layer.limb([(x, 0.40), (x - 0.05, 0.58)], [0.022, 0.022], darker(colour, 0.55))


def finlets(layer: Canvas, colour: Colour) -> None:
    """The yellow line of a tuna."""
    layer.limb([(0.30, 0.48), (0.90, 0.50), (1.35, 0.52)], [0.03, 0.05, 0.02], (244, 208, 70))


def speckles(layer: Canvas, colour: Colour) -> None:
    """Of a salmon."""
    for step in range(10):
        layer.dot((0.50 + step * 0.10, 0.40 + 0.06 * (step % 2)), 0.024, darker(colour, 0.55))


def silver(layer: Canvas, colour: Colour) -> None:
    """The shine of a herring."""
    layer.limb([(0.40, 0.50), (1.40, 0.50)], [0.03, 0.03], WHITE)


MARKS: dict[str, Callable[[Canvas, Colour], None]] = {
    "gills": gills, "finlets": finlets, "speckles": speckles, "silver": silver,
}  # fmt: skip


def fish(canvas: Canvas, name: str, colour: Colour, phase: float) -> None:
    """A fish with a dark back and a light belly."""
    look = FISH[name]
    canvas.move = bent(phase, 0.14)
    dark, half = darker(colour, 0.25), look.depth / 2
    canvas.fill([(0.42, 0.50), (0.06, 0.50 - look.fork), (0.20, 0.50), (0.06, 0.50 + look.fork * 0.85)], dark)
    canvas.fill(look.fin, dark)
    canvas.fill([(0.55, 0.56), (0.44, 0.76), (0.74, 0.60)], dark)
    points = [
        (0.22, 0.50), (0.60, 0.50 - half * 0.9), (1.10, 0.50 - half * 1.15), (1.60, 0.50 - half * 0.75),
        (1.86, 0.51), (1.60, 0.50 + half * 0.8), (1.10, 0.50 + half * 1.15), (0.60, 0.50 + half * 0.8),
    ]  # fmt: skip
    outline = canvas.blob(points, colour)

    def marks(layer: Canvas) -> None:
        layer.oval((1.10, 0.50 + half), (0.85, half * 0.75), lighter(colour, 0.8))
        layer.oval((1.05, 0.50 - half), (0.85, half * 0.45), darker(colour, 0.35))
        MARKS[look.mark](layer, colour)

    canvas.within(outline, marks)
    canvas.fill([(1.15, 0.60), (0.82, 0.92), (0.98, 0.60)], dark)
    canvas.limb([(1.58, 0.60), (1.72, 0.565)], [0.022, 0.016], darker(colour, 0.7))
    canvas.eye((1.52, 0.45), 0.06)


def whale(canvas: Canvas, colour: Colour, phase: float, fin: bool) -> list[Point]:
    """A heavy body with a fluke that beats up and down; its outline is returned."""
    canvas.move = bent(phase, 0.18)
    dark = darker(colour, 0.25)
    canvas.fill([(0.36, 0.52), (0.02, 0.30), (0.10, 0.50), (0.02, 0.66), (0.20, 0.62)], dark)
    if fin:
        canvas.blob([(0.82, 0.36), (0.80, 0.02), (0.86, 0.00), (1.12, 0.36)], dark)
    points = [
        (0.15, 0.50), (0.55, 0.34), (1.05, 0.22), (1.45, 0.30), (1.66, 0.50),
        (1.56, 0.70), (1.15, 0.80), (0.60, 0.66), (0.25, 0.58),
    ]  # fmt: skip
    return canvas.blob(points, colour)


def flipper(canvas: Canvas, colour: Colour, phase: float) -> None:
    """The front limb of a whale or a seal."""
    beat = 0.05 * math.sin(2 * math.pi * phase)
    points = [(1.22, 0.64), (1.00, 0.80), (0.84, 0.98 + beat), (0.98, 0.96 + beat), (1.30, 0.74)]
    canvas.blob(points, darker(colour, 0.3))


def orca(canvas: Canvas, colour: Colour, phase: float) -> None:
    """Black, with white eye patch, belly and saddle."""
    outline = whale(canvas, colour, phase, fin=True)

    def marks(layer: Canvas) -> None:
        layer.oval((1.25, 0.80), (0.55, 0.15), WHITE)
        layer.oval((0.62, 0.70), (0.20, 0.07), WHITE, -20)
        layer.oval((0.86, 0.30), (0.14, 0.05), (170, 176, 190))

    canvas.within(outline, marks)
    canvas.oval((1.36, 0.44), (0.11, 0.055), WHITE, -18)
    canvas.dot((1.46, 0.50), 0.030, WHITE)
    canvas.dot((1.465, 0.50), 0.020, BLACK)
    flipper(canvas, colour, phase)


def narwhal(canvas: Canvas, colour: Colour, phase: float) -> None:
    """Mottled, with a long tusk."""
    canvas.limb([(1.50, 0.46), (1.86, 0.30)], [0.06, 0.018], IVORY)
    outline = whale(canvas, colour, phase, fin=False)

    def marks(layer: Canvas) -> None:
        layer.oval((1.05, 0.82), (0.60, 0.18), lighter(colour, 0.75))
        for step in range(14):
            centre = (0.40 + step * 0.078, 0.34 + 0.09 * ((step * 2) % 3))
            layer.oval(centre, (0.035, 0.022), darker(colour, 0.55))

    canvas.within(outline, marks)
    canvas.limb([(1.50, 0.62), (1.60, 0.58)], [0.018, 0.018], darker(colour, 0.7))
    canvas.eye((1.43, 0.50), 0.05)
    flipper(canvas, colour, phase)


def seal(canvas: Canvas, colour: Colour, phase: float) -> None:
    """Round, with a raised head, big eyes and whiskers."""
    canvas.move = bent(phase, 0.12)
    canvas.blob([(0.34, 0.72), (0.02, 0.52), (0.06, 0.74), (0.02, 0.94), (0.30, 0.80)], darker(colour, 0.3))
    points = [
        (0.18, 0.74), (0.60, 0.50), (1.10, 0.42), (1.36, 0.16), (1.66, 0.14), (1.82, 0.36),
        (1.66, 0.56), (1.44, 0.80), (1.00, 0.92), (0.50, 0.90),
    ]  # fmt: skip
    outline = canvas.blob(points, colour)

    def marks(layer: Canvas) -> None:
        layer.oval((1.00, 0.98), (0.75, 0.22), lighter(colour, 0.5))
        for step in range(7):
            layer.dot((0.50 + step * 0.12, 0.58 + 0.08 * (step % 2)), 0.03, darker(colour, 0.4))

    canvas.within(outline, marks)
    canvas.oval((1.68, 0.40), (0.11, 0.08), lighter(colour, 0.65))
    canvas.dot((1.76, 0.34), 0.035, BLACK)
    for rise in (0.34, 0.42, 0.50):
        canvas.limb([(1.68, 0.41), (1.54, rise)], [0.014, 0.010], WHITE)
    canvas.eye((1.56, 0.28), 0.065)
    flipper(canvas, colour, phase)


def squid(canvas: Canvas, colour: Colour, phase: float) -> None:
    """The mantle ahead, the arms behind; it swims by squeezing itself."""
    squeeze = 0.05 * math.sin(2 * math.pi * phase)
    for arm in range(6):
        spread = (arm - 2.5) * 0.10
        wave = 0.07 * math.sin(2 * math.pi * phase + arm)
        points = [(0.90, 0.48 + spread * 0.4), (0.50, 0.48 + spread + wave), (0.08, 0.48 + spread * 1.7 - wave)]
        canvas.limb(points, [0.11, 0.09, 0.035], darker(colour, 0.12 + 0.1 * (arm % 2)))
    canvas.blob([(1.30, 0.40), (1.50, 0.06), (1.86, 0.45), (1.50, 0.86), (1.30, 0.54)], darker(colour, 0.2))
    half = 0.25 - squeeze
    points = [(0.72, 0.32), (1.10, 0.46 - half), (1.55, 0.46 - half * 0.7), (1.86, 0.46), (1.55, 0.46 + half * 0.7),
              (1.10, 0.46 + half), (0.72, 0.62)]  # fmt: skip
    outline = canvas.blob(points, colour)

    def marks(layer: Canvas) -> None:
        layer.oval((1.25, 0.30), (0.45, 0.07), lighter(colour, 0.45))
        for step in range(6):
            layer.dot((1.10 + step * 0.11, 0.50 + 0.08 * (step % 2)), 0.03, darker(colour, 0.3))

    canvas.within(outline, marks)
    canvas.eye((0.90, 0.46), 0.11)
