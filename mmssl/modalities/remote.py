"""Tar shards that lie elsewhere, read in parts by `fsspec`: objects of a bucket, files of the hub or a web server.

A shard is looked through once for its index (`media_tables`); then a sample is a range of bytes, like that of an
archive on the disk, so the order of samples and the way to resume are the same. Nothing is shuffled in a buffer.
"""

import io
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from mmssl.errors import DataError
from mmssl.modalities.region import Parts
from mmssl.retries import tried

SCHEMES = ("https", "hf", "s3", "gs")  # no file, no pipe, nothing chained
URL = re.compile(r"([a-z][a-z0-9+]*)://([^/@\s:]+(?::[0-9]+)?/[^\s?#]+\.tar)")
RANGE = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
MAX_SHARDS = 100_000
BLOCK_BYTES = 2**20  # that are asked for at once
TAGS = (
    "ETag",
    "etag",
    "Content-MD5",
    "Digest",
    "Last-Modified",
    "LastModified",
    "blob_id",
    "md5Hash",
    "updated",
    "mtime",
)

T = TypeVar("T")


def is_remote(source: str) -> bool:
    """Whether a source, or the file in which a sample lies, is a URL."""
    return "://" in source


def shards(source: str) -> list[str]:
    """The URLs of a source, in which `{000..127}` stands for numbers; DataError where one is not allowed."""
    if len(ranges := RANGE.findall(source)) > 1:
        raise DataError(f"{source} has {len(ranges)} ranges; expected one at most, as in {{000..127}}")
    found = [source]
    for first, last in ranges:
        numbers = range(int(first[:9]), int(last[:9]) + 1)
        if not 0 < len(numbers) <= MAX_SHARDS:
            raise DataError(f"{source} names {len(numbers)} shards; expected 1 to {MAX_SHARDS:,}")
        found = [RANGE.sub(f"{number:0{len(first)}d}", source) for number in numbers]
    for each in found:
        match = URL.fullmatch(each)
        if match is None or match[1] not in SCHEMES or "::" in each or ".." in each:
            known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise DataError(f"{each:.300} is no URL of a shard; expected one of {known} and a path that ends in .tar")
    return found


@lru_cache(maxsize=16)
def system_of(scheme: str) -> Any:
    """The file system of a scheme; DataError where it is not installed."""
    import fsspec

    try:
        return fsspec.filesystem(scheme)
    except (ImportError, ValueError) as error:
        raise DataError(f"{scheme}:// cannot be read: {error}; expected its package, as s3fs or gcsfs") from error


def asked(url: str, action: Callable[[Any], T]) -> T:
    """What an action on the file system of a URL answers, tried again where it may pass; DataError names the URL."""
    system = system_of(url.partition("://")[0])
    try:
        return tried(lambda: action(system), url)
    except DataError:
        raise
    except (OSError, ValueError, LookupError) as error:
        said = next(iter(str(error).splitlines()), "")
        raise DataError(f"{url} cannot be read: {type(error).__name__} {said}; expected a tar shard there") from error


def version_of(url: str) -> tuple[int, str]:
    """Size in bytes and tag of a shard: what tells its content from another without reading it."""
    about = asked(url, lambda system: system.info(url))
    if not isinstance(about.get("size"), int):
        raise DataError(f"{url} does not say its size; expected a server that answers with parts of files")
    return about["size"], next((str(about[tag]) for tag in TAGS if about.get(tag)), "")


class Remote(Parts):
    """A shard as a file, each reading of which is a request."""

    def __init__(self, url: str, size: int) -> None:
        super().__init__(size)
        self.url = url

    def part(self, start: int, count: int) -> bytes:
        return part(self.url, start, start + count)


def part(url: str, start: int, end: int) -> bytes:
    """Some bytes of a shard; DataError where the server does not answer with these."""

    def read(system: Any) -> bytes:
        found = system.cat_file(url, start=start, end=end)
        if len(found) != end - start:
            raise OSError(f"{len(found):,} bytes came of {end - start:,}")
        return found

    return asked(url, read)


def opened(url: str, end: int, least_bytes: int = BLOCK_BYTES) -> io.BufferedReader:
    """A shard up to a byte, of which at least so many are asked for at once, or BLOCK_BYTES."""
    return io.BufferedReader(Remote(url, end), max(1, min(BLOCK_BYTES, least_bytes)))
