"""The built-in worlds in which one part of a sample leaves the other open, in a few ways that are all known."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from mmssl.config import Config
from mmssl.corruption import Corruption
from mmssl.drop import drop_right, keep_times
from mmssl.modalities.grids import Cut
from mmssl.modalities.world_samples import centred
from mmssl.random import hashed
from mmssl.savanna import Futures, digits, futures
from mmssl.savanna.encounters import Completions, completions
from mmssl.savanna.tables import event_numbers

HALF = drop_right(0.5)  # of a picture, whatever the method hid in training
FUTURES: dict[str, Callable[..., Futures]] = {"savanna": futures, "digits": digits.futures}


class Known(NamedTuple):
    """All pictures or clips that what is seen of a sample may belong to, and some that it never belongs to."""

    probability: Float[np.ndarray, " K"]
    view: UInt8[np.ndarray, "K ..."]
    impossible: UInt8[np.ndarray, "J ..."] | None = None


class Open(NamedTuple):
    """What is asked of the samples of a world."""

    modality: str
    hide: Callable[[Cut, Config], Corruption | None]  # None: the patches do not allow it
    known: Callable[[int, Config, Cut, np.ndarray], Known]  # of a held-out sample, by its number and by what it is
    num_answers: int  # answers of each that are drawn, at most
    ways: str  # what the number of the possible answers is called
    expected: str  # what `hide` needs


def is_of_world(config: Config, world: str) -> bool:
    """Whether the held-out samples are a built-in world's own: a ratio of them, not another source."""
    return config.data.source == world and isinstance(config.data.heldout, float)


def events_of(config: Config, count: int) -> Int[np.ndarray, " N"] | None:
    """The event of each of so many held-out samples: who chases whom, and where; None where the source has none."""
    if not is_of_world(config, "savanna"):
        return None
    return event_numbers(hashed(config.seed, "heldout"), np.arange(count))


def futures_of(index: int, config: Config, seen: int) -> Futures | None:
    """All continuations of a held-out clip after its first frames; None where the source does not know them."""
    world = next((name for name in FUTURES if is_of_world(config, name)), None)
    if world is None:
        return None
    clip, seed = config.video, hashed(config.seed, "heldout")
    return known_futures(world, seed, index, clip.size, clip.frames, seen, config.data.seconds)


@lru_cache(maxsize=64)
def known_futures(world: str, *clip: int | float) -> Futures:
    """What a world says of a clip; remembered, for several measures and models are told the same."""
    return FUTURES[world](*clip)


def right_half(cut: Cut, config: Config) -> Corruption | None:
    """What hides the right half of a picture."""
    return None if cut.grid[-1] % 2 else HALF


def pictures_of(index: int, config: Config) -> Completions:
    """The completions of a held-out picture of `encounters`, cut as the picture is."""
    sides = config.image.stored_sides
    found = completions(hashed(config.seed, "heldout"), index, max(sides))
    picture, impossible = (
        centred(lambda size, all_of=all_of: all_of, sides) for all_of in (found.picture, found.impossible)
    )
    return found._replace(picture=picture, impossible=impossible)


def known_pictures(index: int, config: Config, cut: Cut, sample: UInt8[np.ndarray, "3 H W"]) -> Known:
    """The pictures whose left half is that of a held-out one, and six that never are."""
    found = pictures_of(index, config)
    return Known(found.probability, found.picture, found.impossible)


def times_seen(cut: Cut, config: Config) -> int:
    """How many cells of a clip's time axis are seen: as the method says, else half of them."""
    return (config.method.arguments().get("seen_frames") or cut.size[0] // 2) // cut.patch[0]


def future(cut: Cut, config: Config) -> Corruption | None:
    """What hides the future of a clip, whatever a method with masks hid in training."""
    times, predicts = times_seen(cut, config), config.method.arguments().get("predicts", "future")
    return keep_times(range(times)) if predicts == "future" and 0 < times < cut.grid[0] else None


def known_clips(index: int, config: Config, cut: Cut, sample: UInt8[np.ndarray, "L 3 size size"]) -> Known:
    """The clips that begin like a held-out one."""
    seen = times_seen(cut, config) * cut.patch[0]
    found = futures_of(index, config, seen)
    assert found is not None, f"{config.data.source} knows no futures"
    past = np.broadcast_to(sample[:seen], (len(found.video), seen, *sample.shape[1:]))
    return Known(found.probability, np.concatenate([past, found.video], 1))


PICTURES = Open("image", right_half, known_pictures, 16, "modes", "an even number of columns of patches")
CLIPS = Open("video", future, known_clips, 20, "futures", "a future of whole patches")
OPEN: dict[str, Open] = {"encounters": PICTURES, "savanna": CLIPS, "digits": CLIPS}


def open_world(config: Config) -> Open | None:
    """The built-in world of the held-out samples that knows all answers; None where there is none."""
    return next((found for name, found in OPEN.items() if is_of_world(config, name)), None)
