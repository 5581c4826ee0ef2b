"""Pictures and videos of the world's events."""

from functools import cache
from typing import NamedTuple

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int, UInt8

from mmssl.savanna.animals import POSES
from mmssl.savanna.bodies import PLAN_OF, PLANS
from mmssl.savanna.habitats import landscape
from mmssl.savanna.scenes import SECONDS, Scenes, calling, extents, positions, rows
from mmssl.savanna.sprites import MARK_SIZE, animal_sprites, lay, mark_sprites
from mmssl.savanna.tables import events

STRIDE_SECONDS = 0.6
PIXELS = 2**21  # of one chunk: the work needs about ten times as many bytes


def backgrounds(found: Scenes, size: int) -> UInt8[np.ndarray, "N 3 size size"]:
    """The part of its landscape that each scene shows, in its light."""
    habitats = np.array([each.habitat for each, _ in events()])[found.event]
    pictures = np.empty((len(habitats), 3, size, size), np.uint8)
    is_mirrored, light = found.view < 0.5, np.round(found.light * 128).astype(np.uint16)
    for habitat in np.unique(habitats):
        here = np.flatnonzero(habitats == habitat)
        whole = landscape(str(habitat), size)
        left = np.floor(found.view[here] * 2 % 1 * (whole.shape[-1] - size + 1)).astype(np.int64)
        columns = left[:, None] + np.where(is_mirrored[here, None], np.arange(size)[::-1], np.arange(size))
        seen = rearrange(whole[:, :, columns], "c h n w -> n c h w").astype(np.uint16)
        pictures[here] = np.minimum(seen * light[here, :, None, None] // 128, 255)
    return pictures


class Moments(NamedTuple):
    """M pictures to be: scenes at times, one after the other."""

    event: Int[np.ndarray, " M"]
    is_mirrored: Bool[np.ndarray, " M"]
    centre: Float[np.ndarray, "M 2 2"]  # of predator and prey
    calls: Bool[np.ndarray, "M 2"]
    pose: Int[np.ndarray, " M"]


def moments(found: Scenes, seconds: Float[np.ndarray, "N F"]) -> Moments:
    """Each scene at each of its times."""
    frames = seconds.shape[1]
    return Moments(
        event=np.repeat(found.event, frames),
        is_mirrored=np.repeat(found.heading < 0, frames),
        centre=rearrange(positions(found, seconds), "n f a x -> (n f) a x"),
        calls=rearrange(calling(found, seconds), "n f a -> (n f) a"),
        pose=np.floor(rearrange(seconds, "n f -> (n f)") / STRIDE_SECONDS * POSES).astype(np.int64) % POSES,
    )


@cache
def cast() -> tuple[list[tuple[str, str]], Int[np.ndarray, "E 2"]]:
    """All pairs of habitat and animal, and the numbers of each event's two pairs."""
    pairs = [[(each.habitat, animal) for animal in (each.predator, each.prey)] for each, _ in events()]
    members = sorted({member for pair in pairs for member in pair})
    return members, np.array([[members.index(member) for member in pair] for pair in pairs])


def lay_animals(pictures: UInt8[np.ndarray, "M 3 S S"], now: Moments) -> None:
    """Both animals; the one that stands further down is in front."""
    size, box = pictures.shape[-1], extents()[now.event]
    feet = now.centre[:, :, 1] + box[:, :, 1] / 2
    in_front = np.where(feet[:, 0] > feet[:, 1], 0, 1)
    members, member_of_event = cast()
    samples = np.arange(len(now.event))
    for animal in (1 - in_front, in_front):
        member, corner = member_of_event[now.event, animal], (now.centre - box / 2)[samples, animal]
        for each in np.unique(member):
            here = np.flatnonzero(member == each)
            habitat, name = members[each]
            sprites = animal_sprites(name, habitat, size)
            lay(pictures, here, sprites, corner[here], now.pose[here], now.is_mirrored[here])


@cache
def mouths() -> Float[np.ndarray, "E 2 2"]:
    """From each animal's centre to its mouth, as parts of the picture, where it heads to the right."""
    plans = [[PLANS[PLAN_OF[animal]] for animal in (each.predator, each.prey)] for each, _ in events()]
    return (np.array([[plan.mouth for plan in pair] for pair in plans]) - 0.5) * extents()


def lay_marks(pictures: UInt8[np.ndarray, "M 3 S S"], now: Moments) -> None:
    """The sound mark at the mouth of every animal that calls, within the picture."""
    sprites = mark_sprites(pictures.shape[-1])
    for animal in range(2):
        here = np.flatnonzero(now.calls[:, animal])
        reach, is_mirrored = mouths()[now.event[here], animal], now.is_mirrored[here]
        left = now.centre[here, animal, 0] + np.where(is_mirrored, -reach[:, 0] - MARK_SIZE, reach[:, 0])
        top = now.centre[here, animal, 1] + reach[:, 1] - MARK_SIZE
        lay(pictures, here, sprites, np.stack([left, top], axis=1), np.zeros_like(here), is_mirrored)


def drawn(found: Scenes, size: int, seconds: Float[np.ndarray, "N F"]) -> UInt8[np.ndarray, "N F 3 size size"]:
    """Each scene at each of its times."""
    frames = seconds.shape[1]
    pictures = repeat(backgrounds(found, size), "n c h w -> (n f) c h w", f=frames).copy()
    now = moments(found, seconds)
    lay_animals(pictures, now)
    lay_marks(pictures, now)
    return rearrange(pictures, "(n f) c h w -> n f c h w", f=frames)


def frame_seconds(frames: int, seconds: float = SECONDS, longest: float = SECONDS) -> Float[np.ndarray, " F"]:
    """The time that each frame of a video shows; ValueError for a video that is empty or too long."""
    if frames < 1 or not 0 < seconds <= longest:
        raise ValueError(f"a video has at least 1 frame and (0, {longest}] seconds, not {frames} and {seconds}")
    return (np.arange(frames) + 0.5) * seconds / frames


def videos(found: Scenes, size: int, frames: int, seconds: float = SECONDS) -> UInt8[np.ndarray, "N F 3 size size"]:
    """The videos of scenes; frame k shows the time (k + 0.5) * seconds / frames."""
    times = frame_seconds(frames, seconds)
    return in_chunks(found, size, np.broadcast_to(times, (len(found.event), frames)))


def pictures(found: Scenes, size: int) -> UInt8[np.ndarray, "N 3 size size"]:
    """One moment of each scene."""
    return in_chunks(found, size, found.moment_seconds[:, None])[:, 0]


def in_chunks(found: Scenes, size: int, seconds: Float[np.ndarray, "N F"]) -> UInt8[np.ndarray, "N F 3 size size"]:
    """As `drawn`, a few scenes at a time, so that the memory is bounded."""
    if size < 16:
        raise ValueError(f"a picture of the savanna is at least 16 pixels wide and high, not {size}")
    count, frames = seconds.shape
    chunk = max(1, PIXELS // (frames * size * size))
    found_pictures = np.empty((count, frames, 3, size, size), np.uint8)
    for start in range(0, count, chunk):
        some = slice(start, start + chunk)
        found_pictures[some] = drawn(rows(found, some), size, seconds[some])
    return found_pictures
