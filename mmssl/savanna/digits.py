"""Clips of a scanned digit that flies in straight lines and leaves each wall in one of three directions, so that its
future is several: after Denton & Fergus 2018 (arXiv:1802.07687, section 4.1: stochastic moving MNIST), where the new
direction is any.

The scans are the 8 x 8 ones of scikit-learn (Alpaydin & Kaynak 1998). Each of them comes again and again: a probe of
the digit that is trained on some clips has seen the scans of the others.
"""

from functools import cache
from math import cos, radians, sin
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int, UInt8
from torch.nn.functional import interpolate

from mmssl.savanna.futures import Futures, agreeing
from mmssl.savanna.pictures import frame_seconds
from mmssl.savanna.scenes import SECONDS
from mmssl.savanna.tables import uniform

SIDE_RATIO = 0.4375  # a digit's side as a part of the picture's: 14 of 32 pixels
SPEED = 0.6  # rooms a second; the room is what a digit's side leaves free: 10.8 pixels a second in a picture of 32
DIRECTIONS: dict[float, float] = {-45.0: 0.5, 0.0: 0.3, 45.0: 0.2}  # degrees from the wall's normal -> probability
CONTACT_SECONDS = (1.0, 1.1)  # when the digit first touches a wall: soon after the first half of an event
MOST_SECONDS = 4.0  # of a clip: every further wall makes its futures three times as many
LEAST_SIZE = 16  # pixels
GREYS = 16  # of a scan, the brightest one


class Flights(NamedTuple):
    """N samples; lengths are in rooms, and x and y lie in [0, 1]."""

    scan: Int[np.ndarray, " N"]
    start: Float[np.ndarray, "N 2"]  # x, y
    direction: Float[np.ndarray, "N 2"]  # of length 1


@cache
def scans() -> tuple[Float[np.ndarray, "S 8 8"], Int[np.ndarray, " S"]]:
    """The scanned digits in [0, 1], and which digit each is."""
    from sklearn.datasets import load_digits  # a second, which the other worlds do not need

    grey, digit = load_digits(return_X_y=True)
    return rearrange(np.asarray(grey) / GREYS, "s (y x) -> s y x", y=8), np.asarray(digit, dtype=np.int64)


@cache
def sprites(side: int) -> UInt8[np.ndarray, "S side side"]:
    """The scans with a side of so many pixels."""
    small = torch.from_numpy(scans()[0])[:, None].float()
    large = interpolate(small, (side, side), mode="bilinear", antialias=True)[:, 0]
    return (255 * large).round().clamp(0, 255).to(torch.uint8).numpy()


def labels(seed: int, indices: Int[np.ndarray, " N"]) -> list[str]:
    """The digit of each sample; for probes only."""
    return [str(number) for number in scans()[1][flights(seed, indices).scan]]


def flights(seed: int, indices: Int[np.ndarray, " N"]) -> Flights:
    """How each sample begins, a pure function of (seed, index).

    The wall and the point and time at which it is first touched are drawn, so that in an event of 2 seconds there is
    one contact, in its second half; the way to it is straight, for small models are to learn this world.
    """

    def draw(name: str, low: float = 0.0, high: float = 1.0) -> Float[np.ndarray, " N"]:
        return low + (high - low) * uniform(seed, indices, f"digits.{name}")

    seconds = draw("contact", *CONTACT_SECONDS)
    farthest = (SECONDS - seconds) * SPEED * max(abs(sin(radians(angle))) for angle in DIRECTIONS)
    point = farthest + (1 - 2 * farthest) * draw("point")  # no other wall is reached from it within the event
    # only sums and products: a rounding that depends on the batch would move a digit by a pixel
    place = np.stack([SPEED * seconds, point], -1)
    heading = np.broadcast_to([-1.0, 0.0], place.shape)
    wall = np.floor(draw("wall") * 4).astype(np.int64)  # left, top, right, bottom
    is_far, is_turned = (wall >= 2)[:, None] & [[True, False]], (wall % 2 == 1)[:, None]
    place, heading = np.where(is_far, 1 - place, place), np.where(is_far, -heading, heading)
    place, heading = (np.where(is_turned, value[:, ::-1], value) for value in (place, heading))
    scan = np.floor(draw("scan") * len(scans()[1])).astype(np.int64)
    return Flights(scan, place, heading)


def flown(
    found: Flights, turns: Int[np.ndarray, "N T"], seconds: Float[np.ndarray, " F"]
) -> tuple[Float[np.ndarray, "N F 2"], Int[np.ndarray, " N"]]:
    """Where the digits are at each time, and how many walls they touch until the last one; the k-th wall is left in the
    direction of number `turns[:, k]`, those beyond T in the first one.
    """
    angles = np.array([[cos(radians(angle)), sin(radians(angle))] for angle in DIRECTIONS])
    place, heading = found.start, found.direction
    now, contacts = np.zeros(len(place)), np.zeros(len(place), dtype=np.int64)
    shown = np.empty((len(place), len(seconds), 2))
    number = 0
    while True:
        since = seconds - now[:, None]
        there = place[:, None] + SPEED * since[..., None] * heading[:, None]
        shown = np.where((since >= 0)[..., None], there, shown)
        wait, axis = until_contact(place, heading)
        now = now + wait
        if not (flies := now < seconds[-1]).any():
            return shown, contacts
        contacts = contacts + flies
        row = np.arange(len(place))
        place = np.clip(place + SPEED * wait[:, None] * heading, 0.0, 1.0)
        normal, along = angles[turns[:, number] if number < turns.shape[1] else np.zeros_like(row)].T
        inwards = -np.sign(heading[row, axis])
        heading = np.empty_like(heading)
        heading[row, axis], heading[row, 1 - axis] = inwards * normal, along
        number += 1


def until_contact(
    place: Float[np.ndarray, "N 2"], heading: Float[np.ndarray, "N 2"]
) -> tuple[Float[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """The seconds until the next wall, and whether it stands across x or y."""
    ahead = np.where(heading > 0, 1 - place, place)
    with np.errstate(divide="ignore"):
        wait = np.where(heading == 0, np.inf, ahead / (SPEED * np.abs(heading)))
    axis = wait.argmin(1)
    return wait[np.arange(len(wait)), axis], axis


def drawn_turns(seed: int, indices: Int[np.ndarray, " N"], number: int) -> Int[np.ndarray, " N"]:
    """The number of the direction in which each sample leaves its k-th wall."""
    bounds = np.cumsum(list(DIRECTIONS.values()))[:-1]
    return np.searchsorted(bounds, uniform(seed, indices, f"digits.turn.{number}"), side="right")


def shown(
    scan: Int[np.ndarray, " N"], place: Float[np.ndarray, "N F 2"], size: int
) -> UInt8[np.ndarray, "N F 3 size size"]:
    """Digits on black, at the pixels nearest to their places."""
    side = round(SIDE_RATIO * size)
    corner = np.rint(place * (size - side)).astype(np.int64)
    found = np.zeros((*corner.shape[:2], size, size), dtype=np.uint8)
    for clip, digit, corners in zip(found, sprites(side)[scan], corner, strict=True):
        for frame, (x, y) in zip(clip, corners, strict=True):
            frame[y : y + side, x : x + side] = digit
    return repeat(found, "n f h w -> n f c h w", c=3)


def videos(
    seed: int, indices: Int[np.ndarray, " N"], size: int, frames: int, seconds: float = SECONDS
) -> UInt8[np.ndarray, "N frames 3 size size"]:
    """The clip of each sample, a pure function of (seed, index); ValueError where it is too small or too long."""
    if size < LEAST_SIZE:
        raise ValueError(f"a clip of digits is at least {LEAST_SIZE} pixels wide and high, not {size}")
    found, times = flights(seed, indices), frame_seconds(frames, seconds, MOST_SECONDS)
    turns = np.empty((len(indices), 0), dtype=np.int64)
    while True:
        place, contacts = flown(found, turns, times)
        if (contacts <= turns.shape[1]).all():
            return shown(found.scan, place, size)
        turns = np.concatenate([turns, drawn_turns(seed, indices, turns.shape[1])[:, None]], 1)


def futures(seed: int, index: int, size: int, frames: int, seen: int, seconds: float = SECONDS) -> Futures:
    """All continuations (frames `seen` to `frames` - 1) that agree with the first `seen` frames of a sample's clip: of
    an event of 2 seconds, half of it seen, there are three. ValueError unless some frames are seen and some are not.
    """
    happened = videos(seed, np.array([index]), size, frames, seconds)[0]
    begun, times = flights(seed, np.array([index])), frame_seconds(frames, seconds, MOST_SECONDS)
    turns, prior = np.empty((1, 0), dtype=np.int64), np.ones(1)
    while True:
        alike = Flights(*(np.repeat(field, len(turns), 0) for field in begun))
        place, contacts = flown(alike, turns, times)
        if (contacts <= turns.shape[1]).all():
            return agreeing(happened, shown(alike.scan, place, size), prior, seen)
        turns, prior = branched(turns, prior, contacts > turns.shape[1])


def branched(
    turns: Int[np.ndarray, "N T"], prior: Float[np.ndarray, " N"], touches: Bool[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, "M T+1"], Float[np.ndarray, " M"]]:
    """The ways to go on, with their probabilities, after one more wall where one is touched."""
    share = np.array([*DIRECTIONS.values()])
    row = np.repeat(np.arange(len(turns)), np.where(touches, len(share), 1))
    turn = np.concatenate([np.arange(len(share) if touch else 1) for touch in touches])
    return np.concatenate([turns[row], turn[:, None]], 1), prior[row] * np.where(touches[row], share[turn], 1.0)
