"""Raw text files -> documents, in bounded memory and with an exact account of bytes that are not text."""

import codecs
import re
from collections.abc import Callable, Iterator
from io import BufferedIOBase, IncrementalNewlineDecoder
from pathlib import Path
from typing import Literal

from mmssl.errors import DataError

BLOCK_BYTES = 1 << 20
MAX_CHARACTERS = 100_000
MAX_LINE_CHARACTERS = 2**24  # of a table

Unit = Literal["line", "paragraph", "file"]
Invalid = Literal["error", "replace"]
Binary = BufferedIOBase  # not IO[bytes], of which a check at run time knows files with a mode alone
Report = Callable[[dict], None]

SEPARATORS = {"line": re.compile(r"\n"), "paragraph": re.compile(r"\n\s*\n"), "file": None}


def read_documents(path: Path, unit: Unit, invalid: Invalid, report: Report) -> Iterator[str]:
    """The documents of one UTF-8 file, without white space at their ends.

    `report` receives {"path", "offset", "count", "reason"} once for a file with replaced bytes (`offset` of the first
    byte, `count` of replacements) and once for a file without any document. Raises DataError: an unreadable file, and
    with `invalid` = "error" the first byte that is not text.
    """
    try:
        with path.open("rb") as stream:
            yield from documents_in(stream, str(path), unit, invalid, report)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; expected a readable text file") from None


def documents_in(stream: Binary, name: str, unit: Unit, invalid: Invalid, report: Report) -> Iterator[str]:
    """The documents of an open binary stream; `name` stands for its path in reports and errors."""
    is_empty = True
    for document in split_documents(decoded_blocks(stream, name, invalid, report), unit):
        is_empty = False
        yield document
    if is_empty:
        report({"path": name, "offset": 0, "count": 0, "reason": "empty"})


def decoded_blocks(stream: Binary, name: str, invalid: Invalid, report: Report) -> Iterator[str]:
    """The text of a stream block by block: UTF-8 without byte order mark, line ends as LF, no NUL."""
    newlines = IncrementalNewlineDecoder(None, translate=True)
    offset, first, count, reason = 0, 0, 0, ""
    data, is_last = b"", False
    try:
        while not is_last:
            block = stream.read(BLOCK_BYTES)
            is_last = not block
            data += block
            if offset == 0 and not is_last and len(data) < len(codecs.BOM_UTF8):
                continue
            if offset == 0 and data.startswith(codecs.BOM_UTF8):
                offset, data = len(codecs.BOM_UTF8), data[len(codecs.BOM_UTF8) :]
            position, what = first_damage(data, is_last)
            if what and invalid == "error":
                shown = f"{name}: byte {offset + position} is not UTF-8 text (0x{data[position]:02x})"
                raise DataError(f"{shown}; expected UTF-8, or set data.invalid_text=replace")
            if what and not reason:
                first, reason = offset + position, what
            text, used = codecs.utf_8_decode(data, "replace", is_last)
            if what:
                text = text.replace("\0", "\ufffd")
                count += text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
            offset, data = offset + used, data[used:]
            yield newlines.decode(text, is_last)
    finally:
        if count:
            report({"path": name, "offset": first, "count": count, "reason": reason})


def first_damage(data: bytes, is_last: bool) -> tuple[int, str]:
    """Where the first byte lies that is not text, and what is wrong with it ("" if nothing is)."""
    end, reason = len(data), ""
    try:
        codecs.utf_8_decode(data, "strict", is_last)
    except UnicodeDecodeError as error:
        end, reason = error.start, "not UTF-8"
    position = data.find(b"\0", 0, end)
    return (position, "NUL byte") if position >= 0 else (end, reason)


def split_documents(blocks: Iterator[str], unit: Unit) -> Iterator[str]:
    """Documents from text in blocks of any size; holds one block and MAX_CHARACTERS of an unfinished document."""
    separator = SEPARATORS[unit]
    rest = ""
    for block in blocks:
        rest, start = (rest + block).lstrip(), 0
        for end in separator.finditer(rest) if separator else ():
            yield from pieces(rest[start : end.start()])
            start = end.end()
        rest = rest[start:].lstrip()
        while len(rest) > MAX_CHARACTERS:
            piece, rest = cut(rest)
            yield piece
    yield from pieces(rest)


def pieces(document: str) -> Iterator[str]:
    """A document in pieces of at most MAX_CHARACTERS; white space at the ends and at the cuts is left out."""
    rest = document.strip()
    while len(rest) > MAX_CHARACTERS:
        piece, rest = cut(rest)
        yield piece
    if rest:
        yield rest


def cut(document: str) -> tuple[str, str]:
    """The first piece and the rest, cut at the last white space within reach, else amid a word."""
    head = document[: MAX_CHARACTERS + 1]
    parts = head.rsplit(maxsplit=1)
    if head[-1].isspace():
        end = len(head)
    elif len(parts) == 2:
        end = len(head) - len(parts[1])
    else:
        end = MAX_CHARACTERS
    return document[:end].rstrip(), document[end:].lstrip()


def lines(blocks: Iterator[str]) -> Iterator[str]:
    """Text in blocks of any size as lines with their LF; ValueError at one of more than MAX_LINE_CHARACTERS."""
    begun: list[str] = []
    for block in blocks:
        first, *more = block.split("\n")
        begun.append(first)
        if sum(map(len, begun)) > MAX_LINE_CHARACTERS:
            raise ValueError(f"a line of more than {MAX_LINE_CHARACTERS:,} characters")
        if more:
            yield "".join(begun) + "\n"
            yield from (line + "\n" for line in more[:-1])
            begun = more[-1:]
    if any(begun):
        yield "".join(begun)
