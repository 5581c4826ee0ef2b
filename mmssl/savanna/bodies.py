"""The body plans of the species: the box that an animal is drawn in and where its mouth is."""

from typing import NamedTuple

from mmssl.savanna.tables import SPECIES


class Plan(NamedTuple):
    """A kind of body; its box is given in units of the species' size, an animal heads to the right."""

    species: tuple[str, ...]
    width: float
    height: float
    mouth: tuple[float, float]  # from the left and from the top, as parts of the box
    is_swimmer: bool = False


PLANS: dict[str, Plan] = {
    "cat": Plan(("lion", "cheetah", "leopard", "cat"), 1.40, 1.0, (0.95, 0.40)),
    "dog": Plan(("hyena", "dog", "fox", "wolf", "bear"), 1.40, 1.0, (0.97, 0.42)),
    "hoofed": Plan(("zebra", "gnu", "gazelle", "deer", "caribou", "warthog"), 1.45, 1.1, (0.97, 0.42)),
    "rodent": Plan(("mouse", "rat", "lemming", "squirrel", "rabbit", "hare"), 1.40, 1.0, (0.95, 0.62)),
    "bird": Plan(("owl", "canary"), 1.25, 1.1, (0.95, 0.40)),
    "fish": Plan(("shark", "tuna", "salmon", "herring"), 1.50, 0.8, (0.97, 0.52), True),
    "whale": Plan(("orca", "narwhal"), 1.50, 0.8, (0.85, 0.52), True),
    "seal": Plan(("seal",), 1.50, 0.8, (0.97, 0.35)),
    "squid": Plan(("squid",), 1.50, 0.8, (0.97, 0.45), True),
    "spider": Plan(("spider",), 1.30, 1.0, (0.90, 0.55)),
}

PLAN_OF: dict[str, str] = {animal: name for name, plan in PLANS.items() for animal in plan.species}


def extent(animal: str) -> tuple[float, float]:
    """Width and height of an animal's box, as parts of the picture.

    The true ratios are compressed, so that the smallest is visible and the two largest have room to run.
    """
    size = 0.14 + 0.38 * SPECIES[animal].height_ratio
    plan = PLANS[PLAN_OF[animal]]
    return size * plan.width, size * plan.height
