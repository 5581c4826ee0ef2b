"""The built-in world: text, picture, sound and video of the same event, made by a program: the truth is known."""

from mmssl.savanna.captions import caption, captions, entropy, floor, grammar, posterior, words
from mmssl.savanna.futures import Futures, futures
from mmssl.savanna.pictures import pictures, videos
from mmssl.savanna.scenes import SECONDS, Scenes, scenes
from mmssl.savanna.sounds import sounds
from mmssl.savanna.tables import (
    FORKS,
    HABITATS,
    PREDATORS,
    PREY,
    SPECIES,
    Event,
    Species,
    event,
    event_numbers,
    events,
    labels,
)

__all__ = [
    "FORKS",
    "HABITATS",
    "PREDATORS",
    "PREY",
    "SECONDS",
    "SPECIES",
    "Event",
    "Futures",
    "Scenes",
    "Species",
    "caption",
    "captions",
    "entropy",
    "event",
    "event_numbers",
    "events",
    "floor",
    "futures",
    "grammar",
    "labels",
    "pictures",
    "posterior",
    "scenes",
    "sounds",
    "videos",
    "words",
]
