"""Tails of the four-legged animals."""

import math
from collections.abc import Callable

from mmssl.savanna.drawing import BLACK, WHITE, Canvas, Number, Point, darker, lighter
from mmssl.savanna.quadrupeds import PINK, Pose


def behind(pose: Pose, backward: Number, up: Number) -> Point:
    """A point seen from the root of the tail; the tail waves with the stride."""
    wave = 0.05 * math.sin(2 * math.pi * pose.phase) * backward / 0.3
    return pose.hip[0] - pose.look.girth * 0.40 - backward, pose.hip[1] - pose.look.girth * 0.30 - up - wave


def thin(canvas: Canvas, pose: Pose) -> None:
    """A smooth tail that hangs in the wind."""
    points = [behind(pose, 0, 0), behind(pose, 0.12, 0.06), behind(pose, 0.22, 0.02)]
    canvas.limb(points, [0.06, 0.05, 0.04], pose.colour)


def tuft(canvas: Canvas, pose: Pose) -> None:
    """A thin tail with a brush at its end."""
    points = [behind(pose, 0, 0), behind(pose, 0.11, 0.06), behind(pose, 0.19, 0.0)]
    canvas.limb(points, [0.05, 0.035, 0.035], pose.colour)
    canvas.limb([points[2], behind(pose, 0.23, -0.07)], [0.09, 0.05], darker(pose.colour, 0.75))


def curved(canvas: Canvas, pose: Pose) -> None:
    """The long tail of the spotted cats, with a dark tip."""
    points = [behind(pose, 0, 0), behind(pose, 0.12, -0.03), behind(pose, 0.20, 0.06), behind(pose, 0.22, 0.18)]
    canvas.limb(points, [0.07, 0.06, 0.06, 0.05], pose.colour)
    canvas.limb([points[3], behind(pose, 0.20, 0.23)], [0.07, 0.05], BLACK)


def upright(canvas: Canvas, pose: Pose) -> None:
    """The tail of a cat or a happy dog."""
    points = [behind(pose, -0.02, 0), behind(pose, 0.08, 0.10), behind(pose, 0.10, 0.24), behind(pose, 0.05, 0.34)]
    canvas.limb(points, [0.08, 0.07, 0.06, 0.05], pose.colour)


def flag(canvas: Canvas, pose: Pose) -> None:
    """The straight tail of a warthog."""
    points = [behind(pose, -0.02, 0), behind(pose, 0.04, 0.25)]
    canvas.limb(points, [0.04, 0.03], pose.colour)
    canvas.dot(points[1], 0.05, darker(pose.colour, 0.7))


def bushy(canvas: Canvas, pose: Pose) -> None:
    """The brush of a wolf."""
    points = [behind(pose, -0.02, 0), behind(pose, 0.12, -0.01), behind(pose, 0.24, -0.08)]
    canvas.limb(points, [0.09, 0.15, 0.05], darker(pose.colour, 0.15))


def brush(canvas: Canvas, pose: Pose) -> None:
    """The brush of a fox, with a white tip."""
    points = [behind(pose, -0.02, 0), behind(pose, 0.12, 0.02), behind(pose, 0.22, 0.03), behind(pose, 0.29, 0.05)]
    canvas.limb(points[:3], [0.08, 0.19, 0.17], pose.colour)
    canvas.limb(points[2:], [0.17, 0.05], WHITE)


def curl(canvas: Canvas, pose: Pose) -> None:
    """The huge tail of a squirrel."""
    points = [(0.02, -0.10), (0.16, 0.02), (0.18, 0.22), (0.10, 0.38), (0.20, 0.46)]
    curve = [behind(pose, backward, up) for backward, up in points]
    canvas.limb(curve, [0.10, 0.20, 0.26, 0.22, 0.10], pose.colour)
    canvas.limb(curve[1:4], [0.06, 0.11, 0.06], lighter(pose.colour, 0.35))


def string(canvas: Canvas, pose: Pose) -> None:
    """The bare tail of a mouse or a rat."""
    curve = [(-0.05, -0.12), (0.10, -0.14), (0.20, -0.04), (0.26, -0.10)]
    canvas.limb([behind(pose, backward, up) for backward, up in curve], [0.05, 0.04, 0.03, 0.02], PINK)


def stub(canvas: Canvas, pose: Pose) -> None:
    """A short tail."""
    canvas.limb([behind(pose, -0.04, 0), behind(pose, 0.05, 0.03)], [0.09, 0.06], pose.colour)


def ball(canvas: Canvas, pose: Pose) -> None:
    """The white tail of rabbits and deer."""
    canvas.dot(behind(pose, 0.03, 0.0), 0.07, WHITE)


TAILS: dict[str, Callable[[Canvas, Pose], None]] = {
    "thin": thin, "tuft": tuft, "curved": curved, "upright": upright, "flag": flag, "bushy": bushy, "brush": brush,
    "curl": curl, "string": string, "stub": stub, "ball": ball,
}  # fmt: skip
