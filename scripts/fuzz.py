"""Fuzzing of all that reads what others wrote, by atheris: `uv run --group fuzz scripts/fuzz.py --entry image`.

An entry may answer with the house's own errors and with nothing else: no other exception, no crash, 10 s and 1 GiB at
most. What breaks this is written to --out as a file, which the same command with --replay FILE reads again.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from time import process_time
from typing import Any, NamedTuple

MAX_BYTES = 2**16  # of an input
MEGABYTES, SECONDS = 1024, 10  # of one input
PATIENCE_SECONDS = 300  # on the clock

Read = Callable[[Path, bytes], object]


class Entry(NamedTuple):
    """What is fuzzed: a function that gives the reader (an empty folder, bytes), and one that gives good inputs."""

    reader: Callable[[], Read]
    seeds: Callable[[Path], list[bytes]]


def kept(path: Path, data: bytes) -> Path:
    """A file of these bytes."""
    path.write_bytes(data)
    return path


def config() -> Read:
    from mmssl.config import load_config
    from mmssl.methods import METHODS  # now, and not with the first input
    from mmssl.models import ENCODERS

    return lambda folder, data: load_config(kept(folder / "config.yaml", data), methods=METHODS, encoders=ENCODERS)


def manifest() -> Read:
    from mmssl.manifest import read_manifest

    def read(folder: Path, data: bytes) -> object:
        path = folder / "step-000000001"
        path.mkdir(exist_ok=True)
        return read_manifest(kept(path / "MANIFEST.json", data).parent)

    return read


def shards() -> Read:
    from mmssl.modalities.media_tables import Container, files_of_archive

    def read(folder: Path, data: bytes) -> object:
        path = kept(folder / "a.tar", data)
        return list(files_of_archive(Container(path, path.name), ("image", "video"), "label"))

    return read


def texts() -> Read:
    from mmssl.sections import DataConfig
    from mmssl.sources import READERS, Request, text_rows

    suffixes = (".tar", ".csv", ".tsv", ".txt")

    def read(folder: Path, data: bytes) -> object:
        path = kept(folder / f"a{suffixes[data[0] % 4] if data else '.txt'}", data[1:])
        settings = DataConfig(invalid_text="replace" if data[:1] > b"\x80" else "error")
        reader = READERS.get(path.suffix, text_rows)
        return list(reader(Request(str(path), settings, folder, lambda entry: None, 0), path, ""))

    return read


def table() -> Read:
    from mmssl.modalities.media_manifest import is_manifest, manifest_files
    from mmssl.sections import DataConfig

    suffixes = (".csv", ".tsv", ".jsonl", ".parquet")

    def read(folder: Path, data: bytes) -> object:
        path = str(kept(folder / f"a{suffixes[data[0] % 4] if data else '.csv'}", data[1:]))
        settings = DataConfig()
        return is_manifest(path, settings) and manifest_files(path, ("text", "image", "audio", "video"), settings)

    return read


def image() -> Read:
    from mmssl.modalities.image import decode_image

    return lambda folder, data: decode_image(kept(folder / "a.bin", data), 16)


def audio() -> Read:
    from mmssl.modalities.audio import decode_audio, probe_audio

    suffixes = (".wav", ".flac", ".ogg", ".mp3", ".m4a")

    def read(folder: Path, data: bytes) -> object:
        path = kept(folder / f"a{suffixes[data[0] % 5] if data else '.wav'}", data[1:])
        return decode_audio(path, 8000, max(0.0, probe_audio(path) - 1), 1.0, 1 + len(data) % 2)

    return read


def video() -> Read:
    from mmssl.modalities.video import decode_video, probe_video

    def read(folder: Path, data: bytes) -> object:
        path = kept(folder / "a.bin", data)
        return decode_video(path, 16, 4, max(0.0, probe_video(path).video_seconds - 1), 1.0)

    return read


def no_seed(folder: Path) -> list[bytes]:
    """Text that a config, a table or a manifest begins with."""
    return [
        b"task: words\nrun: out\ntrain: {steps: 1}\n", b"\0text,label\na,b\n", b"\2{\"image\": \"a.png\"}\n",
        json.dumps({"format_version": 1, "step": 1, "files": {}, "tensors": {}, "sha256": "0" * 64}).encode(),
    ]  # fmt: skip


def archives(folder: Path) -> list[bytes]:
    """Archives of the three forms."""
    import tarfile  # not before it is instrumented

    found = []
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w", format=kind) as archive:
            for name in ("a/b.png", "a/b.cls", "c" * 90 + ".txt", "é.json"):
                member = tarfile.TarInfo(name)
                member.size = 2
                archive.addfile(member, io.BytesIO(b"{}"))
        found += [stream.getvalue(), b"\0" + stream.getvalue()]
    return found


def pictures(folder: Path) -> list[bytes]:
    """A picture of each format."""
    from PIL import Image

    from mmssl.modalities.image import FORMATS

    for kind in FORMATS:
        Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(folder / kind, format=kind)
    return [(folder / kind).read_bytes() for kind in FORMATS]


def sounds(folder: Path) -> list[bytes]:
    """A sound of each kind, and a film."""
    import numpy as np
    import soundfile

    kinds = ("wav", "flac", "ogg", "mp3")
    for kind in kinds:
        soundfile.write(folder / f"a.{kind}", np.sin(np.arange(4000) / 9), 8000)
    return [bytes([number]) + (folder / f"a.{kind}").read_bytes() for number, kind in enumerate(kinds)]


def films(folder: Path) -> list[bytes]:
    """A film in each container."""
    import av
    import numpy as np

    for suffix, codec in (("mp4", "libx264"), ("mkv", "mpeg4"), ("webm", "libvpx"), ("avi", "mpeg4"), ("gif", "gif")):
        with av.open(str(folder / f"a.{suffix}"), "w") as container:
            stream: Any = container.add_stream(codec, rate=10, width=32, height=32)
            stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
            for value in range(8):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 30 * value, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return [path.read_bytes() for path in sorted(folder.glob("a.*"))]


ENTRIES = {
    "config": Entry(config, no_seed), "manifest": Entry(manifest, no_seed), "shards": Entry(shards, archives),
    "texts": Entry(texts, archives), "table": Entry(table, no_seed), "image": Entry(image, pictures),
    "audio": Entry(audio, sounds), "video": Entry(video, films),
}  # fmt: skip


def attempt(read: Read, folder: Path, data: bytes) -> bool:
    """Whether the bytes are read; False where they are refused as they should be. Any other exception passes."""
    from mmssl.errors import MmsslError
    from mmssl.modalities.bad_sample import BadSample

    try:
        with redirect_stderr(io.StringIO()):
            read(folder, data)
    except (MmsslError, BadSample) as error:
        if not str(error):
            raise RuntimeError("an error without a text") from error
        return False
    return True


def fuzz(name: str, seconds: int, seed: int, out: Path) -> None:
    """Fuzz an entry for some seconds; ends this process, with an exit code other than 0 where something was found."""
    import atheris  # pyright: ignore[reportMissingModuleSource]

    instrumented: Any = atheris
    with instrumented.instrument_imports(include=["mmssl", "tarfile"]):
        read = ENTRIES[name].reader()
    folder, inputs = Path(mkdtemp()), out / f"{name}-inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(ENTRIES[name].seeds(folder)):
        (inputs / f"seed-{number}").write_bytes(content)

    def one(data: bytes) -> None:
        begun = process_time()  # of a core, whatever else the machine does
        attempt(read, folder, data)
        if process_time() - begun > SECONDS:
            raise RuntimeError(f"{process_time() - begun:.1f} s, more than {SECONDS}")

    options = {
        "max_total_time": seconds, "max_len": MAX_BYTES, "timeout": PATIENCE_SECONDS, "rss_limit_mb": MEGABYTES,
        "seed": seed, "artifact_prefix": f"{out}/{name}-", "print_final_stats": 1, "verbosity": 1,
    }  # fmt: skip
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(inputs)],
                  one)  # fmt: skip
    atheris.Fuzz()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", choices=ENTRIES, required=True)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder of inputs and of what was found")
    parser.add_argument("--replay", type=Path, help="read this file instead, with a traceback")
    options = parser.parse_args()
    if options.replay:
        with TemporaryDirectory() as folder:
            content = options.replay.read_bytes()
            print("read" if attempt(ENTRIES[options.entry].reader(), Path(folder), content) else "refused")
        return
    fuzz(options.entry, options.seconds, options.seed, options.out)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
