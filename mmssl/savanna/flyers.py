"""The owl, the canary and the spider; they head to the right, in a box that is 1 high."""

import math

from mmssl.savanna.drawing import BLACK, WHITE, Canvas, Colour, darker, lighter

ORANGE: Colour = (240, 150, 40)


def wing(canvas: Canvas, root: tuple[float, float], phase: float, colour: Colour, length: float) -> None:
    """A wing with three rows of feathers, which beats up and down."""
    turn = -1.15 * math.sin(2 * math.pi * phase) - 0.25
    for feather in range(4):
        angle = turn + 0.22 * feather
        tip = (root[0] - length * math.cos(angle) * (0.55 + 0.1 * feather), root[1] + length * math.sin(angle))
        shade = darker(colour, 0.10 + 0.13 * feather)
        canvas.limb([root, tip], [0.20, 0.07], shade)


def owl(canvas: Canvas, colour: Colour, phase: float) -> None:
    """Broad wings and a flat face with huge eyes."""
    wing(canvas, (0.62, 0.42), phase + 0.04, darker(colour, 0.35), 0.42)
    canvas.fill([(0.40, 0.50), (0.05, 0.48), (0.08, 0.66), (0.45, 0.64)], darker(colour, 0.3))
    outline = canvas.oval((0.62, 0.52), (0.34, 0.21), colour, -14)

    def marks(layer: Canvas) -> None:
        layer.oval((0.70, 0.64), (0.28, 0.14), lighter(colour, 0.6), -14)
        for step in range(9):
            layer.dot((0.45 + step * 0.05, 0.58 + 0.05 * (step % 2)), 0.018, darker(colour, 0.5))

    canvas.within(outline, marks)
    for x, tip in ((0.80, 0.76), (1.02, 1.06)):
        canvas.fill([(x - 0.07, 0.28), (tip, 0.10), (x + 0.07, 0.28)], darker(colour, 0.3))
    canvas.dot((0.91, 0.39), 0.21, colour)
    for x in (0.83, 1.01):
        canvas.dot((x, 0.39), 0.105, lighter(colour, 0.75))
        canvas.dot((x, 0.39), 0.075, (255, 196, 40))
        canvas.dot((x + 0.015, 0.39), 0.042, BLACK)
    canvas.fill([(0.88, 0.43), (0.96, 0.43), (0.94, 0.54)], ORANGE)
    wing(canvas, (0.60, 0.46), phase, colour, 0.46)


def canary(canvas: Canvas, colour: Colour, phase: float) -> None:
    """A small round bird."""
    wing(canvas, (0.62, 0.44), phase + 0.04, darker(colour, 0.3), 0.36)
    canvas.fill([(0.40, 0.52), (0.04, 0.42), (0.06, 0.62), (0.42, 0.66)], darker(colour, 0.25))
    outline = canvas.oval((0.60, 0.54), (0.33, 0.24), colour, -10)
    canvas.within(outline, lambda layer: layer.oval((0.66, 0.70), (0.28, 0.14), lighter(colour, 0.7)))
    canvas.fill([(1.02, 0.32), (1.20, 0.40), (1.02, 0.46)], ORANGE)
    canvas.dot((0.90, 0.38), 0.19, colour)
    canvas.dot((0.86, 0.46), 0.05, ORANGE)
    canvas.dot((0.96, 0.34), 0.055, BLACK)
    canvas.dot((0.975, 0.325), 0.020, WHITE)
    wing(canvas, (0.60, 0.48), phase, darker(colour, 0.1), 0.40)


def spider(canvas: Canvas, colour: Colour, phase: float) -> None:
    """Eight legs, each pair in turn, and many eyes."""
    for leg in range(8):
        side, place = (1, 0.0) if leg % 2 else (-1, 0.06)
        step = 0.07 * math.sin(2 * math.pi * phase + leg * 2.4)
        root = (0.52 + (leg // 2) * 0.11 + place, 0.55)
        spread = (leg // 2 - 1.5) * 0.24
        knee = (root[0] + spread * 0.7, 0.24 + 0.05 * side)
        foot = (root[0] + spread * 1.35 + step, 0.88 + 0.05 * side)
        canvas.limb([root, knee, foot], [0.06, 0.05, 0.035], colour if side > 0 else lighter(colour, 0.18))
    outline = canvas.oval((0.46, 0.48), (0.28, 0.25), colour, -12)

    def marks(layer: Canvas) -> None:
        layer.oval((0.40, 0.32), (0.14, 0.06), lighter(colour, 0.3), -20)
        layer.fill([(0.40, 0.40), (0.56, 0.40), (0.42, 0.60), (0.58, 0.60)], (214, 40, 40))

    canvas.within(outline, marks)
    canvas.dot((0.82, 0.54), 0.17, lighter(colour, 0.10))
    for x, y in ((0.82, 0.46), (0.94, 0.47)):
        canvas.eye((x, y), 0.062)
    canvas.dot((0.74, 0.42), 0.025, WHITE)
    canvas.limb([(0.94, 0.64), (0.96, 0.74)], [0.05, 0.02], lighter(colour, 0.25))
