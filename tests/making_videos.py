"""Small videos of any size, rate, codec and damage, whose frames are known."""

import os
import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from making_media import SOUND_HZ, tone, video

FORMATS = [
    ("mp4", "libx264"),
    ("mov", "mpeg4"),
    ("mkv", "libx264"),
    ("webm", "libvpx"),
    ("avi", "mpeg4"),
    ("gif", "gif"),
]

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"dinf")  # boxes that hold boxes


def code(number: int) -> int:
    """A brightness for each frame, far from that of its neighbours."""
    return 20 * (number * 5 % 12)


def flat(count: int, size: tuple[int, int] = (64, 48)) -> Iterable[np.ndarray]:
    """Frames of (width, height) pixels, each of the brightness of its number."""
    return (np.full((size[1], size[0], 3), code(number), np.uint8) for number in range(count))


def moving(count: int) -> Iterable[np.ndarray]:
    """A white square that moves over noise that stays."""
    ground = np.random.default_rng(0).integers(0, 100, (48, 64, 3), dtype=np.uint8)
    for number in range(count):
        frame, left = ground.copy(), number * 3 % 56
        frame[20:28, left : left + 8] = 255
        yield frame


def film(
    path: Path, frames: Iterable[np.ndarray], times: Sequence[float], *,
    codec: str = "mpeg4", pixels: str = "yuv420p", gop: int = 12,
) -> Path:  # fmt: skip
    """The frames at these seconds, a key frame at least every `gop`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    base = Fraction(1, 100 if codec == "gif" else 60000 if codec == "libx264" else 1000)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for values, time in zip(frames, times, strict=True):
            if stream is None:
                stream = container.add_stream(codec, rate=25)
                stream.height, stream.width = values.shape[:2]
                stream.pix_fmt = "rgb8" if codec == "gif" else pixels
                stream.time_base = stream.codec_context.time_base = base
                stream.codec_context.gop_size = gop
            frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            frame.pts, frame.time_base = round(time / base), base
            container.mux(stream.encode(frame))
        assert stream is not None
        container.mux(stream.encode(None))
    return path


def at_rate(count: int, rate: float, begin: float = 0.0) -> list[float]:
    """The times of frames in seconds."""
    return [begin + number / rate for number in range(count)]


def sound_only(path: Path) -> Path:
    """A file of a video's kind with a sound track alone."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
        block = av.AudioFrame.from_ndarray(tone(1.0)[None].astype(np.float32), format="fltp", layout="mono")
        block.sample_rate = SOUND_HZ
        container.mux(track.encode(block))
        container.mux(track.encode(None))
    return path


def cover(path: Path) -> Path:
    """A sound with a picture attached, which FFmpeg shows as a video stream."""
    whole = sound_only(path).read_bytes()
    png = b"\x89PNG\r\n\x1a\n" + bytes(40)
    data = box(b"data", struct.pack(">II", 14, 0) + png)
    meta = bytes(4) + box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9)) + box(b"ilst", box(b"covr", data))
    place = whole.index(b"moov") - 4
    (length,) = struct.unpack(">I", whole[place : place + 4])
    moov = whole[place + 8 : place + length] + box(b"udta", box(b"meta", meta))
    path.write_bytes(whole[:place] + box(b"moov", moov) + whole[place + length :])
    return path


def box(kind: bytes, content: bytes) -> bytes:
    """A box of MP4."""
    return struct.pack(">I", len(content) + 8) + kind + content


def truncated(path: Path, frames: int = 100, rate: int = 10, kept: float = 0.5) -> Path:
    """A video that says what it holds at its beginning, and ends in the middle of it, or where so much is `kept`."""
    noise = np.random.default_rng(0).integers(0, 256, (frames, 48, 64, 3), dtype=np.uint8)
    whole = film(path, noise, at_rate(frames, rate)).read_bytes()
    place = whole.index(b"moov") - 4  # behind the frames: moved before them, all places in it with it
    moov = bytearray(whole[place:])
    table = moov.index(b"stco") + 8
    (count,) = struct.unpack(">I", moov[table : table + 4])
    for entry in range(table + 4, table + 4 + 4 * count, 4):
        (offset,) = struct.unpack(">I", moov[entry : entry + 4])
        moov[entry : entry + 4] = struct.pack(">I", offset + len(moov))
    first = whole.index(b"mdat") - 4
    moved = whole[:first] + bytes(moov) + whole[first:place]
    path.write_bytes(moved[: len(moov) + first + round(kept * (place - first))])
    return path


def without_frames(path: Path) -> Path:
    """A header that promises frames, and none behind it."""
    data = film(path.with_suffix(".mkv"), flat(3), at_rate(3, 10)).read_bytes()
    path.with_suffix(".mkv").unlink()
    path.write_bytes(data[: data.index(b"\x1fC\xb6u")])  # the first cluster
    return path


def huge(path: Path) -> Path:
    """A GIF whose header claims 65,535 x 65,535 pixels: 17 GB."""
    data = bytearray(video(path.with_suffix(".gif"), [0, 100, 200], codec="gif").read_bytes())
    data[6:10] = b"\xff\xff\xff\xff"
    path.with_suffix(".gif").unlink()
    path.write_bytes(data)
    return path


def huge_frame(path: Path) -> Path:
    """Raw video whose header claims 60,000 x 60,000 pixels."""
    temporary = film(path.with_suffix(".avi"), flat(3), at_rate(3, 10), codec="rawvideo")
    data = bytearray(temporary.read_bytes())
    place = data.index(b"strf") + 8
    data[place + 4 : place + 12] = struct.pack("<ii", 60000, 60000)
    temporary.unlink()
    path.write_bytes(data)
    return path


def rewritten(data: bytes, wanted: bytes, content: bytes) -> bytes:
    """The boxes of an MP4 with another content of one kind of them."""
    found, place = b"", 0
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        inside = content if kind == wanted else data[place + 8 : place + length]
        found += box(kind, rewritten(inside, wanted, content) if kind in PARENTS else inside)
        place += length
    return found


def reference(path: Path) -> Path:
    """A QuickTime film whose frames are said to lie in another file, by its absolute path."""
    film(path.parent.parent / "other.mp4", flat(20), at_rate(20, 10))
    name = os.fsencode(path.parent.parent / "other.mp4")
    alias = bytes(150)  # no volume, no name, no levels up and down
    alias += struct.pack(">HH", 2, len(name)) + name + bytes(len(name) % 2) + struct.pack(">hH", -1, 0)
    entry = struct.pack(">II", 0, 1) + box(b"alis", bytes(4) + alias)
    whole = film(path.with_suffix(".mov"), flat(20), at_rate(20, 10)).read_bytes()
    path.with_suffix(".mov").unlink()
    path.write_bytes(rewritten(whole, b"dref", entry))
    return path


def text(content: str) -> Callable[[Path], Path]:
    """A text that names the video `other.mp4` beside it."""

    def write(path: Path) -> Path:
        other = video(path.parent.parent / "other.mp4", [0] * 25)
        path.write_bytes(content.replace("{}", os.fsencode(other).decode()).encode())
        return path

    return write


BAD = {  # kind -> what makes it
    "truncated": truncated,
    "cut header": lambda path: (path.write_bytes(video(path, range(0, 200, 4)).read_bytes()[:-300]), path)[1],
    "no frame": without_frames,
    "sound only": sound_only,
    "cover": cover,
    "huge": huge,
    "huge frame": huge_frame,
    "reference": reference,
    "empty": text(""),
    "text": text("hello, I am a text\n" * 100),
    "playlist": text("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"),
    "playlist of a URL": text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.mp4\n#EXT-X-ENDLIST\n"),
    "list of files": text("ffconcat version 1.0\nfile '{}'\n"),
    "MPD": text('<?xml version="1.0"?>\n<MPD type="static"><Period><BaseURL>{}</BaseURL></Period></MPD>\n'),
    "SDP": text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"),
}
