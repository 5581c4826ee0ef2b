"""Who chases whom, and where: the probabilities and the species that captions, pictures, sounds and videos share."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from mmssl.random import Draw

Table = dict[str, float]  # value -> probability

HABITATS: Table = {"savanna": 0.30, "kitchen": 0.20, "ocean": 0.20, "forest": 0.18, "arctic": 0.12}

# habitat -> P(predator | habitat)
PREDATORS: dict[str, Table] = {
    "savanna": {"lion": 0.50, "cheetah": 0.25, "leopard": 0.15, "hyena": 0.10},
    "kitchen": {"cat": 0.75, "dog": 0.25},
    "ocean": {"shark": 0.55, "orca": 0.25, "seal": 0.20},
    "forest": {"wolf": 0.35, "fox": 0.30, "owl": 0.20, "dog": 0.15},
    "arctic": {"bear": 0.45, "fox": 0.30, "orca": 0.15, "wolf": 0.10},
}

# habitat -> predator -> P(prey | predator, habitat)
PREY: dict[str, dict[str, Table]] = {
    "savanna": {
        "lion": {"zebra": 0.60, "gnu": 0.30, "gazelle": 0.10},
        "cheetah": {"gazelle": 0.55, "gnu": 0.25, "zebra": 0.20},
        "leopard": {"gazelle": 0.50, "warthog": 0.35, "gnu": 0.15},
        "hyena": {"gnu": 0.60, "warthog": 0.40},
    },
    "kitchen": {
        "cat": {"mouse": 0.70, "canary": 0.20, "spider": 0.10},
        "dog": {"rat": 0.60, "mouse": 0.40},
    },
    "ocean": {
        "shark": {"tuna": 0.45, "seal": 0.30, "squid": 0.25},
        "orca": {"seal": 0.60, "herring": 0.40},
        "seal": {"herring": 0.70, "squid": 0.30},
    },
    "forest": {
        "wolf": {"deer": 0.65, "rabbit": 0.35},
        "fox": {"rabbit": 0.60, "mouse": 0.40},
        "owl": {"mouse": 0.80, "rabbit": 0.20},
        "dog": {"squirrel": 0.55, "rabbit": 0.45},
    },
    "arctic": {
        "bear": {"seal": 0.60, "salmon": 0.40},
        "fox": {"lemming": 0.75, "hare": 0.25},
        "orca": {"narwhal": 0.60, "seal": 0.40},
        "wolf": {"caribou": 0.60, "hare": 0.40},
    },
}

# prey -> P(it forks to its own left); it forks to its right otherwise
FORKS: Table = {
    "zebra": 0.70,
    "gnu": 0.40,
    "gazelle": 0.25,
    "warthog": 0.60,
    "mouse": 0.35,
    "canary": 0.75,
    "spider": 0.55,
    "rat": 0.65,
    "tuna": 0.30,
    "seal": 0.45,
    "squid": 0.80,
    "herring": 0.60,
    "deer": 0.35,
    "rabbit": 0.70,
    "squirrel": 0.20,
    "salmon": 0.55,
    "lemming": 0.30,
    "hare": 0.65,
    "narwhal": 0.75,
    "caribou": 0.40,
}


class Species(NamedTuple):
    """How a species looks and sounds."""

    colour: tuple[int, int, int]  # red, green, blue in 0..255
    height_ratio: float  # of the picture's height
    call_hz: float


SPECIES: dict[str, Species] = {
    "orca": Species((24, 26, 34), 0.46, 80.0),
    "shark": Species((112, 128, 144), 0.42, 90.0),
    "narwhal": Species((150, 165, 190), 0.40, 102.0),
    "bear": Species((245, 240, 225), 0.44, 115.0),
    "lion": Species((214, 160, 58), 0.40, 130.0),
    "tuna": Species((46, 80, 140), 0.28, 147.0),
    "gnu": Species((92, 84, 80), 0.38, 166.0),
    "zebra": Species((226, 226, 232), 0.36, 188.0),
    "caribou": Species((142, 112, 86), 0.38, 212.0),
    "leopard": Species((230, 184, 70), 0.34, 240.0),
    "deer": Species((170, 106, 56), 0.36, 271.0),
    "seal": Species((84, 96, 104), 0.30, 306.0),
    "wolf": Species((120, 118, 122), 0.32, 346.0),
    "hyena": Species((164, 138, 100), 0.30, 391.0),
    "warthog": Species((110, 72, 56), 0.28, 442.0),
    "cheetah": Species((240, 200, 100), 0.34, 500.0),
    "gazelle": Species((204, 142, 92), 0.30, 565.0),
    "dog": Species((132, 84, 40), 0.28, 638.0),
    "squid": Species((222, 120, 136), 0.22, 721.0),
    "fox": Species((226, 100, 32), 0.26, 815.0),
    "salmon": Species((250, 140, 114), 0.22, 921.0),
    "cat": Species((60, 56, 58), 0.24, 1040.0),
    "hare": Species((252, 252, 252), 0.20, 1175.0),
    "owl": Species((156, 130, 92), 0.24, 1330.0),
    "rabbit": Species((180, 160, 140), 0.18, 1500.0),
    "herring": Species((176, 196, 214), 0.16, 1700.0),
    "squirrel": Species((178, 76, 34), 0.16, 1920.0),
    "rat": Species((96, 88, 92), 0.15, 2170.0),
    "lemming": Species((198, 150, 84), 0.13, 2450.0),
    "mouse": Species((172, 172, 176), 0.12, 2770.0),
    "canary": Species((255, 225, 40), 0.13, 3130.0),
    "spider": Species((20, 12, 8), 0.10, 3540.0),
}


class Event(NamedTuple):
    """What all modalities of one sample show."""

    habitat: str
    predator: str
    prey: str


def events() -> list[tuple[Event, float]]:
    """All events with their probabilities, which sum to 1; an event's number is its place in this list."""
    return [
        (Event(habitat, predator, prey), in_habitat * of_predator * of_prey)
        for habitat, in_habitat in HABITATS.items()
        for predator, of_predator in PREDATORS[habitat].items()
        for prey, of_prey in PREY[habitat][predator].items()
    ]


def uniform(seed: int, indices: Int[np.ndarray, " N"], name: str) -> Float[np.ndarray, " N"]:
    """One float64 number in [0, 1) for each sample of the world, by the name of the draw."""
    index = torch.from_numpy(indices.astype(np.int64))
    return Draw(seed, torch.zeros_like(index), index).uniform(name).double().numpy()


def event_numbers(seed: int, indices: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """The number of each sample's event, a pure function of (seed, index)."""
    bounds = np.cumsum([probability for _, probability in events()])
    bounds[-1] = 1.0  # a sum a rounding below 1 would leave the largest draws without an event
    return np.searchsorted(bounds, uniform(seed, indices, "savanna.event"), side="right")


def event(seed: int, index: int) -> Event:
    """The event of one sample, a pure function of (seed, index)."""
    return events()[int(event_numbers(seed, np.array([index]))[0])][0]


def labels(seed: int, indices: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """The number of each sample's habitat, in the order of `HABITATS`; for probes only."""
    habitats = list(HABITATS)
    habitat_of_event = np.array([habitats.index(each.habitat) for each, _ in events()])
    return habitat_of_event[event_numbers(seed, indices)]
