"""The pictures, films and sounds of a run as its page holds them: whole files inside it, or said to be left out."""

import base64
import io
import struct
import warnings
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmssl.errors import CheckpointError
from mmssl.report.names import numbered

if TYPE_CHECKING:
    from PIL import Image

MODALITIES = ("image", "video", "audio")  # in the order of the page; what has no name of a kind follows
SECTIONS = {  # of the page -> the first words of the names of what it shows
    "What it predicts": (*MODALITIES, ""),
    "What it finds alike": ("neighbours", "map"),
    "What it is shown in training": ("views",),
}
TITLES = {
    "image": "Image", "video": "Video", "audio": "Audio",
    "neighbours": "Nearest neighbours", "map": "Map of embeddings", "views": "Views",
}  # fmt: skip
KINDS = [kind for kinds in SECTIONS.values() for kind in kinds]
MAX_CAPTION = 1000  # characters
MOMENTS = 4  # of a moving picture, where it cannot move: on paper, or for readers who asked for less motion
SMALL = 256  # CSS pixels: a narrower picture is enlarged, each pixel to a square, to at least about that
MOST_PIXELS = 50_000_000  # of a picture or of a film's frame; it is the reader's browser that decodes them
MARKUP_BYTES = 2000  # of an exhibit, at most, without its contents and names
NAMED = 3  # of many broken files


class Item(NamedTuple):
    """One file: `kind` is picture, film or sound; width and height are CSS pixels, 0 of a sound."""

    kind: str
    name: str
    source: str  # a data URI, as is `still`: MOMENTS of a moving picture, "" of all others
    still: str = ""
    width: int = 0
    height: int = 0
    is_small: bool = False
    caption: str = ""  # what the file says of itself


class Exhibit(NamedTuple):
    """What is shown of one sample: a picture or a film, with the sounds that belong to it."""

    name: str  # of the files, without what tells them apart
    items: list[Item]

    @property
    def kind(self) -> str:
        """The first word of the name, "" where that is none of KINDS."""
        first = self.name.partition("-")[0]
        return first if first in KINDS else ""

    @property
    def title(self) -> str:
        """The name as it is read: `video-sample-3` is "Video, sample 3"."""
        if not self.kind:
            return self.name
        rest = self.name.partition("-")[2].replace("-", " ")
        return f"{TITLES[self.kind]}, {rest}" if rest else TITLES[self.kind]

    @property
    def caption(self) -> str:
        """What its first picture says of itself."""
        return next((item.caption for item in self.items if item.caption), "")

    @property
    def num_bytes(self) -> int:
        """Of the page, at most."""
        names = 20 * len(self.name) + sum(20 * len(item.name) for item in self.items)  # escaped, several times
        names += 20 * sum(len(item.caption) for item in self.items)
        return MARKUP_BYTES + names + sum(len(item.source) + len(item.still) + MARKUP_BYTES for item in self.items)


class Gallery(NamedTuple):
    """What a page shows of a run; `notes` are sentences about files that cannot be shown."""

    exhibits: list[Exhibit]
    num_left_out: int  # exhibits for which there was no room
    notes: list[str]

    @property
    def sections(self) -> list[tuple[str, list[tuple[str, list[Exhibit]]]]]:
        """Each section of the page, with its kinds and their exhibits; nothing that is empty."""
        found = {title: {kind: self.of(kind) for kind in kinds} for title, kinds in SECTIONS.items()}
        return [
            (title, [(kind, exhibits) for kind, exhibits in kinds.items() if exhibits])
            for title, kinds in found.items()
            if any(kinds.values())
        ]

    def of(self, *kinds: str) -> list[Exhibit]:
        """The exhibits of these kinds."""
        return [one for one in self.exhibits if one.kind in kinds]


EMPTY = Gallery([], 0, [])


def gallery(folder: Path, room: int) -> Gallery:
    """The pictures of a folder in at most `room` bytes of a page, kinds in turn; EMPTY without a folder."""
    try:
        paths = sorted(folder.iterdir(), key=lambda path: numbered(path.name)) if folder.exists() else []
    except OSError as error:
        return Gallery([], 0, [f"{folder.name} cannot be read: {error.strerror}."])
    planned = plan([path for path in paths if path.suffix in READERS and not path.name.startswith(".")])
    broken: list[str] = []
    shown: dict[str, Exhibit] = {}
    num_left_out = 0
    for name in in_turn(list(planned)):
        found = exhibit(name, planned[name], room, broken)
        if found is None:
            num_left_out += 1
        elif found.items:
            shown[name] = found
            room -= found.num_bytes
    exhibits = sorted(shown.values(), key=lambda one: (KINDS.index(one.kind), numbered(one.name)))
    return Gallery(exhibits, num_left_out, noted(folder, broken))


def plan(paths: list[Path]) -> dict[str, list[Path]]:
    """The files of each exhibit, in order: pictures and films, an MP4 only without a GIF of its name, then the sounds.

    A sound belongs to the picture whose name its own begins with: `audio-1-truth.wav` to `audio-1.png`.
    """
    moving = {path.stem for path in paths if path.suffix == ".gif"}
    planned: dict[str, list[Path]] = {}
    for path in paths:
        if path.suffix != ".wav" and not (path.suffix == ".mp4" and path.stem in moving):
            planned.setdefault(path.stem, []).append(path)
    for path in paths:
        if path.suffix == ".wav":
            words = path.stem.split("-")
            beginnings = ["-".join(words[:count]) for count in range(len(words), 0, -1)]
            planned.setdefault(next((name for name in beginnings if name in planned), path.stem), []).append(path)
    return planned


def in_turn(names: list[str]) -> Iterator[str]:
    """The first of each kind, the second of each, and so on: what is left out is left out of all alike."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.partition("-")[0], []).append(name)
    for one in zip_longest(*kinds.values()):
        yield from (name for name in one if name is not None)


def exhibit(name: str, paths: list[Path], room: int, broken: list[str]) -> Exhibit | None:
    """The files as one exhibit, without those that are broken, which are said; None where there is no room for it."""
    if sum(path.stat().st_size for path in paths if path.is_file()) * 4 / 3 > room:
        return None  # without reading it
    items = []
    for path in paths:
        if (found := item(path, path.stem.removeprefix(name).strip("-").replace("-", " "), broken)) is not None:
            items.append(found)
    complete = Exhibit(name, items)
    return complete if complete.num_bytes <= room else None


def item(path: Path, name: str, broken: list[str]) -> Item | None:
    """A file that a browser can show; None, with a reason, where it cannot."""
    from mmssl.report.pictures import data_uri

    try:
        if not path.is_file():
            raise FileNotFoundError(2, "not a file, or a link to nothing")
        return READERS[path.suffix](path, name, data_uri(path))
    except CheckpointError:
        broken.append(f"{path.name}: cannot be read")
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, RuntimeError, struct.error) as error:
        reason = getattr(error, "strerror", None) or "not a whole file of its kind"
        broken.append(f"{path.name}: {reason}")
    return None


def picture(path: Path, name: str, source: str) -> Item:
    """A PNG or GIF with all its frames decoded once, so that none is broken; a small one enlarged."""
    from PIL import Image

    from mmssl.report.pictures import DESCRIPTION

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path, formats=("PNG", "GIF"))
    with image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise OSError(27, f"{width} x {height} pixels are too many")
        count = getattr(image, "n_frames", 1)
        chosen = {round(moment * (count - 1) / (MOMENTS - 1)) for moment in range(MOMENTS)} if count > 1 else set()
        stills = []
        for number in range(count):
            image.seek(number)
            image.load()
            if number in chosen:
                stills.append(image.convert("RGB"))
        caption = str(image.info.get(DESCRIPTION, ""))[:MAX_CAPTION]
    factor = -(-SMALL // width)
    return Item("picture", name, source, below(stills), width * factor, height * factor, factor > 1, caption)


def below(frames: list["Image.Image"]) -> str:
    """The frames one below the other as a data URI; "" where there is none."""
    from PIL import Image

    if not frames:
        return ""
    width, height = frames[0].size
    column = Image.new("RGB", (width, height * len(frames)))
    for number, frame in enumerate(frames):
        column.paste(frame, (0, number * height))
    column.quantize(256, dither=Image.Dither.NONE).save(buffer := io.BytesIO(), "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def film(path: Path, name: str, source: str) -> Item:
    """An MP4 whose first frame can be decoded."""
    import av

    with av.open(str(path)) as container:
        frame = next(container.decode(video=0), None)
    if frame is None or frame.width * frame.height > MOST_PIXELS:
        raise ValueError("no picture in it")
    return Item("film", name, source, width=frame.width, height=frame.height)


def sound(path: Path, name: str, source: str) -> Item:
    """A WAV that holds samples."""
    import soundfile

    with soundfile.SoundFile(str(path)) as found:
        if found.format not in ("WAV", "WAVEX") or not found.frames:
            raise ValueError("no sound in it")
    return Item("sound", name or "sound", source)


READERS = {".png": picture, ".gif": picture, ".mp4": film, ".wav": sound}


def noted(folder: Path, broken: list[str]) -> list[str]:
    """The broken files in sentences, the first ones by name."""
    notes = [f"{folder.name}/{one}; left out." for one in broken[:NAMED]]
    more = len(broken) - NAMED
    return notes + ([f"{more} more of {folder.name} cannot be shown; left out."] if more > 0 else [])
