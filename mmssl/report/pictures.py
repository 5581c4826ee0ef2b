"""What a person looks at and listens to: sheets of pictures, films, spectrograms, sounds; whole files or none."""

import base64
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torch.nn import functional

from mmssl.errors import CheckpointError
from mmssl.folder import write_whole
from mmssl.report.figures import BLUE, INK, VERMILLION
from mmssl.spectrogram import DEVIATION_DECIBELS, FLOOR_DECIBELS, MEAN_DECIBELS

Picture = UInt8[Tensor, "3 _H _W"]
Clip = UInt8[Tensor, "L 3 _H _W"]

LEAST = 96  # pixels that the shorter side of a picture is shown with, at least
GAP, MARGIN, LINE, TEXT = 10, 12, 22, 14  # pixels: between pictures, around them, of a line of text, of its letters
SMALL_LINE, SMALL_TEXT = 15, 12  # pixels: of a line of small print, of its letters
FRAME = 4  # pixels: width of the frame around a clip
DECIBELS = (FLOOR_DECIBELS, 0.0)  # from the darkest to the brightest colour of a spectrogram, the same in all of them
HATCH = ((92, 92, 92), (150, 150, 150))  # RGB of the stripes over what is hidden
DESCRIPTION = "Description"  # the keyword of a caption inside a PNG
MIME = {".png": "image/png", ".gif": "image/gif", ".wav": "audio/wav", ".mp4": "video/mp4"}


class Line(NamedTuple):
    """Small print below a picture; what is wider than its column is cut off."""

    text: str
    colour: str = INK


class Outline(NamedTuple):
    """How a clip is framed: told apart by colour, by dashes and by the word below."""

    colour: str
    dash: tuple[int, int]  # pixels on, pixels off


OUTLINES = {
    "seen": Outline(INK, (1, 0)),
    "hidden": Outline(BLUE, (4, 4)),  # what really came, which the model was not shown
    "predicted": Outline(VERMILLION, (14, 7)),
}


def sheet(
    rows: Sequence[Sequence[Picture]],
    columns: Sequence[str],
    least: int = LEAST,
    below: Sequence[Sequence[Sequence[Line]]] = (),
) -> Image.Image:
    """A grid of pictures under the titles of its columns, such as seen | hidden | predicted; a row may be shorter.

    `below` are the lines under each picture, row by row.
    """
    shown = [[enlarged(picture, least) for picture in row] for row in rows]
    font = _font()
    widths = [
        max([round(font.getlength(title))] + [row[number].width for row in shown if number < len(row)])
        for number, title in enumerate(columns)
    ]
    heights = [max((picture.height for picture in row), default=0) for row in shown]
    print_height = max((len(lines) for row in below for lines in row), default=0) * SMALL_LINE
    left = np.cumsum([MARGIN] + [width + GAP for width in widths]).tolist()
    top = np.cumsum([MARGIN + LINE] + [height + print_height + GAP for height in heights]).tolist()
    canvas = Image.new("RGB", (left[-1] - GAP + MARGIN, top[-1] - GAP + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    for number, title in enumerate(columns):
        draw.text((left[number] + widths[number] / 2, MARGIN + TEXT - 2), title, INK, font, anchor="ms")
    for y, height, row in zip(top, heights, shown):
        for x, width, picture in zip(left, widths, row):
            canvas.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
    for y, height, row in zip(top, heights, below):
        for x, width, lines in zip(left, widths, row):
            _small_print(draw, x, y + height, width, lines)
    return canvas


def _small_print(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, lines: Sequence[Line]) -> None:
    """Lines centred in a column, each cut off to its width."""
    font = _font(SMALL_TEXT)
    for number, (text, colour) in enumerate(lines):
        shown = text[:width].encode(errors="replace").decode()  # no letter is narrower than a pixel
        while len(shown) > 1 and font.getlength(shown) > width:
            shown = f"{shown.removesuffix('…')[:-1]}…"
        draw.text((left + width / 2, top + SMALL_LINE * (number + 1) - 2), shown, colour, font, anchor="ms")


def film(
    clips: Sequence[Clip], seen: int, titles: Sequence[str], *, num_true: int = 0, least: int = LEAST
) -> list[Image.Image]:
    """The frames of K clips side by side; the first `seen` of them were shown to the model.

    After these, a clip is framed as predicted, but the first `num_true` clips as hidden: they are what really came.
    """
    length = len(clips[0])
    assert all(len(clip) == length for clip in clips), f"clips of {[len(clip) for clip in clips]} frames"
    kinds = [["seen" if time < seen else "hidden" if number < num_true else "predicted" for time in range(length)]
             for number in range(len(clips))]  # fmt: skip
    return [
        _side_by_side(
            [enlarged(clip[time], least) for clip in clips], titles, [kind[time] for kind in kinds], (time + 1) / length
        )
        for time in range(length)
    ]


def enlarged(picture: Picture, least: int = LEAST) -> Image.Image:
    """A picture with every pixel as a square, large enough for its shorter side to have `least` pixels."""
    image = Image.fromarray(rearrange(picture.cpu().numpy(), "c h w -> h w c"))
    factor = -(-least // min(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def shrunk(picture: Picture, factor: int) -> Picture:
    """A picture of which each pixel is the mean of a square of factor x factor."""
    return functional.avg_pool2d(picture.float(), factor).round().to(torch.uint8)


def spectrogram_picture(
    logmel: Float[Tensor, "frames bands"], hidden: Bool[Tensor, "frames bands"] | None = None, zoom: int = 3
) -> Picture:
    """A spectrogram of `LogMel` in the colours of magma: low frequencies below, what is hidden hatched.

    Each number is a square of zoom x zoom pixels; DECIBELS is the scale of all spectrograms, so that they compare.
    """
    from matplotlib import colormaps

    low, high = ((decibels - MEAN_DECIBELS) / DEVIATION_DECIBELS for decibels in DECIBELS)
    level = ((logmel.detach().cpu().float().nan_to_num(low) - low) / (high - low)).clamp(0, 1).mul(255).round().long()
    table = torch.from_numpy(colormaps["magma"](np.arange(256), bytes=True)[:, :3].copy())
    picture = repeat(table[level].flip(1), "t f c -> c (f p) (t q)", p=zoom, q=zoom).contiguous()
    if hidden is not None:
        covered = repeat(hidden.cpu().flip(1), "t f -> (f p) (t q)", p=zoom, q=zoom)
        height, width = covered.shape
        stripe = (torch.arange(height)[:, None] + torch.arange(width)) % 8 < 3
        hatch = torch.where(stripe, *(torch.tensor(colour, dtype=torch.uint8)[:, None, None] for colour in HATCH))
        picture = torch.where(covered, hatch, picture)
    return picture


def save_png(image: Image.Image, path: Path, caption: str = "") -> None:
    """A picture, with what a page says below its title; CheckpointError where it cannot be written."""
    buffer = io.BytesIO()
    about = PngInfo()
    if caption:
        about.add_text(DESCRIPTION, caption.encode(errors="replace").decode())
    image.save(buffer, "PNG", optimize=True, pnginfo=about)
    write_whole(path, buffer.getvalue())


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


def save_wav(waveform: Float[Tensor, " T"], path: Path, rate_hz: int) -> None:
    """A mono sound of 16 bits; what exceeds [-1, 1] is cut off."""
    import soundfile

    buffer = io.BytesIO()
    samples = waveform.detach().cpu().float().nan_to_num(0.0).clamp(-1, 1).numpy()
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")
    write_whole(path, buffer.getvalue())


def data_uri(path: Path) -> str:
    """A file as an address that holds it, for a page without external requests; CheckpointError if it is unreadable."""
    assert path.suffix in MIME, f"{path}: expected one of {', '.join(MIME)}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; expected a file that can be read") from error
    return f"data:{MIME[path.suffix]};base64,{base64.b64encode(content).decode()}"


def _font(size: int = TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _side_by_side(
    pictures: Sequence[Image.Image], titles: Sequence[str], kinds: Sequence[str], progress: float
) -> Image.Image:
    """One frame of a film: titles above, what each picture is below, and a line that tells the time."""
    font, space = _font(), FRAME + 2
    words = [*titles, *OUTLINES]
    least = max(round(font.getlength(word)) for word in words)
    widths = [max(picture.width + 2 * space, least) for picture in pictures]
    height = max(picture.height for picture in pictures) + 2 * space
    size = (sum(widths) + GAP * (len(widths) - 1) + 2 * MARGIN, 2 * MARGIN + 2 * LINE + height)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    left, top = MARGIN, MARGIN + LINE
    for picture, title, kind, width in zip(pictures, titles, kinds, widths, strict=True):
        middle = left + width // 2
        corner = (middle - picture.width // 2, top + space)
        canvas.paste(picture, corner)
        box = (corner[0] - space, top, corner[0] + picture.width + space, top + picture.height + 2 * space)
        _outline(draw, box, OUTLINES[kind])
        draw.text((middle, MARGIN + TEXT - 2), title, INK, font, anchor="ms")
        draw.text((middle, top + height + TEXT + 4), kind, OUTLINES[kind].colour, font, anchor="ms")
        left += width + GAP
    draw.rectangle((0, size[1] - 3, round(progress * size[0]) - 1, size[1]), fill=INK)
    return canvas


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
