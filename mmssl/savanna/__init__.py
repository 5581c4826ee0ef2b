"""The built-in world: text, picture, sound and video of the same event, made by a program: the truth is known."""

from mmssl.savanna.captions import caption, captions, entropy, floor, grammar, posterior, words
from mmssl.savanna.tables import (
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
    "HABITATS",
    "PREDATORS",
    "PREY",
    "SPECIES",
    "Event",
    "Species",
    "caption",
    "captions",
    "entropy",
    "event",
    "event_numbers",
    "events",
    "floor",
    "grammar",
    "labels",
    "posterior",
    "words",
]
