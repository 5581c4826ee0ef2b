"""What may happen next: every continuation of a video, with its probability."""

from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from mmssl.savanna.pictures import frame_seconds, videos
from mmssl.savanna.scenes import CALL_SECONDS, CALLS, FORK_SECONDS, SECONDS, Scenes, left_ratio, scenes
from mmssl.savanna.tables import FORKS


class Futures(NamedTuple):
    """All continuations that agree with the seen frames; no two look the same."""

    probability: Float[np.ndarray, " K"]  # given the seen frames; they sum to 1
    video: UInt8[np.ndarray, "K M 3 size size"]
    true: int  # the one that happens


def call_times(
    call_seconds: float, low: float, high: float, times: Float[np.ndarray, " F"], seen: int
) -> list[tuple[float, float]]:
    """One time for each set of frames that may show a call, if they agree with the seen ones, and its probability.

    A call begins at a uniform time in [low, high]; the frames that show it change only where its begin or its end
    passes the time of a frame.
    """
    bounds = np.concatenate([times, times - CALL_SECONDS, [low, high]])
    bounds = np.unique(bounds[(bounds >= low) & (bounds <= high)])

    def shown(begin: float) -> np.ndarray:
        return (times >= begin) & (times < begin + CALL_SECONDS)

    middles = (bounds[1:] + bounds[:-1]) / 2
    return [
        (float(middle), float(length / (high - low)))
        for middle, length in zip(middles, np.diff(bounds))
        if (shown(middle)[:seen] == shown(call_seconds)[:seen]).all()
    ]


def possible(found: Scenes, times: Float[np.ndarray, " F"], seen: int) -> tuple[Scenes, Float[np.ndarray, " P"]]:
    """The scenes that begin like one scene, with every fork and every time of it and of the calls, and P(scene)."""
    left = left_ratio(FORKS)[found.event[0]]
    forks = {1: left, -1: 1 - left}
    calls = [call_times(found.call_seconds[0, animal], *CALLS[animal], times, seen) for animal in range(2)]
    choices = list(product(forks.items(), FORK_SECONDS.items(), *calls))
    values = np.array([[value for value, _ in choice] for choice in choices])
    probability = np.array([prod(float(ratio) for _, ratio in choice) for choice in choices])
    repeated = Scenes(*(np.repeat(field, len(choices), axis=0) for field in found))
    return repeated._replace(
        fork=values[:, 0].astype(np.int64), fork_seconds=values[:, 1], call_seconds=values[:, 2:]
    ), probability


def futures(seed: int, index: int, size: int, frames: int, seen: int, seconds: float = SECONDS) -> Futures:
    """All continuations (frames `seen` to `frames` - 1) that agree with the first `seen` frames of a sample's video.

    Once both calls are over (1 second) only the fork is open; before, a call may come in many ways. Raises ValueError
    unless at least one frame is seen and at least one is not.
    """
    truth = scenes(seed, np.array([index]))
    happened = videos(truth, size, frames, seconds)[0]
    candidates, prior = possible(truth, frame_seconds(frames, seconds), seen)
    played = videos(candidates, size, frames, seconds)
    return agreeing(happened, played, prior, seen)


def agreeing(
    happened: UInt8[np.ndarray, "L 3 size size"], played: UInt8[np.ndarray, "P L 3 size size"],
    prior: Float[np.ndarray, " P"], seen: int,
) -> Futures:  # fmt: skip
    """The continuations of the played videos whose first `seen` frames are those of what happened, each look once;
    ValueError unless at least one frame is seen and at least one is not.
    """
    if not 0 < seen < len(happened):
        raise ValueError(f"a future needs seen and unseen frames: 0 < seen < {len(happened)}, not seen = {seen}")
    agrees = (played[:, :seen] == happened[:seen]).all(axis=(1, 2, 3, 4))
    merged: dict[bytes, float] = {}
    video: dict[bytes, np.ndarray] = {}
    for each, probability in zip(played[agrees, seen:], prior[agrees]):
        look = each.tobytes()
        merged[look] = merged.get(look, 0.0) + float(probability)
        video[look] = each
    probability = np.array(list(merged.values()))
    return Futures(
        probability / probability.sum(), np.stack(list(video.values())), list(merged).index(happened[seen:].tobytes())
    )
