"""Which pictures, sounds and videos a source holds."""

import glob
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from mmssl.errors import DataError
from mmssl.modalities.region import Media, Region
from mmssl.modalities.remote import is_remote
from mmssl.random import hashed
from mmssl.sources import first_folder, identity

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".m4a"}
TEXT = ".txt"  # a caption
VIDEOS = {".mp4", ".webm", ".avi", ".mov", ".mkv", ".gif", ".m4v"}
COMPANIONS = {"audio": ("sound", SOUNDS), "text": ("caption", {TEXT})}  # modality -> what data.paired may hold of it

ByName = dict[str, Path]  # path below a folder, without the suffix -> file


class MediaFile(NamedTuple):
    """A file, its path below the source, its first sub-folder, what is read of it, and what belongs to it.

    Of what lies in an archive or a table `path` is only a name (`archive.tar:member`, `table.parquet:row`).
    """

    path: Path
    relative: str
    label: str
    kind: str  # "image", "audio" or "video"; "text" of a row of a manifest that names no file
    sound: Path | None  # of data.paired, or of a manifest
    is_paired: bool  # with sounds: then a sound track of its own does not count
    stored: str = ""  # the file of several in which it lies, absolute or relative to the cache; "": in its own
    offset: int = 0  # of its first byte there
    size: int = 0  # in bytes, there
    caption: str | Path = ""  # or the file that holds it
    picture: Path | None = None  # beside a video, of a manifest
    lost: tuple[str, ...] = ()  # files that a manifest names and that are not there
    version: str = ""  # of the remote shard in which it lies

    def identity(self) -> list:
        """What tells its content and that of its sound from another without reading them."""
        return [
            self.relative,
            self.kind,
            self.is_paired,
            *(self.stored, self.offset, self.size),
            *(str(self.caption), self.lost),
            *identity(self.on_disk()),
            *([self.version] if self.version else []),
        ]

    def media(self, cache: Path) -> Media:
        """What a decoder opens."""
        if not self.stored:
            return self.path
        return Region(self.stored if is_remote(self.stored) else cache / self.stored, self.offset, self.size)

    def on_disk(self) -> list[Path]:
        """The files that hold it and what belongs to it, but not one below the cache, whose name says what it was made
        of.
        """
        own = Path(self.stored) if self.stored else self.path
        is_elsewhere = self.kind == "text" or (self.stored and not own.is_absolute())  # a URL is not, either
        beside = (self.sound, self.picture, self.caption)
        return [*([] if is_elsewhere else [own]), *(path for path in beside if isinstance(path, Path))]


def kinds(modalities: tuple[str, ...], *, paired: bool) -> dict[str, str]:
    """Suffix -> what is read of such a file; no sounds where these are paired, so lie elsewhere. Videos alone are
    sounds, too, where only sound is asked for.
    """
    found: dict[str, str] = {}
    if "audio" in modalities and not paired:
        found |= dict.fromkeys(VIDEOS - {".gif"} if modalities == ("audio",) else (), "audio")
        found |= dict.fromkeys(SOUNDS, "audio")
    if "image" in modalities:
        found |= dict.fromkeys(IMAGES, "image")
    if "video" in modalities:
        found |= dict.fromkeys(VIDEOS, "video")  # a .gif, too
    return found


def found(source: str, modalities: tuple[str, ...], paired: str) -> list[MediaFile]:
    """The files of a folder (with all below it), glob or single file, by path, with what belongs to each; hidden ones
    are left out, those of other kinds are counted in a line on stderr. DataError where there is nothing to read.
    """
    root, paths = listed(source)
    elsewhere = companions(paired, modalities) if paired else {}
    suffixes = kinds(modalities, paired="audio" in elsewhere)
    files = [
        with_companions(path, root, kind, modalities, elsewhere)
        for path in paths
        if (kind := suffixes.get(path.suffix.lower())) is not None
    ]
    used = {path for file in files for path in (file.path, file.sound, file.caption)}
    counts = counted(path for path in paths if path not in used)
    if not files:
        containers = " or, of pictures, .parquet, .tar" if "image" in modalities else ""
        expected = f"expected {', '.join(sorted(suffixes))}{containers}"
        raise DataError(f"{source} has nothing to read ({counts or 'no file'}); {expected}")
    if counts:
        print(f"note: {source}: ignored {counts}", file=sys.stderr)
    return files


def with_companions(
    path: Path, root: Path, kind: str, modalities: tuple[str, ...], elsewhere: dict[str, ByName]
) -> MediaFile:
    """A file with its sound and its caption: of a modality that lies elsewhere only what lies there counts, else the
    caption of x.jpg is x.txt beside it.
    """
    relative, beside = path.relative_to(root), path.with_suffix(TEXT)
    name = relative.with_suffix("").as_posix()
    sound = elsewhere.get("audio", {}).get(name)
    if "text" in elsewhere:
        caption = elsewhere["text"].get(name, "")
    else:
        caption = beside if "text" in modalities and beside.is_file() else ""
    label = first_folder(relative)
    return MediaFile(path, relative.as_posix(), label, kind, sound, "audio" in elsewhere, caption=caption)


def counted(paths: Iterable[Path]) -> str:
    """How many files there are of each suffix."""
    counts = Counter(path.suffix.lower() for path in paths)
    return ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(counts.items()))


def listed(source: str) -> tuple[Path, list[Path]]:
    """(what the paths of files are relative to, the visible files of a source in order)."""
    root, paths = visible(source)
    return root, sorted({path for path in paths if path.is_file()})


def visible(source: str) -> tuple[Path, Iterator[Path]]:
    """(what paths are relative to, the visible files and folders of a source as they come)."""
    path = Path(source).expanduser()
    if path.is_file():
        return path.parent, iter([path])
    if path.is_dir():
        root, matches = path, path.rglob("*")
    elif glob.has_magic(source):
        root = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        matches = map(Path, glob.iglob(str(path), recursive=True))
    else:
        raise DataError(
            f"no such file or folder: {source}; expected a folder, file, glob, hub id owner/name or savanna"
        )
    return root, (path for path in matches if not is_hidden(path.relative_to(root)))


def is_hidden(path: PurePath) -> bool:
    """Whether a part of the path begins with a dot."""
    return any(part.startswith(".") and part != ".." for part in path.parts)


def companions(folder: str, modalities: tuple[str, ...]) -> dict[str, ByName]:
    """The sounds and the captions below a folder, of those that the modalities ask for the ones that are there. A sound
    belongs to what is seen, a caption to anything. DataError where nothing there can be read.
    """
    wanted = [name for name in COMPANIONS if name in modalities and {*modalities} - {name, "text"}]
    if not wanted:
        expected = "one that reads text, or sounds beside pictures or videos"
        raise DataError(f"data.paired {folder}: the task reads {' and '.join(modalities)}; expected {expected}")
    words, root = [COMPANIONS[name][0] for name in wanted], Path(folder).expanduser()
    if not root.is_dir():
        expected = " or ".join(f"{word}s" for word in words)
        raise DataError(f"data.paired: no such folder: {folder}; expected a folder of {expected}")
    _, paths = listed(str(root))
    there = {name: by_name(paths, root, COMPANIONS[name][1]) for name in wanted}
    if not any(there.values()):
        expected = ", ".join(sorted(suffix for name in wanted for suffix in COMPANIONS[name][1]))
        raise DataError(f"data.paired: {folder} has no {' or '.join(words)}; expected {expected}")
    return {name: files for name, files in there.items() if files}


def by_name(paths: list[Path], root: Path, suffixes: set[str]) -> ByName:
    """Those of the files with these suffixes, the first of each name."""
    chosen = [path for path in paths if path.suffix.lower() in suffixes]
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in reversed(chosen)}


def split_files(files: list[MediaFile], ratio: float, seed: int) -> tuple[list[MediaFile], list[MediaFile]]:
    """(files to train on, about `ratio` of them held out), decided by a hash of the path below the source.

    With a ratio above 0 and two files or more, neither side is empty; a single file is trained on.
    """
    if len(files) < 2:
        return files, []
    share = np.array([hashed(seed, "heldout", file.relative) / 2**63 for file in files])
    is_heldout = share < ratio
    if ratio > 0:
        if not is_heldout.any():
            is_heldout = share == share.min()
        if is_heldout.all():
            is_heldout = share < share.max()
    return [file for file, out in zip(files, is_heldout) if not out], [f for f, out in zip(files, is_heldout) if out]
