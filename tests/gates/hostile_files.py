"""Files that attack whoever reads them: archives, tables, pictures, sounds and films that a few bytes make huge."""

import base64
import io
import os
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
import torch
from making_media import huge_png, picture
from making_tables import PICTURES, png
from making_videos import at_rate, film, flat
from PIL import Image

MIB = 2**20


class Payload:
    """What a hostile pickle runs: it leaves a file outside of the run folder."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.sentinel}'",)


def pickled(path: Path, kind: str) -> bytes:
    """A pickle, or a zip of torch, with a payload; its sentinel lies beside the folder of `path`."""
    payload = {"a": Payload(path.parent / "sentinel")}
    if kind == "pickle":
        return pickle.dumps(payload)
    torch.save(payload, stream := io.BytesIO())
    return stream.getvalue()


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "", **other: Any) -> bytes:
    """The header of a member that may say anything."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = max(size, 0), kind, link
    entry.pax_headers = other
    data = entry.tobuf(tarfile.GNU_FORMAT)
    if size < 0:  # in base 256
        data = data[:124] + struct.pack(">Iq", 2**32 - 1, size) + data[136:]
        data = data[:148] + b" " * 8 + data[156:]
        data = data[:148] + b"%06o\0 " % sum(data) + data[156:]
    return data


def padded(content: bytes) -> bytes:
    """A content in whole blocks."""
    return content + bytes(-len(content) % 512)


def archive(path: Path, parts: Iterable[bytes]) -> Path:
    """An archive of these headers and contents, with the mark of its end."""
    with path.open("wb") as file:
        file.writelines(parts)
        file.write(bytes(1024))
    return path


def one(name: str, content: bytes, **other: Any) -> bytes:
    """A member with its header."""
    return header(name, len(content), **other) + padded(content)


def pax(records: bytes, name: str = "a.png", content: bytes = b"") -> bytes:
    """A member behind a header of extended attributes."""
    return header("pax", len(records), tarfile.XHDTYPE) + padded(records) + one(name, content)


def record(key: bytes, value: bytes) -> bytes:
    """An extended attribute, with the length of itself."""
    length = len(key) + len(value) + 3
    while len(found := b"%d %s=%s\n" % (length, key, value)) != length:
        length = len(found)
    return found


def traversal(path: Path, suffix: str, content: bytes) -> Path:
    """Members whose names are ways out, and members that are no files."""
    names = (
        "../../up",
        f"{path.parents[1]}/root",
        "a/../../b",
        "./../c",
        "x" * 4000,
        "new\nline",
        "bell\x1b[2J",
        "..",
        "dup",
        "dup",
    )
    parts = [one(f"{name}{suffix}", content) for name in names if len(name) < 100]
    long = f"{'x' * 4000}{suffix}".encode()
    parts.append(header("long", len(long), tarfile.GNUTYPE_LONGNAME) + padded(long) + one("y", content))
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
    parts += [header(f"{kind.decode()}{suffix}", 0, kind, "/etc/passwd") for kind in kinds]
    return archive(path, parts)


def endless(path: Path) -> Path:
    """A member of a negative size: the next one is itself."""
    return archive(path, [one("a.png", png(0)), header("b.png", -512)])


def holes(path: Path, megabytes: int = 8) -> Path:
    """A sparse member: numbers of 2 bytes that become objects of 60."""
    count = megabytes * MIB // 2
    numbers = b"%d\n" % (count // 2) + b"1\n" * count
    records = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
    records += record(b"GNU.sparse.name", b"a.png") + record(b"GNU.sparse.realsize", b"10000000000")
    return archive(path, [pax(records, "a.png", numbers)])


ARCHIVES: dict[str, Callable[[Path, str, bytes], Path]] = {  # kind -> (path, suffix of a member, its content)
    "traversal": traversal,
    "negative size": lambda path, suffix, content: archive(path, [one(f"a{suffix}", content), header("b", -512)]),
    "negative size of attributes": lambda path, suffix, content: archive(
        path, [pax(record(b"size", b"-1024"), f"a{suffix}", content)]
    ),
    "holes": lambda path, suffix, content: holes(path),
    "holes without an end": lambda path, suffix, content: archive(
        path, [pax(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0"), "a", b"9" * 511 + b"\n")]
    ),
    "a header of 1 GiB": lambda path, suffix, content: sparse_file(archive(
        path, [header("long", 2**30, tarfile.GNUTYPE_LONGNAME)]), 2**30
    ),
    "a number of 60 kB": lambda path, suffix, content: archive(path, [pax(b"9" * 60_000, f"a{suffix}", content)] * 50),
    "long names of long names": lambda path, suffix, content: archive(
        path, [header("x", 1, tarfile.GNUTYPE_LONGNAME) + padded(b"a")] * 5000
    ),
    "5,000 members": lambda path, suffix, content: archive(path, (header(f"{i}{suffix}") for i in range(5_000))),
    "a member of 10 GB": lambda path, suffix, content: archive(path, [header(f"a{suffix}", 10**10), content]),
}  # fmt: skip


def sparse_file(path: Path, size: int) -> Path:
    """A file with a hole at its end."""
    with path.open("r+b") as file:
        file.truncate(size)
    return path


def zeros_in_parquet(path: Path, megabytes: int = 200) -> Path:
    """A table of one text of so many megabytes, compressed."""
    table = pyarrow.table({"text": ["a" * megabytes * MIB], "image": [b""]})
    pyarrow.parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    return path


def repeated_in_parquet(path: Path, rows: int = 20_000, kind: str = "text") -> Path:
    """A table of a megabyte that is there once and stands for 20 GB."""
    value = pyarrow.array([b"a" * MIB if kind == "image" else "a" * MIB])
    cells = pyarrow.DictionaryArray.from_arrays(pyarrow.array(np.zeros(rows, np.int32)), value)
    pyarrow.parquet.write_table(pyarrow.table({kind: cells}), path, compression="zstd", store_schema=False)
    return path


def bomb_in_parquet(path: Path) -> Path:
    """A table whose pictures are of 400 million pixels."""
    cells = [huge_png(path.with_suffix(".png"), 20_000).read_bytes(), *PICTURES.values()]
    pyarrow.parquet.write_table(pyarrow.table({"image": cells}), path)
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(path: Path, kind: bytes, before: bytes) -> Path:
    """A PNG with a part of 300 MB, compressed."""
    data, packer = picture(path).read_bytes(), zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(MIB)) for _ in range(300)) + packer.flush()
    place = data.index(b"IDAT") - 4
    path.write_bytes(data[:place] + chunk(kind, before + packed) + data[place:])
    return path


def claiming(path: Path, offset: int, kind: str, *numbers: int) -> Path:
    """A picture whose header says another size."""
    data = bytearray(picture(path).read_bytes())
    struct.pack_into(kind, data, offset, *numbers)
    path.write_bytes(data)
    return path


def plain(path: Path, size: tuple[int, int], mode: str = "1", **options: Any) -> Path:
    """A valid picture of one colour, which any format writes small."""
    Image.new(mode, size).save(path, **options)
    return path


def huge_webp(path: Path) -> Path:
    """A WebP of 178 million pixels in 68 bytes."""
    code = "UklGRjwAAABXRUJQVlA4IDAAAADwAgCdASoYNi5NAAYQm02hJCQkBABMS0gAXoAHn9yvgAD+/lDZm3pHW+oX896UAAA="
    data = bytearray(base64.b64decode(code))
    struct.pack_into("<HH", data, 26, 16383, 10860)
    path.write_bytes(data)
    return path


def turned(path: Path, side: int) -> Path:
    """A picture that has to be turned upright, of the most pixels that are read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return plain(path, (side, side), "RGB", exif=exif)


def tiff_of_many_pages(path: Path) -> Path:
    """A TIFF whose directories lie in a circle."""
    plain(path, (8, 8), "RGB")
    data = bytearray(path.read_bytes())
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    struct.pack_into("<I", data, place + 2 + 12 * count, place)
    path.write_bytes(data)
    return path


def many_channels(path: Path) -> Path:
    """A second of 64 channels at 1 MHz: 256 MB as numbers of 32 bits, compressed to little by nobody but FLAC."""
    with soundfile.SoundFile(path, "w", 1_000_000, 64, "PCM_U8") as file:
        for _ in range(40):
            file.write(np.zeros((100_000, 64), np.float32))
    return path


def playlist(path: Path, url: str) -> Path:
    """A list of what lies elsewhere under the name of a film."""
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n")
    return path


def silence(path: Path, seconds: int) -> Path:
    """A sound of hours in a few megabytes."""
    with soundfile.SoundFile(path, "w", 48_000, 1, "PCM_16") as file:
        for _ in range(seconds // 100):
            file.write(np.zeros(4_800_000, np.int16))
    return path


def unending(path: Path) -> Path:
    """A film whose header says that it lasts 100 years."""
    data = bytearray(film(path, flat(3), at_rate(3, 10), codec="mpeg4").read_bytes())
    for kind, offset in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        struct.pack_into(">I", data, data.index(kind) + offset, 2**32 - 2)
    path.write_bytes(data)
    return path
