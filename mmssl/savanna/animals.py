"""Every species by its name: measures, marks and the pictures of its stride."""

from functools import partial

from PIL import Image

from mmssl.savanna.bodies import PLAN_OF, PLANS
from mmssl.savanna.drawing import Canvas, Colour, darker, soft
from mmssl.savanna.flyers import canary, owl, spider
from mmssl.savanna.heads import head
from mmssl.savanna.quadrupeds import Quadruped, legs, posed, trunk
from mmssl.savanna.swimmers import FISH, fish, narwhal, orca, seal, squid
from mmssl.savanna.tables import SPECIES
from mmssl.savanna.tails import TAILS

YELLOW: Colour = (250, 220, 70)
POSES = 6  # of one stride

# the large animals first; measures in units of the height of the animal's box
QUADRUPEDS: dict[str, Quadruped] = {
    "lion": Quadruped(0.28, 0.32, 0.56, 0.150, (0.17, 0.14), 0.14, 0, "tuft",
        (), ("mane", "round_ears"), ()),
    "cheetah": Quadruped(0.38, 0.22, 0.64, 0.105, (0.14, 0.12), 0.09, 0, "curved",
        ("spots",), ("round_ears",), ("tears",)),
    "leopard": Quadruped(0.29, 0.28, 0.62, 0.130, (0.16, 0.10), 0.11, 0, "curved",
        ("rosettes",), ("round_ears",), ("whiskers",)),
    "cat": Quadruped(0.27, 0.26, 0.54, 0.170, (0.16, 0.14), 0.10, 0, "upright",
        (), ("pointed_ears",), ("whiskers",), eye=YELLOW, belly=0.2),
    "hyena": Quadruped(0.34, 0.28, 0.58, 0.135, (0.18, 0.12), 0.15, 0.07, "bushy",
        ("spots",), ("crest", "round_ears"), ("dark_snout",), socks=True),
    "dog": Quadruped(0.30, 0.27, 0.54, 0.155, (0.16, 0.16), 0.16, 0, "upright",
        (), (), ("floppy_ear", "collar")),
    "wolf": Quadruped(0.32, 0.27, 0.58, 0.135, (0.18, 0.14), 0.17, 0, "bushy",
        ("saddle",), ("ruff", "pointed_ears"), ("cheek",), eye=YELLOW),
    "fox": Quadruped(0.27, 0.24, 0.50, 0.140, (0.16, 0.12), 0.16, 0, "brush",
        (), ("ruff", "pointed_ears"), ("cheek",), True, belly=0.9),
    "bear": Quadruped(0.24, 0.42, 0.56, 0.155, (0.22, 0.10), 0.16, 0.02, "stub",
        (), ("round_ears",), (), belly=0.7),
    "zebra": Quadruped(0.35, 0.28, 0.54, 0.110, (0.15, 0.22), 0.16, 0, "tuft",
        ("stripes",), ("crest", "side_ears"), ("stripes_on_face", "dark_snout"), eye=(250, 250, 250)),
    "gnu": Quadruped(0.33, 0.30, 0.52, 0.120, (0.19, 0.10), 0.16, 0.05, "tuft",
        (), ("beard", "crest", "curved_horns"), ("dark_snout",)),
    "gazelle": Quadruped(0.34, 0.20, 0.50, 0.095, (0.15, 0.20), 0.12, 0, "stub",
        ("flank",), ("side_ears", "swept_horns"), (), belly=0.9),
    "deer": Quadruped(0.31, 0.23, 0.52, 0.100, (0.16, 0.16), 0.13, 0, "ball",
        ("fawn",), ("side_ears", "antlers"), ()),
    "caribou": Quadruped(0.29, 0.26, 0.54, 0.105, (0.17, 0.15), 0.14, 0, "ball",
        (), ("ruff", "side_ears", "antlers"), ()),
    "warthog": Quadruped(0.22, 0.36, 0.50, 0.165, (0.19, 0.02), 0.20, 0, "flag",
        (), ("crest", "side_ears"), ("tusks",), belly=0.2),
    "rabbit": Quadruped(0.18, 0.36, 0.36, 0.170, (0.19, 0.12), 0.10, 0.03, "ball",
        (), ("long_ears",), ("whiskers",)),
    "hare": Quadruped(0.20, 0.32, 0.38, 0.150, (0.20, 0.12), 0.10, 0.0, "ball",
        (), ("long_ears", "black_tips"), ()),
    "squirrel": Quadruped(0.18, 0.32, 0.40, 0.165, (0.22, 0.16), 0.11, 0.03, "curl",
        (), ("pointed_ears",), (), belly=0.85),
    "rat": Quadruped(0.15, 0.34, 0.52, 0.160, (0.20, 0.04), 0.20, 0.0, "string",
        (), ("big_ears",), ("whiskers",)),
    "lemming": Quadruped(0.13, 0.48, 0.40, 0.190, (0.24, 0.02), 0.10, 0.0, "stub",
        ("saddle",), ("round_ears",), ("whiskers",)),
    "mouse": Quadruped(0.14, 0.38, 0.36, 0.185, (0.22, 0.06), 0.17, 0.0, "string",
        (), ("big_ears",), ("whiskers",)),
}  # fmt: skip


def quadruped(canvas: Canvas, name: str, colour: Colour, phase: float) -> None:
    """A galloping animal: what is far away first."""
    pose = posed(QUADRUPEDS[name], colour, phase)
    legs(canvas, pose, is_near=False)
    TAILS[pose.look.tail](canvas, pose)
    trunk(canvas, pose)
    legs(canvas, pose, is_near=True)
    head(canvas, pose)


DRAW = {
    **{name: partial(quadruped, name=name) for name in QUADRUPEDS},
    **{name: partial(fish, name=name) for name in FISH},
    "orca": orca, "narwhal": narwhal, "seal": seal, "squid": squid, "owl": owl, "canary": canary, "spider": spider,
}  # fmt: skip


def drawn(animal: str, pose: int, pixels: int, shadow: tuple[Colour, float] | None) -> Image.Image:
    """An animal in its box, `pixels` high, heading to the right, above its shadow if there is one."""
    plan, colour = PLANS[PLAN_OF[animal]], SPECIES[animal].colour
    canvas = Canvas(plan.width / plan.height, pixels)
    DRAW[animal](canvas, colour=colour, phase=pose / POSES)
    figure = canvas.outlined(0.014, darker(colour, 0.62))
    if shadow is None:
        return figure
    below = Canvas(plan.width / plan.height, pixels)
    below.oval((below.width / 2, 0.93), (below.width * 0.38, 0.05), shadow[0], opacity=shadow[1])
    return Image.alpha_composite(soft(below.image, 0.02 * pixels, shadow[0]), figure)
