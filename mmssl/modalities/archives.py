"""The members of tar archives, found without extracting any, in bounded memory and time whatever a header says."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from mmssl.modalities.text_files import Binary

MAX_HEADER_BYTES = 2**16  # of a long name or of extended attributes: 4 kB are the longest path
EMPTY_BLOCK = bytes(tarfile.BLOCKSIZE)  # ends a whole archive
MAX_EMPTY_READS = 2  # at the end of an archive without its mark
# tarfile looks for numbers in a time that grows with the square of their length
LONG_NUMBER = re.compile(rb"[0-9]{64}")
SPARSE = re.compile(rb"[0-9] GNU\.sparse\.")  # a map of holes, which tarfile reads without a limit


class Member(NamedTuple):
    """A regular file of an archive: its name, which is no path here, and where its bytes lie."""

    name: PurePosixPath
    offset: int
    size: int


class Headers:
    """An open archive as `tarfile` sees it: it can read nothing but headers of a reasonable size."""

    def __init__(self, file: Binary) -> None:
        self.file, self.empty_reads = file, 0
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """The next `size` bytes; tarfile.ReadError where no honest header asks for them."""
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes; at most {MAX_HEADER_BYTES:,} are read")
        found = self.file.read(size) or b""
        self.empty_reads += not found and size > 0
        if self.empty_reads > MAX_EMPTY_READS:
            raise tarfile.ReadError("it ends within a header")
        if len(found) > tarfile.BLOCKSIZE and LONG_NUMBER.search(found):
            raise tarfile.ReadError("a number of 64 digits or more in a header")
        if SPARSE.search(found):
            raise tarfile.ReadError("a sparse member; expected whole ones")
        return found


def members(file: Binary) -> Iterator[Member]:
    """The regular files of an open, uncompressed archive in their order; links, devices and sparse files are left out.

    tarfile.TarError where it is damaged, also behind its last member; other errors of `tarfile` where it is hostile.
    """
    begun = -1
    with tarfile.open(fileobj=Headers(file), mode="r:", errors="backslashreplace") as archive:  # type: ignore[arg-type]
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep a kilobyte of each
            if member.offset <= begun or member.size < 0:
                raise tarfile.ReadError(
                    f"a member of {member.size:,} bytes at byte {member.offset:,}, behind {begun:,}"
                )
            begun = member.offset
            if member.isreg() and not member.issparse():
                yield Member(PurePosixPath(member.name), member.offset_data, member.size)
        file.seek(archive.offset)
        if file.read(len(EMPTY_BLOCK)) != EMPTY_BLOCK:
            raise tarfile.ReadError(f"it ends at byte {archive.offset:,} without the mark of the end")
