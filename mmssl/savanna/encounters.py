"""Pictures of which one half leaves the other open: at the left stands a predator, at the right what it chases.

Given the left half, the right one is one of two or three pictures of known probability: the habitat, the view and the
light are seen on both sides, and the predator says which prey there may be, but not which there is.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from mmssl.random import Draw
from mmssl.savanna.bodies import extent
from mmssl.savanna.pictures import backgrounds
from mmssl.savanna.scenes import Scenes, rows, scenes
from mmssl.savanna.sprites import animal_sprites, lay
from mmssl.savanna.tables import HABITATS, PREDATORS, PREY, Event, Table, event_numbers, events, uniform

CENTRES = (0.25, 0.75)  # of predator and prey from the left, as parts of the picture: each in the middle of its half
FEET = 0.84  # from the top
WIDTH = 0.42  # of every animal's box: the small ones are drawn larger than they are, to be seen at 32 pixels
LIGHT_RATIO = 0.05  # the light is brighter or darker by up to this
IMPOSSIBLE = 6  # preys that are never chased, beside the true ones
CHUNK = 512  # pictures made at once


class Completions(NamedTuple):
    """All pictures that a left half may belong to; no two look the same."""

    probability: Float[np.ndarray, " K"]  # given the left half; they sum to 1
    picture: UInt8[np.ndarray, "K 3 size size"]
    true: int  # the one that is
    impossible: UInt8[
        np.ndarray, "J 3 size size"
    ]  # the same left half, with preys that this predator never chases here


def pictures(seed: int, indices: Int[np.ndarray, " N"], size: int) -> UInt8[np.ndarray, "N 3 size size"]:
    """The picture of each sample, a pure function of (seed, index); ValueError where the size has no half."""
    found, names = stages(seed, indices), events()
    happened = [names[number][0] for number in found.event]
    parts = [slice(start, start + CHUNK) for start in range(0, len(happened), CHUNK)]
    return np.concatenate([shown(rows(found, part), happened[part], size) for part in parts])


def prey_names(seed: int, indices: Int[np.ndarray, " N"]) -> list[str]:
    """What is chased in each sample; for probes only."""
    names = [each.prey for each, _ in events()]
    return [names[number] for number in event_numbers(seed, indices)]


def completions(seed: int, index: int, size: int) -> Completions:
    """All that a sample's left half may be completed to, and six ways in which it never is."""
    stage = stages(seed, np.array([index]))
    happened = events()[int(stage.event[0])][0]
    possible, never = chased(happened), never_chased(seed, index)
    preys = [*possible, *never]
    together = rows(stage, np.zeros(len(preys), dtype=np.int64))
    drawn = shown(together, [happened._replace(prey=prey) for prey in preys], size)
    return Completions(
        np.array(list(possible.values())), drawn[: len(possible)], list(possible).index(happened.prey),
        drawn[len(possible) :],
    )  # fmt: skip


def chased(happened: Event) -> Table:
    """P(prey | predator, habitat)."""
    return PREY[happened.habitat][happened.predator]


def never_chased(seed: int, index: int) -> list[str]:
    """IMPOSSIBLE preys that a sample's predator never chases in its habitat: first those that others chase there, then
    some of the other habitats' in an order of the sample's own.
    """
    happened = events()[int(event_numbers(seed, np.array([index]))[0])][0]
    here = sorted({prey for table in PREY[happened.habitat].values() for prey in table})
    everywhere = sorted({each.prey for each, _ in events()} - {*here})
    zero = torch.zeros(1, dtype=torch.long)
    order = Draw(seed, zero, zero + index).uniform("encounters.never", len(everywhere))[0].argsort().tolist()
    others = [*here, *(everywhere[number] for number in order)]
    return [prey for prey in others if prey not in chased(happened) and prey != happened.predator][:IMPOSSIBLE]


def prior_entropy() -> float:
    """How many bits the right half holds beyond the left one, on average: H(prey | predator, habitat)."""
    return sum(
        in_habitat * of_predator * entropy(list(PREY[habitat][predator].values()))
        for habitat, in_habitat in HABITATS.items()
        for predator, of_predator in PREDATORS[habitat].items()
    )


def entropy(probability: list[float] | Float[np.ndarray, " K"]) -> float:
    """Of a distribution without zeros, in bits."""
    values = np.asarray(probability)
    return float(-(values * np.log2(values)).sum())


def stages(seed: int, indices: Int[np.ndarray, " N"]) -> Scenes:
    """The event of each sample, and its landscape in an even light."""
    light = 1 + LIGHT_RATIO * (2 * uniform(seed, indices, "encounters.light") - 1)
    return scenes(seed, indices)._replace(light=np.repeat(light[:, None], 3, axis=1))


def shown(stage: Scenes, happened: list[Event], size: int) -> UInt8[np.ndarray, "N 3 size size"]:
    """The landscape of each stage with a predator and a prey that head to the right, always in the same pose."""
    if size < 16 or size % 2:
        raise ValueError(f"a picture of encounters is at least 16 pixels wide and high, and even, not {size}")
    drawn = backgrounds(stage, size)
    for role, centre in zip(("predator", "prey"), CENTRES, strict=True):
        members = np.array([(each.habitat, getattr(each, role)) for each in happened])
        for habitat, animal in np.unique(members, axis=0):
            here = np.flatnonzero((members == (habitat, animal)).all(axis=1))
            width, height = extent(str(animal))
            enlarged = WIDTH / width
            corner = np.tile([centre - WIDTH / 2, FEET - enlarged * height], (len(here), 1))
            sprites = animal_sprites(str(animal), str(habitat), size, enlarged, poses=1)
            lay(drawn, here, sprites, corner, np.zeros_like(here), np.zeros(len(here), dtype=bool))
    return drawn
