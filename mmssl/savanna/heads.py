"""Heads and tails of the four-legged animals: what tells them apart."""

import math
from collections.abc import Callable

from mmssl.savanna.drawing import BLACK, WHITE, Canvas, Number, Point, darker, lighter
from mmssl.savanna.quadrupeds import BONE, HORN, PINK, Pose


def at(pose: Pose, forward: Number, up: Number) -> Point:
    """A point seen from the middle of the head, in units of its radius."""
    return pose.head[0] + forward * pose.look.head, pose.head[1] - up * pose.look.head


def head(canvas: Canvas, pose: Pose) -> None:
    """The crown, the skull, the snout with its nose, the face and the eye."""
    look, radius = pose.look, pose.look.head
    for name in look.crown:
        CROWNS[name](canvas, pose)
    tip = (pose.head[0] + look.snout, pose.head[1] + radius * 0.40)
    canvas.dot(pose.head, radius, pose.colour)
    canvas.limb([at(pose, 0.2, -0.2), tip], [radius * 1.4, radius * 0.85], pose.colour)
    chin = (tip[0] - 0.01, tip[1] + radius * 0.18)
    canvas.limb([at(pose, 0.3, -0.6), chin], [radius * 0.6, radius * 0.6], lighter(pose.colour))
    for name in look.face:
        FACES[name](canvas, pose)
    canvas.dot((tip[0] + radius * 0.34, tip[1] - radius * 0.22), radius * 0.22, BLACK)
    canvas.eye(at(pose, 0.38, 0.18), max(radius * 0.27, 0.024), look.eye)


def ear(canvas: Canvas, pose: Pose, root: Point, tip: Point, width: float, inner: bool = True) -> None:
    """One ear from root to tip."""
    canvas.limb([root, tip], [width, width * 0.45], pose.colour)
    if inner:
        canvas.limb([root, tip], [width * 0.55, width * 0.2], darker(PINK, 0.15))


def round_ears(canvas: Canvas, pose: Pose) -> None:
    """Of lions, bears and hyenas."""
    for forward in (-0.75, 0.25):
        canvas.dot(at(pose, forward, 0.9), pose.look.head * 0.40, darker(pose.colour, 0.15))
        canvas.dot(at(pose, forward, 0.9), pose.look.head * 0.22, darker(PINK, 0.3))


def pointed_ears(canvas: Canvas, pose: Pose) -> None:
    """Of cats, foxes and wolves."""
    for forward in (-0.65, 0.30):
        root, side = at(pose, forward - 0.42, 0.5), at(pose, forward + 0.42, 0.6)
        tip = at(pose, forward - 0.1, 1.75)
        canvas.fill([root, tip, side], darker(pose.colour, 0.1))
        canvas.fill([at(pose, forward - 0.2, 0.7), at(pose, forward - 0.1, 1.4), at(pose, forward + 0.2, 0.7)], PINK)


def floppy_ear(canvas: Canvas, pose: Pose) -> None:
    """Of a dog."""
    points = [at(pose, -0.2, 0.8), at(pose, -0.85, 0.3), at(pose, -0.95, -0.7)]
    canvas.limb(points, [pose.look.head * width for width in (0.6, 0.75, 0.6)], darker(pose.colour, 0.5))


def long_ears(canvas: Canvas, pose: Pose) -> None:
    """Of rabbits and hares."""
    sway = 0.25 * math.sin(2 * math.pi * pose.phase)
    ear(canvas, pose, at(pose, -0.1, 0.7), at(pose, -0.3 - sway, 2.7), pose.look.head * 0.55)
    ear(canvas, pose, at(pose, -0.5, 0.7), at(pose, -1.3 - sway, 2.4), pose.look.head * 0.55)


def black_tips(canvas: Canvas, pose: Pose) -> None:
    """Of a hare's ears."""
    sway = 0.25 * math.sin(2 * math.pi * pose.phase)
    for forward, up in ((-0.3, 2.7), (-1.3, 2.4)):
        canvas.dot(at(pose, forward - sway, up), pose.look.head * 0.22, BLACK)


def big_ears(canvas: Canvas, pose: Pose) -> None:
    """Of mice."""
    for forward in (-0.75, 0.15):
        canvas.dot(at(pose, forward, 1.0), pose.look.head * 0.62, pose.colour)
        canvas.dot(at(pose, forward, 1.0), pose.look.head * 0.40, PINK)


def side_ears(canvas: Canvas, pose: Pose) -> None:
    """Of deer, zebras and gazelles."""
    ear(canvas, pose, at(pose, -0.3, 0.6), at(pose, -1.2, 1.3), pose.look.head * 0.5)
    ear(canvas, pose, at(pose, -0.1, 0.7), at(pose, -0.3, 1.6), pose.look.head * 0.5)


def antlers(canvas: Canvas, pose: Pose) -> None:
    """Of deer and caribous."""
    for shift in (-0.55, 0.1):
        beam = [at(pose, shift, 0.8), at(pose, shift - 0.6, 1.7), at(pose, shift - 0.3, 2.6)]
        canvas.limb(beam, [0.045, 0.035, 0.02], HORN)
        canvas.limb([beam[1], at(pose, shift + 0.35, 2.1)], [0.03, 0.02], HORN)
        canvas.limb([beam[1], at(pose, shift - 1.2, 2.3)], [0.03, 0.02], HORN)


def swept_horns(canvas: Canvas, pose: Pose) -> None:
    """Of a gazelle."""
    for shift in (-0.35, 0.1):
        points = [at(pose, shift, 0.8), at(pose, shift - 0.5, 1.6), at(pose, shift - 0.3, 2.6)]
        canvas.limb(points, [0.05, 0.04, 0.02], HORN)


def curved_horns(canvas: Canvas, pose: Pose) -> None:
    """Of a gnu."""
    for shift in (-0.5, 0.25):
        points = [at(pose, shift, 0.7), at(pose, shift - 0.6, 1.1), at(pose, shift - 0.5, 1.8), at(pose, shift, 2.0)]
        canvas.limb(points, [0.06, 0.055, 0.04, 0.02], (190, 172, 140))


def mane(canvas: Canvas, pose: Pose) -> None:
    """Of a lion."""
    colour = darker((164, 84, 30), 0.1)
    for step in range(11):
        turn = step * 2 * math.pi / 11
        lock = at(pose, -0.35 + 1.15 * math.cos(turn), -0.15 + 1.15 * math.sin(turn))
        canvas.dot(lock, pose.look.head * 0.55, colour)
    canvas.dot(at(pose, -0.35, -0.15), pose.look.head * 1.35, colour)


def crest(canvas: Canvas, pose: Pose) -> None:
    """The dark bristles along the neck of zebras, gnus, hyenas and warthogs."""
    start, end = (pose.shoulder[0] - 0.06, pose.shoulder[1] - pose.look.girth * 0.62), at(pose, -0.55, 0.95)
    canvas.limb([start, end], [0.10, 0.10], darker(pose.colour, 0.75))


def ruff(canvas: Canvas, pose: Pose) -> None:
    """The light chest of caribous, foxes and wolves."""
    chest = (pose.shoulder[0] + 0.05, pose.shoulder[1])
    canvas.limb([at(pose, -0.6, -1.1), chest], [0.14, 0.16], lighter(pose.colour, 0.8))


def beard(canvas: Canvas, pose: Pose) -> None:
    """Of a gnu."""
    canvas.limb([at(pose, 0.3, -1.0), at(pose, -0.1, -2.1)], [0.10, 0.03], darker(pose.colour, 0.7))


def cheek(canvas: Canvas, pose: Pose) -> None:
    """The white cheek of a fox or a wolf."""
    canvas.limb([at(pose, -0.3, -0.55), at(pose, 0.9, -0.6)], [pose.look.head * 0.8, pose.look.head * 0.45], WHITE)


def dark_snout(canvas: Canvas, pose: Pose) -> None:
    """Of hyenas, gnus and zebras."""
    tip = (pose.head[0] + pose.look.snout, pose.head[1] + pose.look.head * 0.4)
    canvas.limb([at(pose, 0.75, -0.35), tip], [pose.look.head * 1.0, pose.look.head * 0.85], darker(pose.colour, 0.7))


def stripes_on_face(canvas: Canvas, pose: Pose) -> None:
    """Of a zebra."""
    for forward in (-0.75, -0.25):
        canvas.limb([at(pose, forward, 0.8), at(pose, forward + 0.1, -0.7)], [0.035, 0.02], BLACK)
    for step in (0.25, 0.55):
        x = pose.shoulder[0] + step * (pose.head[0] - pose.shoulder[0])
        y = pose.shoulder[1] + step * (pose.head[1] - pose.shoulder[1])
        canvas.limb([(x - 0.09, y - 0.03), (x + 0.07, y + 0.07)], [0.045, 0.02], BLACK)


def tears(canvas: Canvas, pose: Pose) -> None:
    """The dark lines of a cheetah."""
    canvas.limb([at(pose, 0.45, 0.05), at(pose, 0.75, -0.8)], [0.035, 0.03], BLACK)


def tusks(canvas: Canvas, pose: Pose) -> None:
    """Of a warthog."""
    for forward in (0.65, 1.0):
        points = [at(pose, forward, -0.7), at(pose, forward + 0.5, -0.5), at(pose, forward + 0.55, 0.15)]
        canvas.limb(points, [0.045, 0.035, 0.015], BONE)


def whiskers(canvas: Canvas, pose: Pose) -> None:
    """Of cats, mice and rats."""
    for rise in (-0.15, -0.45, -0.75):
        canvas.limb([at(pose, 0.7, -0.45), at(pose, 0.05, rise - 0.15)], [0.012, 0.008], lighter(pose.colour, 0.7))


def collar(canvas: Canvas, pose: Pose) -> None:
    """Of a dog."""
    canvas.limb([at(pose, -1.15, 0.15), at(pose, -0.15, -1.15)], [0.055, 0.055], (214, 48, 56))


CROWNS: dict[str, Callable[[Canvas, Pose], None]] = {
    "round_ears": round_ears, "pointed_ears": pointed_ears, "long_ears": long_ears, "black_tips": black_tips,
    "big_ears": big_ears, "side_ears": side_ears, "antlers": antlers, "swept_horns": swept_horns,
    "curved_horns": curved_horns, "mane": mane, "crest": crest, "ruff": ruff, "beard": beard,
}  # fmt: skip

FACES: dict[str, Callable[[Canvas, Pose], None]] = {
    "floppy_ear": floppy_ear, "cheek": cheek, "dark_snout": dark_snout, "stripes_on_face": stripes_on_face,
    "tears": tears, "tusks": tusks, "whiskers": whiskers, "collar": collar, "ruff": ruff,
}  # fmt: skip
