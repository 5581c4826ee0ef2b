"""Draw the built-in world: pictures with their captions (docs/savanna.png) and four chases (docs/savanna.gif)."""

import textwrap
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image, ImageDraw, ImageFont

from mmssl.savanna import captions, events, pictures, scenes, videos
from mmssl.savanna.scenes import Scenes, rows

DOCS = Path(__file__).parents[1] / "docs"
SEED = 0
COLUMNS, LINES = 5, 4
SIZE, GAP, TEXT = 192, 10, 46  # pixels of the sheet: a picture, between pictures, below a picture
FRAME_SIZE, FRAMES = 192, 24  # of the chases


def one_of_each(count: int) -> np.ndarray:
    """Samples of different events, the first of each, spread over all events."""
    found = scenes(SEED, np.arange(2_000))
    _, first = np.unique(found.event, return_index=True)
    return first[np.linspace(0, len(first) - 1, count).round().astype(int)]


def image(picture: np.ndarray) -> Image.Image:
    """A picture as Pillow's."""
    return Image.fromarray(np.ascontiguousarray(rearrange(picture, "c h w -> h w c")))


def sheet() -> Image.Image:
    """Pictures of many events, each above its caption."""
    indices = one_of_each(COLUMNS * LINES)
    drawn, texts = pictures(scenes(SEED, indices), SIZE), captions(SEED, indices)
    whole = Image.new("RGB", (COLUMNS * (SIZE + GAP) + GAP, LINES * (SIZE + TEXT + GAP) + GAP), (252, 250, 244))
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(13)
    for place, (picture, text) in enumerate(zip(drawn, texts)):
        x = GAP + place % COLUMNS * (SIZE + GAP)
        y = GAP + place // COLUMNS * (SIZE + TEXT + GAP)
        whole.paste(image(picture), (x, y))
        pen.multiline_text((x + 2, y + SIZE + 5), "\n".join(textwrap.wrap(text, 29)), (50, 44, 40), font, spacing=3)
    return whole


def one_of_each_habitat(found: Scenes, habitats: tuple[str, ...]) -> Scenes:
    """The first scene of each habitat."""
    home = np.array([each.habitat for each, _ in events()])[found.event]
    return rows(found, np.array([np.flatnonzero(home == habitat)[0] for habitat in habitats]))


def chases() -> list[Image.Image]:
    """The frames of some chases side by side."""
    found = one_of_each_habitat(scenes(SEED, np.arange(200)), ("savanna", "kitchen", "ocean", "arctic"))
    strip = rearrange(videos(found, FRAME_SIZE, FRAMES), "n f c h w -> f c h (n w)")
    frames = [image(frame) for frame in strip]
    palette = frames[FRAMES // 3].quantize(256, Image.Quantize.MEDIANCUT)  # one for all, so that nothing flickers
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def main() -> None:
    """Write both files."""
    sheet().save(DOCS / "savanna.png", optimize=True)
    first, *others = chases()
    first.save(
        DOCS / "savanna.gif", save_all=True, append_images=others, duration=2000 // FRAMES, loop=0, optimize=True
    )


if __name__ == "__main__":
    main()
