"""Four-legged animals, from lion to mouse: one body with other measures and marks."""

import math
from collections.abc import Callable
from typing import NamedTuple

from mmssl.savanna.drawing import BLACK, WHITE, Canvas, Colour, Point, darker, lighter

GROUND = 0.95  # where the feet stand, in the box
PINK: Colour = (236, 160, 160)
HORN: Colour = (70, 56, 50)
BONE: Colour = (246, 238, 214)


class Quadruped(NamedTuple):
    """Measures in units of the box's height; an animal heads to the right."""

    leg: float
    girth: float
    length: float = 0.62  # from hip to shoulder
    head: float = 0.14  # radius
    neck: Point = (0.14, 0.16)  # from the shoulder forward and up to the head
    snout: float = 0.13
    slope: float = 0.0  # how much lower the hip is than the shoulder
    tail: str = "thin"  # of `TAILS`
    marks: tuple[str, ...] = ()  # of `MARKS`: on the trunk
    crown: tuple[str, ...] = ("round_ears",)  # of `CROWNS`: behind the head
    face: tuple[str, ...] = ()  # of `FACES`: on the head
    socks: bool = False
    belly: float = 0.45  # how much lighter the belly is
    eye: Colour = WHITE


class Pose(NamedTuple):
    """Where the parts of an animal are at a moment."""

    look: Quadruped
    colour: Colour
    phase: float  # of the stride, in [0, 1)
    hip: Point
    shoulder: Point
    head: Point


def posed(look: Quadruped, colour: Colour, phase: float) -> Pose:
    """The pose of a galloping animal."""
    bounce = 0.018 * math.sin(4 * math.pi * phase)
    height = GROUND - look.leg - look.girth / 2 + bounce
    left = 0.36 if look.length > 0.5 else 0.46
    shoulder = (left + look.length, height - 0.02 + 0.02 * math.sin(2 * math.pi * phase))
    head = (shoulder[0] + look.neck[0], shoulder[1] - look.neck[1] + 0.5 * bounce)
    return Pose(look, colour, phase, (left, height + look.slope), shoulder, head)


def leg(canvas: Canvas, pose: Pose, joint: Point, phase: float, bend: float, colour: Colour) -> None:
    """One leg: the foot swings and is lifted on its way forward."""
    look, turn = pose.look, 2 * math.pi * (pose.phase + phase)
    reach = 0.10 + 0.45 * look.leg
    foot = (joint[0] + reach * math.sin(turn), GROUND - (0.03 + 0.35 * look.leg) * max(0.0, math.cos(turn)))
    knee = ((joint[0] + foot[0]) / 2 + bend, (joint[1] + foot[1]) / 2)
    thick = 0.05 + 0.13 * look.girth
    canvas.limb([joint, knee, foot], [thick * 1.8, thick, thick * 0.8], colour)
    shoe = darker(colour, 0.75) if look.socks else darker(colour, 0.3)
    canvas.limb([(foot[0] - 0.01, foot[1]), (foot[0] + thick * 0.5, foot[1])], [thick * 0.9, thick * 0.7], shoe)


def legs(canvas: Canvas, pose: Pose, is_near: bool) -> None:
    """The two legs of one side."""
    drop = pose.look.girth * 0.15
    delay, colour = (0.0, pose.colour) if is_near else (0.16, darker(pose.colour))
    back, front = (pose.hip[0] + 0.02, pose.hip[1] + drop), (pose.shoulder[0] - 0.02, pose.shoulder[1] + drop)
    leg(canvas, pose, back, delay + 0.5, -0.04, colour)
    leg(canvas, pose, front, delay, 0.03, colour)


def trunk(canvas: Canvas, pose: Pose) -> None:
    """The body with a lighter belly, its marks and the neck."""
    look, half = pose.look, pose.look.girth / 2
    (hip_x, hip_y), (front_x, front_y) = pose.hip, pose.shoulder
    points = [
        (hip_x - half * 0.9, hip_y - half * 0.3), (hip_x - half * 0.2, hip_y - half * 1.1),
        ((hip_x + front_x) / 2, (hip_y + front_y) / 2 - half * 0.95), (front_x, front_y - half * 1.2),
        (front_x + half, front_y - half * 0.5), (front_x + half * 0.9, front_y + half * 0.6),
        (front_x - half * 0.2, front_y + half * 1.15), ((hip_x + front_x) / 2, (hip_y + front_y) / 2 + half * 0.85),
        (hip_x, hip_y + half * 1.05), (hip_x - half * 0.9, hip_y + half * 0.6),
    ]  # fmt: skip
    canvas.limb([pose.shoulder, pose.head], [look.girth * 0.85, look.head * 1.4], pose.colour)
    outline = canvas.blob(points, pose.colour)
    middle = ((hip_x + front_x) / 2, (hip_y + front_y) / 2 + half * 0.95)
    belly = lighter(pose.colour, look.belly)
    canvas.within(outline, lambda layer: layer.oval(middle, (look.length * 0.6, half * 0.55), belly))
    for name in look.marks:
        canvas.within(outline, lambda layer, name=name: MARKS[name](layer, pose))


def stripes(layer: Canvas, pose: Pose) -> None:
    """Of a zebra."""
    half = pose.look.girth / 2
    for step in range(9):
        x = pose.hip[0] - half + step * (pose.look.length + 2 * half) / 8
        layer.limb([(x + 0.03, pose.hip[1] - 2 * half), (x - 0.03, pose.hip[1] + 1.2 * half)], [0.05, 0.02], BLACK)


def spots(layer: Canvas, pose: Pose) -> None:
    """Of a cheetah, a leopard or a hyena."""
    for row in range(3):
        for column in range(8):
            x = pose.hip[0] - 0.12 + column * 0.115 + 0.05 * (row % 2)
            layer.dot((x, pose.hip[1] - 0.10 + row * 0.08), 0.024, darker(pose.colour, 0.8))


def rosettes(layer: Canvas, pose: Pose) -> None:
    """Rings of a leopard."""
    for row in range(3):
        for column in range(7):
            centre = (pose.hip[0] - 0.12 + column * 0.135 + 0.065 * (row % 2), pose.hip[1] - 0.12 + row * 0.10)
            layer.dot(centre, 0.046, darker(pose.colour, 0.8))
            layer.dot(centre, 0.022, darker(pose.colour, 0.3))


def saddle(layer: Canvas, pose: Pose) -> None:
    """A dark back."""
    centre = ((pose.hip[0] + pose.shoulder[0]) / 2, pose.hip[1] - pose.look.girth * 0.55)
    layer.oval(centre, (pose.look.length * 0.75, pose.look.girth * 0.28), darker(pose.colour, 0.4))


def flank(layer: Canvas, pose: Pose) -> None:
    """The dark band of a gazelle."""
    start, end = (pose.hip[0] - 0.05, pose.hip[1] + 0.05), (pose.shoulder[0] + 0.05, pose.shoulder[1] + 0.04)
    layer.limb([start, end], [0.05, 0.05], darker(pose.colour, 0.75))


def fawn(layer: Canvas, pose: Pose) -> None:
    """White spots of a deer."""
    for column in range(6):
        x = pose.hip[0] - 0.06 + column * 0.12
        layer.dot((x, pose.hip[1] - 0.06 + 0.06 * (column % 2)), 0.02, lighter(pose.colour, 0.85))


MARKS: dict[str, Callable[[Canvas, Pose], None]] = {
    "stripes": stripes, "spots": spots, "rosettes": rosettes, "saddle": saddle, "flank": flank, "fawn": fawn,
}  # fmt: skip
