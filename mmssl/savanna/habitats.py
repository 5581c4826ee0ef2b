"""The landscapes behind the animals: a horizon high up, and much ground to run on."""

from collections.abc import Callable
from functools import cache

import numpy as np
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image

from mmssl.random import hashed
from mmssl.savanna.drawing import WHITE, Canvas, Colour, Number, Point, darker, soft

WIDTH = 1.5  # of a landscape, in units of its height; a picture shows a square of it
HORIZON = 0.27  # from the top


def gradient(canvas: Canvas, top: Number, bottom: Number, colours: list[Colour]) -> None:
    """Bands from one height to another that fade from colour to colour."""
    rows = np.arange(round(top * canvas.pixels), round(bottom * canvas.pixels))
    place = np.linspace(0, len(colours) - 1, len(rows))
    faded = np.stack([np.interp(place, range(len(colours)), np.array(colours)[:, channel]) for channel in range(3)], 1)
    band = np.repeat(faded.round().astype(np.uint8)[:, None], canvas.image.width, axis=1)
    canvas.image.paste(Image.fromarray(band), (0, int(rows[0])))


def glow(canvas: Canvas, centre: Point, radii: Point, colour: Colour, opacity: float = 1.0) -> None:
    """A soft oval of light."""
    layer = Canvas(canvas.width, canvas.pixels)
    layer.oval(centre, radii, colour, opacity=opacity)
    canvas.lay(soft(layer.image, min(radii) * 0.35 * canvas.pixels, colour))


def tufts(canvas: Canvas, draws: np.random.Generator, count: int, colour: Colour, height: float) -> None:
    """Blades of grass, smaller where they are far away."""
    for _ in range(count):
        x, y = draws.uniform(0, canvas.width), HORIZON + 0.04 + (1 - HORIZON) * draws.uniform() ** 0.8
        near = height * (0.35 + y)
        shade = darker(colour, draws.uniform(0, 0.3))
        for lean in (-0.5, 0.0, 0.45):
            canvas.limb([(x, y), (x + lean * near, y - near)], [0.009 * (0.5 + y), 0.003], shade)


def savanna(canvas: Canvas, draws: np.random.Generator) -> None:
    """A warm sky with a low sun, acacias and dry grass."""
    gradient(canvas, 0, HORIZON, [(248, 150, 84), (255, 196, 112), (255, 226, 158)])
    glow(canvas, (0.95, 0.20), (0.16, 0.16), (255, 240, 190), 0.7)
    canvas.dot((0.95, 0.20), 0.075, (255, 246, 214))
    canvas.blob([(0, 0.29), (0.05, 0.23), (0.3, 0.21), (0.5, 0.26), (0.62, 0.30), (0, 0.30)], (206, 140, 96))
    gradient(canvas, HORIZON, 1, [(240, 214, 150), (236, 206, 136), (220, 184, 112)])
    for _ in range(9):
        place = (draws.uniform(0, canvas.width), draws.uniform(0.35, 0.98))
        glow(canvas, place, (0.22, 0.018), (250, 230, 176), 0.6)
    for x, size in ((0.28, 1.0), (0.70, 0.62), (1.27, 0.85)):
        acacia(canvas, (x, 0.315), 0.27 * size)
    tufts(canvas, draws, 55, (196, 170, 84), 0.035)


def acacia(canvas: Canvas, foot: Point, height: float) -> None:
    """A tree with a flat crown."""
    x, y = foot
    trunk = (96, 62, 40)
    for lean in (-0.30, -0.05, 0.28):
        canvas.limb([(x, y), (x + lean * height * 0.3, y - height * 0.5), (x + lean * height, y - height * 0.8)],
                    [0.05 * height + 0.006, 0.03 * height + 0.004, 0.004], trunk)  # fmt: skip
    for shift, up, wide in ((-0.30, 0.76, 0.34), (0.32, 0.78, 0.32), (0.0, 0.90, 0.46)):
        centre = (x + shift * height, y - up * height)
        canvas.oval(centre, (wide * height, 0.11 * height), (92, 112, 44))
        canvas.oval((centre[0], centre[1] - 0.03 * height), (wide * height * 0.85, 0.06 * height), (128, 146, 62))


def kitchen(canvas: Canvas, draws: np.random.Generator) -> None:
    """A wall with a window and a shelf above a floor of tiles."""
    gradient(canvas, 0, HORIZON, [(244, 230, 208), (236, 216, 190)])
    canvas.fill([(0.52, 0.0), (0.86, 0.0), (0.86, 0.185), (0.52, 0.185)], (250, 250, 246))
    for left in (0.535, 0.70):
        canvas.fill([(left, 0), (left + 0.145, 0), (left + 0.145, 0.17), (left, 0.17)], (160, 210, 240))
        canvas.oval((left + 0.07, 0.17), (0.07, 0.05), (150, 196, 120))
    for left in (0.06, 1.02):
        canvas.fill([(left, 0.165), (left + 0.38, 0.165), (left + 0.38, 0.18), (left, 0.18)], (150, 98, 60))
        for place, colour in enumerate(((214, 70, 60), (70, 130, 180), (240, 190, 70), (110, 160, 90))):
            x = left + 0.05 + 0.09 * place
            high = 0.05 + 0.02 * ((place * 3) % 4)
            canvas.fill([(x, 0.165 - high), (x + 0.055, 0.165 - high), (x + 0.055, 0.165), (x, 0.165)], colour)
            canvas.oval((x + 0.0275, 0.165 - high), (0.027, 0.012), darker(colour, 0.2))
    tiles(canvas)
    gradient(canvas, HORIZON - 0.02, HORIZON + 0.008, [(186, 128, 88), (150, 98, 64)])
    glow(canvas, (0.66, 0.55), (0.28, 0.10), WHITE, 0.35)


def tiles(canvas: Canvas) -> None:
    """A chequered floor seen from above its edge."""
    depth = [HORIZON + (1.02 - HORIZON) * (row / 6) ** 1.25 for row in range(7)]
    middle = WIDTH / 2
    for row in range(6):
        for column in range(-9, 9):
            near, far = 0.55 + 0.9 * depth[row + 1], 0.55 + 0.9 * depth[row]
            corners = [
                (middle + column * 0.17 * far, depth[row]), (middle + (column + 1) * 0.17 * far, depth[row]),
                (middle + (column + 1) * 0.17 * near, depth[row + 1]), (middle + column * 0.17 * near, depth[row + 1]),
            ]  # fmt: skip
            canvas.fill(corners, (226, 236, 234) if (row + column) % 2 else (156, 192, 196))


def ocean(canvas: Canvas, draws: np.random.Generator) -> None:
    """Blue water with rays of light, bubbles, seaweed and coral."""
    gradient(canvas, 0, 1, [(120, 206, 226), (52, 146, 200), (24, 92, 160), (14, 60, 120)])
    for x in (0.15, 0.5, 0.8, 1.2):
        layer = Canvas(WIDTH, canvas.pixels)
        layer.fill([(x, 0), (x + 0.10, 0), (x - 0.05, 0.8), (x - 0.25, 0.8)], (200, 244, 250), 0.22)
        canvas.lay(soft(layer.image, 0.025 * canvas.pixels, (200, 244, 250)))
    bottom = [(-0.1, 1.1), (-0.1, 0.93), (0.4, 0.90), (0.8, 0.95), (1.2, 0.90), (1.6, 0.94), (1.6, 1.1)]
    canvas.blob(bottom, (206, 190, 140))
    for _ in range(16):
        x, height = draws.uniform(0, WIDTH), draws.uniform(0.08, 0.24)
        shade = darker((40, 150, 96), draws.uniform(0, 0.4))
        stalk = [(x + 0.018 * (-1) ** joint, 0.97 - height * joint / 4) for joint in range(5)]
        canvas.limb(stalk, [0.028, 0.026, 0.024, 0.018, 0.006], shade)
    for x, colour in ((0.30, (244, 110, 120)), (0.92, (250, 160, 80)), (1.32, (214, 110, 190))):
        for branch in (-0.05, -0.02, 0.02, 0.05):
            canvas.limb([(x, 0.98), (x + branch, 0.91 - abs(0.03 - branch) * 0.4)], [0.03, 0.02], colour)
    for _ in range(26):
        centre, radius = (draws.uniform(0, WIDTH), draws.uniform(0.05, 0.9)), draws.uniform(0.006, 0.018)
        canvas.oval(centre, (radius, radius), (190, 232, 246), opacity=0.6)
        canvas.dot((centre[0] - radius * 0.3, centre[1] - radius * 0.3), radius * 0.3, WHITE)


def forest(canvas: Canvas, draws: np.random.Generator) -> None:
    """Trunks in the mist, leaves, ferns and a mossy ground."""
    gradient(canvas, 0, HORIZON + 0.02, [(84, 128, 90), (164, 196, 140)])
    for distance, shade in ((0, (116, 148, 108)), (1, (92, 78, 58)), (2, (70, 52, 40))):
        for step in range(7 - 2 * distance):
            x = (step + draws.uniform(0.2, 0.8)) * WIDTH / (7 - 2 * distance)
            wide = 0.03 + 0.022 * distance
            canvas.limb([(x, -0.05), (x, HORIZON - 0.02 + 0.035 * distance)], [wide, wide * 1.5], shade)
    gradient(canvas, HORIZON + 0.03, 1, [(152, 182, 104), (138, 172, 92), (112, 150, 76)])
    for distance in (1, 2):
        for step in range(7 - 2 * distance):
            glow(canvas, ((step + 0.5) * WIDTH / (7 - 2 * distance), HORIZON + 0.04), (0.20, 0.022), (122, 158, 84))
    for _ in range(60):
        centre = (draws.uniform(0, WIDTH), draws.uniform(-0.02, 0.07))
        green = darker((96, 158, 70), draws.uniform(0, 0.45))
        canvas.oval(centre, (0.06, 0.035), green, draws.uniform(-30, 30))
    for _ in range(8):
        glow(canvas, (draws.uniform(0, WIDTH), draws.uniform(0.4, 0.95)), (0.16, 0.03), (176, 204, 124), 0.6)
    for _ in range(50):
        centre = (draws.uniform(0, WIDTH), draws.uniform(0.36, 1.0))
        leaf = [(212, 130, 50), (190, 90, 44), (226, 170, 70)][int(draws.integers(3))]
        canvas.oval(centre, (0.014, 0.007), leaf, draws.uniform(0, 180))
    tufts(canvas, draws, 26, (98, 150, 70), 0.045)
    for x, y in ((0.22, 0.90), (0.85, 0.42), (1.30, 0.80)):
        canvas.limb([(x, y), (x, y - 0.035)], [0.018, 0.014], (244, 234, 214))
        cap = [(x - 0.04, y - 0.03), (x - 0.03, y - 0.07), (x + 0.03, y - 0.07), (x + 0.04, y - 0.03)]
        canvas.blob(cap, (214, 54, 48))
        canvas.dot((x, y - 0.052), 0.006, WHITE)


def arctic(canvas: Canvas, draws: np.random.Generator) -> None:
    """A night sky with an aurora over ice and snow."""
    gradient(canvas, 0, HORIZON, [(18, 26, 74), (44, 74, 132), (120, 160, 200)])
    for _ in range(40):
        canvas.dot((draws.uniform(0, WIDTH), draws.uniform(0, 0.18)), draws.uniform(0.001, 0.004), WHITE)
    for start, colour in ((0.0, (90, 250, 180)), (0.05, (150, 140, 250))):
        layer = Canvas(WIDTH, canvas.pixels)
        for step in range(30):
            x = step * WIDTH / 29
            y = 0.08 + start + 0.035 * np.sin(4 * x + 20 * start)
            layer.fill([(x, y - 0.08), (x + 0.06, y - 0.075), (x + 0.06, y + 0.035), (x, y + 0.03)], colour, 0.62)
        canvas.lay(soft(layer.image, 0.014 * canvas.pixels, colour))
    for x, high in ((0.1, 0.10), (0.42, 0.15), (0.75, 0.09), (1.05, 0.14), (1.4, 0.11)):
        peak = [(x - 0.03, 0.29 - high), (x + 0.04, 0.29 - high * 0.8)]
        canvas.fill([(x - 0.2, 0.29), *peak, (x + 0.2, 0.29)], (196, 216, 236))
        canvas.fill([*peak, (x + 0.2, 0.29), (x + 0.02, 0.29)], (150, 182, 214))
    gradient(canvas, HORIZON, 1, [(206, 226, 242), (190, 214, 236), (166, 198, 226)])
    for _ in range(14):
        place, wide = (draws.uniform(0, WIDTH), draws.uniform(0.34, 1.0)), draws.uniform(0.08, 0.24)
        glow(canvas, place, (wide, 0.022), (236, 245, 252), 0.8)
    for _ in range(7):
        x, y = draws.uniform(0, WIDTH), draws.uniform(0.38, 0.98)
        crack = [(x, y), (x + 0.05, y + 0.012), (x + 0.09, y - 0.006), (x + 0.16, y + 0.01)]
        canvas.limb(crack, [0.004, 0.007, 0.006, 0.003], (110, 160, 206))
    for _ in range(40):
        canvas.dot((draws.uniform(0, WIDTH), draws.uniform(0, 1)), draws.uniform(0.003, 0.007), WHITE)


LANDSCAPES: dict[str, Callable[[Canvas, np.random.Generator], None]] = {
    "savanna": savanna, "kitchen": kitchen, "ocean": ocean, "forest": forest, "arctic": arctic,
}  # fmt: skip


@cache
def landscape(habitat: str, size: int) -> UInt8[np.ndarray, "3 H W"]:
    """A habitat's landscape, `size` high and wider than a picture, the same in every process."""
    factor = max(2, -(-256 // size))
    canvas = Canvas(WIDTH, size * factor)
    LANDSCAPES[habitat](canvas, np.random.Generator(np.random.Philox(key=hashed("savanna", habitat))))
    whole = canvas.image.convert("RGB").crop((0, 0, int(WIDTH * size) * factor, size * factor))
    found = rearrange(np.array(whole.reduce(factor)), "h w c -> c h w")
    found.flags.writeable = False
    return found
