"""The bytes of one picture, sound or video: a file, or a part of a file of several, read in place."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Region(NamedTuple):
    """The bytes of one member in a file of several."""

    path: Path | str  # the URL of a shard that lies elsewhere
    offset: int
    size: int


Media = Path | Region


class Parts(io.RawIOBase):
    """A file of a known size of which nothing is read but what is asked for; `part` gives its bytes."""

    def __init__(self, size: int) -> None:
        self.size, self.position = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        if position < 0:
            raise ValueError(f"seek to byte {position}; expected 0 or more")
        self.position = position
        return position

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.size - self.position)
        if count <= 0:
            return 0
        found = self.part(self.position, count)
        buffer[: len(found)] = found
        self.position += len(found)
        return len(found)

    def part(self, start: int, count: int) -> bytes:
        """So many bytes from `start` on, fewer where there are no more."""
        raise TypeError(f"{type(self).__name__} defines no part")


class Slice(Parts):
    """A region of an open file as a file of its own."""

    def __init__(self, file: io.BufferedReader, offset: int, size: int) -> None:
        super().__init__(size)
        self.file, self.offset = file, offset

    def part(self, start: int, count: int) -> bytes:
        self.file.seek(self.offset + start)
        return self.file.read(count)


@contextmanager
def bytes_of(media: Media) -> Iterator[io.BufferedReader | Slice]:
    """A file that begins with the first byte of these media and ends with their last."""
    if isinstance(media, Path):
        with media.open("rb") as file:
            yield file
    elif isinstance(media.path, Path):
        with media.path.open("rb") as file:
            yield Slice(file, media.offset, media.size)
    else:
        from mmssl.modalities.remote import opened

        with opened(media.path, media.offset + media.size, media.size) as file:
            yield Slice(file, media.offset, media.size)


def size_of(media: Media) -> int:
    """In bytes, as the region says or the file system."""
    return media.stat().st_size if isinstance(media, Path) else media.size
