"""A picture file of any common kind becomes a rectangle of 8-bit red, green and blue."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO

import numpy as np
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from mmssl.modalities.bad_sample import BadSample, damage
from mmssl.modalities.region import Media, Slice, bytes_of, size_of
from mmssl.sections import sides

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_BYTES = 2**28  # of a file
MAX_PIXELS = 178_000_000  # of a file; Pillow itself refuses just above
MAX_DECODED_PIXELS = 40_000_000  # in memory, 4 bytes each in up to three copies: of a JPEG fewer than in its file
ROWS_AT_ONCE = 256  # that are scaled to 8 bits


@contextmanager
def opened(picture: Media) -> Iterator[BufferedReader | BytesIO]:
    """The bytes of a picture; BadSample where there are too many."""
    if size_of(picture) > MAX_BYTES:
        raise BadSample(f"more than {MAX_BYTES} bytes")
    with bytes_of(picture) as file:
        yield BytesIO(file.read(size_of(picture))) if isinstance(file, Slice) else file


def decode_image(picture: Media, size: int | tuple[int, int]) -> UInt8[np.ndarray, "3 H W"]:
    """The upright picture, cut around the centre and resized to a side, or (height, width); transparent is white.

    Of an animation the first picture. Raises BadSample.
    """
    with damage(), opened(picture) as file:
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:
            raise BadSample("not a picture") from None
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise BadSample(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS}")
            whole, longer = image.width * image.height, max(sides(size))
            image.draft(None, (2 * longer, 2 * longer))  # a JPEG is decoded no larger than needed
            # but all of a progressive one lies in memory before it is shrunk
            decoded = whole if "progressive" in image.info else image.width * image.height
            if decoded > MAX_DECODED_PIXELS:
                raise BadSample(f"{decoded} pixels to decode, more than {MAX_DECODED_PIXELS}")
            return centre(eight_bits(ImageOps.exif_transpose(image)), size)


def eight_bits(image: Image.Image) -> Image.Image:
    """The picture in mode RGB, or RGBA where a part of it may be transparent."""
    if image.mode.startswith("I;16"):
        return grey(image, 65535)
    if image.mode == "I":  # 16 bits where a file says 32
        return grey(image, 65535)
    if image.mode == "F":
        return grey(image, 1)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def grey(image: Image.Image, white: int) -> Image.Image:
    """A picture of brightness from 0 to `white` in 8 bits; BadSample where it lies outside."""
    values, found = np.asarray(image), np.empty((image.height, image.width), np.uint8)
    for start in range(0, image.height, ROWS_AT_ONCE):
        rows = values[start : start + ROWS_AT_ONCE].astype(np.float32) / white
        if not (np.isfinite(rows).all() and rows.min() >= 0 and rows.max() <= 1):
            raise BadSample("brightness outside of the range of its kind")
        found[start : start + ROWS_AT_ONCE] = rows * 255 + 0.5
    del values
    return Image.fromarray(found).convert("RGB")


def centre(image: Image.Image, size: int | tuple[int, int]) -> UInt8[np.ndarray, "3 H W"]:
    """The largest part of an RGB or RGBA picture that has the aspect of a square, or (height, width), around its centre
    and at that size: nothing is squashed. What is transparent becomes white.
    """
    height, width = sides(size)
    across = min(image.width, image.height * width / height)
    down = min(image.height, image.width * height / width)
    left, top = (image.width - across) / 2, (image.height - down) / 2
    if (across, down) == (width, height):
        image = image.crop((int(left), int(top), int(left) + width, int(top) + height))
    else:
        box = (left, top, left + across, top + down)
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return np.array(rearrange(np.asarray(image), "h w c -> c h w"))
