"""What a person looks at and listens to: sheets of pictures, films, spectrograms, sounds; whole files or none."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torch.nn import functional

from mmssl.errors import CheckpointError
from mmssl.folder import write_whole
from mmssl.report.figures import INK, RULE
from mmssl.spectrogram import DEVIATION_DECIBELS, FLOOR_DECIBELS, MEAN_DECIBELS

Picture = UInt8[Tensor, "3 _H _W"]

LEAST = 96  # pixels that the shorter side of a picture is shown with, at least
GAP, MARGIN, LINE, TEXT = 10, 12, 22, 14  # pixels: between pictures, around them, of a line of text, of its letters
SMALL_LINE, SMALL_TEXT = 15, 12  # pixels: of a line of small print, of its letters
WORDS_WIDTH = 160  # pixels of a text that is shown as a picture
DECIBELS = (FLOOR_DECIBELS, 0.0)  # from the darkest to the brightest colour of a spectrogram, the same in all of them
HATCH = ((92, 92, 92), (150, 150, 150))  # RGB of the stripes over what is hidden
DESCRIPTION = "Description"  # the keyword of a caption inside a PNG
MIME = {".png": "image/png", ".gif": "image/gif", ".wav": "audio/wav", ".mp4": "video/mp4"}


class Line(NamedTuple):
    """Small print below a picture; what is wider than its column is cut off."""

    text: str
    colour: str = INK


def sheet(
    rows: Sequence[Sequence[Picture]],
    columns: Sequence[str],
    least: int = LEAST,
    below: Sequence[Sequence[Sequence[Line]]] = (),
    names: Sequence[str] = (),
    note: str = "",
) -> Image.Image:
    """A grid of pictures under the titles of its columns, such as seen | hidden | predicted; a row may be shorter.

    `below` are the lines under each picture, row by row, `names` those of the rows, and `note` what is said below all.
    """
    shown = [[enlarged(picture, least) for picture in row] for row in rows]
    font = letters()
    widths = [
        max([round(font.getlength(title))] + [row[number].width for row in shown if number < len(row)])
        for number, title in enumerate(columns)
    ]
    heights = [max((picture.height for picture in row), default=0) for row in shown]
    print_height = max((len(lines) for row in below for lines in row), default=0) * SMALL_LINE
    beside = max((round(font.getlength(name)) + GAP for name in names), default=0)
    left = np.cumsum([MARGIN + beside] + [width + GAP for width in widths]).tolist()
    top = np.cumsum([MARGIN + LINE] + [height + print_height + GAP for height in heights]).tolist()
    canvas = Image.new("RGB", (left[-1] - GAP + MARGIN, top[-1] - GAP + MARGIN), "white")
    draw = ImageDraw.Draw(canvas)
    for number, title in enumerate(columns):
        draw.text((left[number] + widths[number] / 2, MARGIN + TEXT - 2), title, INK, font, anchor="ms")
    for y, height, row in zip(top, heights, shown):
        for x, width, picture in zip(left, widths, row):
            canvas.paste(picture, (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
    for y, height, name in zip(top, heights, names):
        draw.text((MARGIN + beside - GAP, y + height / 2), name, INK, font, anchor="rm")
    for y, height, row in zip(top, heights, below):
        for x, width, lines in zip(left, widths, row):
            _small_print(draw, x, y + height, width, lines)
    return with_note(canvas, note)


def with_note(picture: Image.Image, note: str) -> Image.Image:
    """A picture with small print below, in lines no wider than it; the same picture without a note."""
    if not note:
        return picture
    lines = _lines_of(note, picture.width - 2 * MARGIN)
    canvas = Image.new("RGB", (picture.width, picture.height + len(lines) * SMALL_LINE + MARGIN), "white")
    canvas.paste(picture)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((MARGIN, picture.height + number * SMALL_LINE), line, INK, letters(SMALL_TEXT))
    return canvas


def words_picture(text: str) -> Picture:
    """A text in small print within a frame, as a picture beside others."""
    lines = _lines_of(text, WORDS_WIDTH - 2 * MARGIN)
    canvas = Image.new("RGB", (WORDS_WIDTH, max(LEAST, len(lines) * SMALL_LINE + MARGIN)), "white")
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, canvas.width - 1, canvas.height - 1), outline=RULE)
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN // 2 + number * SMALL_LINE), line, INK, letters(SMALL_TEXT))
    return rearrange(torch.from_numpy(np.array(canvas)), "h w c -> c h w").contiguous()


def _lines_of(text: str, width: int) -> list[str]:
    """The words of a text in lines of small print that are no wider than `width`, but for a longer word."""
    font, lines = letters(SMALL_TEXT), [""]
    for word in text.encode(errors="replace").decode().split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _small_print(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, lines: Sequence[Line]) -> None:
    """Lines centred in a column, each cut off to its width."""
    font = letters(SMALL_TEXT)
    for number, (text, colour) in enumerate(lines):
        shown = text[:width].encode(errors="replace").decode()  # no letter is narrower than a pixel
        while len(shown) > 1 and font.getlength(shown) > width:
            shown = f"{shown.removesuffix('…')[:-1]}…"
        draw.text((left + width / 2, top + SMALL_LINE * (number + 1) - 2), shown, colour, font, anchor="ms")


def enlarged(picture: Picture, least: int = LEAST) -> Image.Image:
    """A picture with every pixel as a square, large enough for its shorter side to have `least` pixels."""
    image = Image.fromarray(rearrange(picture.cpu().numpy(), "c h w -> h w c"))
    factor = -(-least // min(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def shrunk(picture: UInt8[Tensor, "*L 3 _H _W"], factor: int) -> UInt8[Tensor, "*L 3 _h _w"]:
    """A picture, or each of a clip, of which each pixel is the mean of a square of factor x factor."""
    return functional.avg_pool2d(picture.float(), factor).round().to(torch.uint8)


def spectrogram_picture(
    logmel: Float[Tensor, "*C frames bands"], hidden: Bool[Tensor, "*C frames bands"] | None = None, zoom: int = 3
) -> Picture:
    """A spectrogram of `LogMel` in the colours of magma: low frequencies below, what is hidden hatched; the left
    channel of a stereo sound above the right one.

    Each number is a square of zoom x zoom pixels; DECIBELS is the scale of all spectrograms, so that they compare.
    """
    from matplotlib import colormaps

    low, high = ((decibels - MEAN_DECIBELS) / DEVIATION_DECIBELS for decibels in DECIBELS)
    level = ((logmel.detach().cpu().float().nan_to_num(low) - low) / (high - low)).clamp(0, 1).mul(255).round().long()
    table = torch.from_numpy(colormaps["magma"](np.arange(256), bytes=True)[:, :3].copy())
    picture = repeat(table[above(level)], "f t c -> c (f p) (t q)", p=zoom, q=zoom).contiguous()
    if hidden is not None:
        covered = repeat(above(hidden.cpu()), "f t -> (f p) (t q)", p=zoom, q=zoom)
        height, width = covered.shape
        stripe = (torch.arange(height)[:, None] + torch.arange(width)) % 8 < 3
        hatch = torch.where(stripe, *(torch.tensor(colour, dtype=torch.uint8)[:, None, None] for colour in HATCH))
        picture = torch.where(covered, hatch, picture)
    return picture


def above(spectrogram: Shaped[Tensor, "*C frames bands"]) -> Shaped[Tensor, "rows frames"]:
    """The channels of a spectrogram one above the other, in each the highest band first."""
    return rearrange(spectrogram.flip(-1), "... t f -> (... f) t")


def save_png(image: Image.Image, path: Path, caption: str = "") -> None:
    """A picture, with what a page says below its title; CheckpointError where it cannot be written."""
    buffer = io.BytesIO()
    about = PngInfo()
    if caption:
        about.add_text(DESCRIPTION, caption.encode(errors="replace").decode())
    image.save(buffer, "PNG", optimize=True, pnginfo=about)
    write_whole(path, buffer.getvalue())


def save_wav(waveform: Float[Tensor, "*C T"], path: Path, rate_hz: int) -> None:
    """A sound of 16 bits, mono or with channels; what exceeds [-1, 1] is cut off."""
    import soundfile

    buffer = io.BytesIO()
    samples = waveform.detach().cpu().float().nan_to_num(0.0).clamp(-1, 1).numpy().T
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


def letters(size: int = TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of all that is written, of a height in pixels."""
    return ImageFont.load_default(size)
