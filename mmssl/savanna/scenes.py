"""What happens in each sample: who runs where, when it calls and which way the prey forks.

The future of a picture is determined by what its first frame shows (the event, the heading, the start, the light), by
the two calls and by the fork: all else is a function of the time.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mmssl.savanna.bodies import extent
from mmssl.savanna.tables import FORKS, Table, event_numbers, events, uniform

SECONDS = 2.0  # an event's length
FORK_SECONDS: dict[float, float] = {1.05: 0.5, 1.30: 0.5}  # when the prey forks -> probability
CALL_SECONDS = 0.25  # a call's length
CALLS = ((0.1, 0.7), (0.2, 0.7))  # the range in which the call of the predator, of the prey begins, in seconds

MARGIN = 0.02  # between an animal and the edge of the picture, as a part of it
OVERLAP = 0.08  # of the boxes of predator and prey: tails and noses are thin
FORK_RATIO = 0.28  # how far up or down the prey runs, as a part of the picture's height
FOLLOW_RATIO = 0.70  # how much of it the predator follows until the end
TURN_SECONDS = 0.6  # from the fork until the prey runs level again
FOLLOW_SECONDS = 0.25  # how much later the predator turns
LIGHT_RATIO = 0.10  # the light of a scene is brighter or darker by up to this


class Scenes(NamedTuple):
    """N samples; animal 0 is the predator, animal 1 the prey."""

    event: Int[np.ndarray, " N"]  # its number in `events()`
    heading: Int[np.ndarray, " N"]  # 1: from left to right, -1: from right to left
    fork: Int[np.ndarray, " N"]  # 1: to the prey's left, -1: to its right
    fork_seconds: Float[np.ndarray, " N"]
    call_seconds: Float[np.ndarray, "N 2"]  # when each animal's call begins
    start_x: Float[np.ndarray, " N"]  # in [0, 1]: of the room that the chase does not need
    start_y: Float[np.ndarray, "N 2"]  # the animals' centres, as parts of the height
    light: Float[np.ndarray, "N 3"]  # factors of the background's red, green and blue
    view: Float[np.ndarray, " N"]  # in [0, 1): which part of the landscape is seen
    moment_seconds: Float[np.ndarray, " N"]  # what the still picture shows
    noise: Float[np.ndarray, " N"]  # in [0, 1): where the habitat's sound begins


def chosen(point: Float[np.ndarray, " N"], table: dict[float, float]) -> Float[np.ndarray, " N"]:
    """The key of a table that each number in [0, 1) falls on."""
    bounds = np.cumsum(list(table.values()))[:-1]
    return np.array(list(table))[np.searchsorted(bounds, point, side="right")]


def left_ratio(table: Table) -> Float[np.ndarray, " E"]:
    """P(left) of each event's prey."""
    return np.array([table[each.prey] for each, _ in events()])


def scenes(seed: int, indices: Int[np.ndarray, " N"]) -> Scenes:
    """The scene of each sample, a pure function of (seed, index)."""

    def draw(name: str, low: float = 0.0, high: float = 1.0) -> Float[np.ndarray, " N"]:
        return low + (high - low) * uniform(seed, indices, f"savanna.{name}")

    event = event_numbers(seed, indices)
    light = 1 + draw("light", -LIGHT_RATIO, LIGHT_RATIO)
    tint = [draw(f"light.{channel}", 0.95, 1.05) for channel in ("red", "green", "blue")]
    return Scenes(
        event=event,
        heading=np.where(draw("heading") < 0.5, 1, -1),
        fork=np.where(draw("fork") < left_ratio(FORKS)[event], 1, -1),
        fork_seconds=chosen(draw("fork_seconds"), FORK_SECONDS),
        call_seconds=np.stack([draw("call.predator", *CALLS[0]), draw("call.prey", *CALLS[1])], axis=1),
        start_x=draw("start.x"),
        start_y=np.stack([draw("start.predator", 0.51, 0.57), draw("start.prey", 0.49, 0.55)], axis=1),
        light=light[:, None] * np.stack(tint, axis=1),
        view=draw("view"),
        moment_seconds=draw("moment", 0.0, SECONDS),
        noise=draw("noise"),
    )


def rows(found: Scenes, chosen_rows: slice | Int[np.ndarray, " M"] | Bool[np.ndarray, " N"]) -> Scenes:
    """Some of the samples."""
    return Scenes(*(values[chosen_rows] for values in found))


@cache
def extents() -> Float[np.ndarray, "E 2 2"]:
    """Event, (predator, prey), (width, height) of the animals' boxes as parts of the picture."""
    return np.array([[extent(each.predator), extent(each.prey)] for each, _ in events()])


def smooth_step(progress: np.ndarray) -> np.ndarray:
    """From 0 at 0 to 1 at 1, level at both ends."""
    bounded = np.clip(progress, 0.0, 1.0)
    return bounded * bounded * (3 - 2 * bounded)


def positions(found: Scenes, seconds: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N F 2 2"]:
    """The centres (x, y) of predator and prey at each time, as parts of the picture.

    Only sums and products: a rounding that depends on the batch would move an animal by a pixel.
    """
    width = extents()[found.event, :, 0]
    room = (1 - 2 * MARGIN + OVERLAP - width.sum(axis=1))[:, None]  # for the chase and for the start
    begin = MARGIN + width[:, :1] / 2 + room * 0.15 * found.start_x[:, None]
    predator_x = begin + room * 0.70 * seconds / SECONDS
    prey_x = predator_x + width.sum(axis=1)[:, None] / 2 - OVERLAP + room * 0.15

    towards = -(found.heading * found.fork)[:, None] * FORK_RATIO  # to the left of who runs to the right is up
    since_fork = seconds - found.fork_seconds[:, None]
    prey_y = found.start_y[:, 1:] + towards * smooth_step(since_fork / TURN_SECONDS)
    follow = smooth_step((since_fork - FOLLOW_SECONDS) / TURN_SECONDS)
    predator_y = found.start_y[:, :1] + towards * FOLLOW_RATIO * follow

    x = np.stack([predator_x, prey_x], axis=-1)
    x = np.where(found.heading[:, None, None] > 0, x, 1 - x)
    return np.stack([x, np.stack([predator_y, prey_y], axis=-1)], axis=-1)


def calling(found: Scenes, seconds: Float[np.ndarray, "N F"]) -> Bool[np.ndarray, "N F 2"]:
    """Whether each animal calls at each time."""
    since = seconds[:, :, None] - found.call_seconds[:, None, :]
    return (since >= 0) & (since < CALL_SECONDS)
