"""Films: clips side by side in frames that tell what a model was shown from what it says, as GIF and MP4."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from mmssl.folder import write_whole
from mmssl.report.figures import BLUE, INK, VERMILLION
from mmssl.report.pictures import GAP, LEAST, LINE, MARGIN, TEXT, enlarged, letters, with_note

FRAME = 4  # pixels: width of the frame around a clip
IN_A_ROW = 8  # clips, at most; more stand below

Clip = UInt8[Tensor, "L 3 _H _W"]


class Outline(NamedTuple):
    """How a clip is framed: told apart by colour, by dashes and by the word below."""

    colour: str
    dash: tuple[int, int]  # pixels on, pixels off


OUTLINES = {
    "seen": Outline(INK, (1, 0)),
    "hidden": Outline(BLUE, (4, 4)),  # what really came, which the model was not shown
    "predicted": Outline(VERMILLION, (14, 7)),
}


class Panel(NamedTuple):
    """A clip of a film; `kind`, one of OUTLINES, is what its frames are that the model was not shown whole."""

    title: str
    clip: Clip
    kind: str


def film(panels: Sequence[Panel], seen: Sequence[bool], note: str = "", least: int = LEAST) -> list[Image.Image]:
    """The frames of clips side by side; `seen` says which were shown to the model whole. `note` is said below."""
    lengths = [len(panel.clip) for panel in panels]
    assert len({*lengths}) == 1, f"clips of {lengths} frames"
    return [_moment(panels, time, seen[time], note, least) for time in range(lengths[0])]


def _moment(panels: Sequence[Panel], time: int, seen: bool, note: str, least: int) -> Image.Image:
    """One frame of a film, and a line at the bottom that tells the time."""
    widest = max(round(letters().getlength(word)) for word in (*(panel.title for panel in panels), *OUTLINES))
    rows = [panels[start : start + IN_A_ROW] for start in range(0, len(panels), IN_A_ROW)]
    drawn = [_side_by_side(row, time, seen, widest, least) for row in rows]
    canvas = Image.new("RGB", (drawn[0].width, sum(row.height for row in drawn)), "white")
    top = 0
    for row in drawn:
        canvas.paste(row, (0, top))
        top += row.height
    noted = with_note(canvas, note)
    progress = round((time + 1) / len(panels[0].clip) * noted.width)
    ImageDraw.Draw(noted).rectangle((0, noted.height - 3, progress - 1, noted.height), fill=INK)
    return noted


def _side_by_side(panels: Sequence[Panel], time: int, seen: bool, widest: int, least: int) -> Image.Image:
    """The pictures of one time: titles above, what each is below."""
    font, space = letters(), FRAME + 2
    pictures = [enlarged(panel.clip[time], least) for panel in panels]
    widths = [max(picture.width + 2 * space, widest) for picture in pictures]
    height = max(picture.height for picture in pictures) + 2 * space
    size = (sum(widths) + GAP * (len(widths) - 1) + 2 * MARGIN, 2 * MARGIN + 2 * LINE + height)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    left, top = MARGIN, MARGIN + LINE
    for picture, panel, width in zip(pictures, panels, widths, strict=True):
        kind = "seen" if seen else panel.kind
        middle = left + width // 2
        corner = (middle - picture.width // 2, top + space)
        canvas.paste(picture, corner)
        box = (corner[0] - space, top, corner[0] + picture.width + space, top + picture.height + 2 * space)
        _outline(draw, box, OUTLINES[kind])
        draw.text((middle, MARGIN + TEXT - 2), panel.title, INK, font, anchor="ms")
        draw.text((middle, top + height + TEXT + 4), kind, OUTLINES[kind].colour, font, anchor="ms")
        left += width + GAP
    return canvas


def save_gif(frames: Sequence[Image.Image], path: Path, fps: int | float) -> None:
    """Frames in an endless loop, of one palette so that nothing flickers; times are rounded to 10 ms, as GIF does."""
    width, height = frames[0].size
    strip = Image.new("RGB", (width, height * len(frames)))
    for number, frame in enumerate(frames):
        strip.paste(frame, (0, number * height))
    palette = strip.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    buffer = io.BytesIO()
    duration = max(20, 10 * round(100 / fps))
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=duration, loop=0, disposal=1)
    write_whole(path, buffer.getvalue())


def save_mp4(frames: Sequence[Image.Image], path: Path, fps: int | float) -> None:
    """A video that browsers play: H.264 where PyAV has it, else MPEG-4; an odd side gets a white line."""
    import av

    width, height = (side + side % 2 for side in frames[0].size)
    codec, options = ("libx264", {"crf": "16"}) if "libx264" in av.codecs_available else ("mpeg4", {"qscale": "3"})
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            even = Image.new("RGB", (width, height), "white")
            even.paste(frame)
            container.mux(stream.encode(av.VideoFrame.from_image(even)))
        container.mux(stream.encode())
    write_whole(path, buffer.getvalue())


def _outline(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], outline: Outline) -> None:
    """A frame inside the box, FRAME pixels wide, its sides dashed."""
    left, top, right, bottom = box
    on, off = outline.dash
    for x in range(left, right, on + off):
        end = min(x + on, right) - 1
        draw.rectangle((x, top, end, top + FRAME - 1), fill=outline.colour)
        draw.rectangle((x, bottom - FRAME, end, bottom - 1), fill=outline.colour)
    for y in range(top, bottom, on + off):
        end = min(y + on, bottom) - 1
        draw.rectangle((left, y, left + FRAME - 1, end), fill=outline.colour)
        draw.rectangle((right - FRAME, y, right - 1, end), fill=outline.colour)
