"""The corpus of the hostile gate: each case makes something in a folder, and says how a user's command would read it.

Run as a script it makes and measures all cases of a group, or those whose names match a pattern, and writes what it
saw: python hostile_cases.py ROOT GROUP [PATTERN]
"""

import json
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from contextlib import chdir, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from hostile_files import (
    ARCHIVES,
    bomb_in_parquet,
    claiming,
    huge_webp,
    many_channels,
    plain,
    playlist,
    repeated_in_parquet,
    silence,
    tiff_of_many_pages,
    turned,
    unending,
    with_chunk,
    zeros_in_parquet,
)
from hostile_runs import foreign_run, foreign_tokenizer, large, replaced
from hostile_texts import NEEDED, TEXTS, YAML, repeated, text
from making_media import huge_png, sound, video
from making_tables import folder, png
from measured import listening, measured
from PIL import Image

import mmssl.evaluate.judges  # all that is read with is loaded before a case begins
import mmssl.modalities.text_data  # noqa: F401
from mmssl.checkpoint import restore
from mmssl.config import load_config
from mmssl.data import documents
from mmssl.errors import MmsslError
from mmssl.modalities.audio import decode_audio, probe_audio
from mmssl.modalities.image import decode_image
from mmssl.modalities.media_data import prepare_media
from mmssl.modalities.text import load_tokenizer
from mmssl.modalities.video import decode_video, probe_video
from mmssl.runs import open_run
from mmssl.sections import DataConfig


class Case(NamedTuple):
    """Something hostile: what makes it in an empty folder, and what reads it."""

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    said: str = "refused"  # or "read", where it has to be read in spite of all, or "": either


def read_config(path: Path) -> None:
    load_config(path)


def read_run(path: Path) -> None:
    open_run(path)


def read_checkpoint(path: Path) -> None:
    restore(path)


def read_picture(path: Path) -> None:
    decode_image(path, 32)


def read_sound(path: Path) -> None:
    decode_audio(path, 16000, max(0.0, probe_audio(path) - 10), 10.0)


def read_film(path: Path) -> None:
    clip = probe_video(path)
    decode_video(path, 32, 8, max(0.0, clip.video_seconds - 1), 1.0)


def read_texts(path: Path) -> None:
    documents(str(path), DataConfig(document="line", invalid_text="replace"), Path("cache"))


def read_pictures(path: Path) -> None:
    Path("c.yaml").write_text(NEEDED)
    data = prepare_media(load_config("c.yaml", [f"data.source={path}"]), Path(), lambda entry: None, ("image",))
    data.train(np.arange(min(4, data.train.size)))


def cases() -> dict[str, Case]:
    """The corpus, by name."""
    found: dict[str, Case] = {}
    for name in ("MANIFEST.json", "model.safetensors", "state.json"):
        found |= {f"{kind} as {name}": Case(replaced(name, kind), read_checkpoint) for kind in ("pickle", "torch")}
        found[f"4 GiB of {name}"] = Case(large(name), read_checkpoint)
    found["run of another task"] = Case(foreign_run, read_run)
    found["tokenizer with code"] = Case(foreign_tokenizer, load_tokenizer)
    found |= {f"YAML: {name}": Case(text("c.yaml", NEEDED + content), read_config) for name, content in YAML.items()}
    found |= {f"text: {name}": Case(repeated(name), read_texts, "") for name in TEXTS}
    for name, make in ARCHIVES.items():
        said = "read" if name in ("traversal", "5,000 members") else "refused"
        found[f"texts in tar: {name}"] = Case(
            tar_of(make, ".txt", b"fine words"), read_texts, "" if said == "read" else said
        )
        found[f"pictures in tar: {name}"] = Case(
            tar_of(make, ".png", png(0)), read_pictures, "" if said == "read" else said
        )
    return found | tables() | media()


def tar_of(make: Callable[[Path, str, bytes], Path], suffix: str, content: bytes) -> Callable[[Path], Path]:
    """An archive of a kind in a folder."""
    return lambda place: make(place / "a.tar", suffix, content)


def tables() -> dict[str, Case]:
    """Tables that grow."""
    manifest_of = "video,label\n../../secret.mp4,x\n"
    return {
        "texts in parquet: one of 200 MB": Case(lambda place: zeros_in_parquet(place / "a.parquet"), read_texts),
        "texts in parquet: repeated": Case(lambda place: repeated_in_parquet(place / "a.parquet"), read_texts),
        "pictures in parquet: repeated": Case(
            lambda place: repeated_in_parquet(place / "a.parquet", 20_000, "image"), read_pictures
        ),
        "pictures in parquet: a bomb": Case(lambda place: bomb_in_parquet(place / "a.parquet"), read_pictures, "read"),
        "manifest in parquet: repeated": Case(
            lambda place: repeated_in_parquet(place / "a.parquet", 20_000, "video"), read_pictures
        ),
        "manifest with a path elsewhere": Case(text("a.csv", manifest_of.replace("video", "image")), read_pictures),
        "manifest of deep JSON": Case(text("a.jsonl", '{"image": ' + "[" * 10**6), read_pictures),
        "manifest of a long line": Case(
            lambda place: text("a.jsonl", b'{"image": [' + b"[]," * 10**7)(place), read_pictures
        ),
    }


def media() -> dict[str, Case]:
    """Pictures, sounds and films."""
    pictures: dict[str, Callable[[Path], Path]] = {
        "png of 900 million pixels": lambda place: huge_png(place / "a.png", 30_000),
        "png of 150 million pixels": lambda place: huge_png(place / "a.png", 12_248),
        "png with a long text": lambda place: with_chunk(place / "a.png", b"zTXt", b"k\0\0"),
        "png with a long profile": lambda place: with_chunk(place / "a.png", b"iCCP", b"k\0\0"),
        "png that claims": lambda place: claiming(place / "a.png", 16, ">II", 2**31 - 1, 2**31 - 1),
        "gif that claims": lambda place: claiming(place / "a.gif", 6, "<HH", 65535, 65535),
        "bmp that claims": lambda place: claiming(place / "a.bmp", 18, "<ii", 2**30, 2**30),
        "webp of 178 million pixels": lambda place: huge_webp(place / "a.webp"),
        "tiff of 81 million pixels": lambda place: plain(place / "a.tiff", (9000, 9000), compression="group4"),
        "progressive jpeg": lambda place: plain(place / "a.jpg", (8000, 8000), "L", progressive=True),
        "tiff in a circle": lambda place: tiff_of_many_pages(place / "a.tiff"),
        "an EPS": text("a.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch {}/sentinel) run\n"),
        "an SVG": text("a.png", '<svg><image href="file:///etc/passwd"/></svg>'),
        "turned, as large as may be": lambda place: turned(place / "a.png", 6300),
        "jpeg of 100 million pixels": lambda place: plain(place / "a.jpg", (10_000, 10_000), "L"),
    }
    films: dict[str, Callable[[Path], Path]] = {
        "playlist": lambda place: playlist(place / "a.mp4", os.environ["SERVER"]),
        "100 years": lambda place: unending(place / "a.mp4"),
    }
    sounds: dict[str, Callable[[Path], Path]] = {
        "64 channels at 1 MHz": lambda place: many_channels(place / "a.wav"),
        "six hours of silence": lambda place: silence(place / "a.flac", 21_600),
        "playlist": lambda place: playlist(place / "a.m4a", os.environ["SERVER"]),
    }
    good = {"turned, as large as may be", "jpeg of 100 million pixels"}
    either = {"100 years", "tiff in a circle", "64 channels at 1 MHz", "six hours of silence"}
    found = {}
    for kind, known, read in (
        ("picture", pictures, read_picture),
        ("film", films, read_film),
        ("sound", sounds, read_sound),
    ):
        for name, make in known.items():
            found[f"{kind}: {name}"] = Case(make, read, "read" if name in good else "" if name in either else "refused")
    return found


def controls() -> dict[str, Case]:
    """What the same files do to a reader without our limits."""

    def unlimited(path: Path) -> None:
        Image.MAX_IMAGE_PIXELS = None
        Image.open(path).load()

    def extracted(path: Path) -> None:
        with tarfile.open(path) as archive:
            archive.extractall(Path(), filter="fully_trusted")

    def followed(path: Path) -> None:
        import av

        with av.open(str(path), timeout=2.0, options={"protocol_whitelist": "file,http,tcp"}) as container:
            list(container.decode(video=0))

    def unpickled(path: Path) -> None:
        torch.load(path / "checkpoints" / "step-000000001" / "state.json", weights_only=False)

    return {
        "runs": Case(replaced("state.json", "torch"), unpickled),
        "runs YAML": Case(text("c.yaml", YAML["an object"]), lambda path: yaml.unsafe_load(path.read_text())),
        "outside": Case(tar_of(ARCHIVES["traversal"], ".txt", b"words"), extracted),
        "megabytes": Case(lambda place: huge_png(place / "a.png", 30_000), unlimited),
        "connections": Case(lambda place: playlist(place / "a.m3u8", os.environ["SERVER"]), followed),
        "seconds": Case(tar_of(ARCHIVES["negative size"], ".txt", b"words"), lambda path: list(tarfile.open(path))),
        "fault": Case(text("c.yaml", "a: " + "[" * 100_000), lambda path: yaml.safe_load(path.read_text())),
    }


def warm(root: Path) -> None:
    """Load all that is imported late, so that no case is charged for it."""
    place = root / "warm"
    place.mkdir()
    with chdir(place):
        read_pictures(folder(place / "source"))
        for name in ("a.txt", "a.csv", "a.jsonl"):
            read_texts(text(name, 'text\n"a"\n' if name == "a.csv" else '{"text": "a"}')(place))
        with suppress(MmsslError):
            load_tokenizer(place)
    decode_video(video(place / "a.mp4", [0, 99]), 8, 1, 0.0, 0.1)
    read_sound(sound(place / "a.wav", 1.0))


def main(root: Path, group: str, part: str = "") -> None:
    """Measure each case of a group, or those whose names match a pattern; one line of JSON for each."""
    chosen = {"corpus": cases, "controls": controls}[group]()
    chosen = {name: case for name, case in chosen.items() if re.search(part, name)}
    warm(root)
    with listening() as server:
        os.environ["SERVER"] = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        for number, (name, case) in enumerate(chosen.items()):
            place = root / f"{number:03d}" / "files"
            run = root / f"{number:03d}" / "run"
            for each in (place, run):
                each.mkdir(parents=True)
            path = case.make(place)
            limit = 3 if name == "seconds" else 20
            found = measured(lambda path=path, case=case: case.read(path), root / f"{number:03d}", run, server, limit)
            print(
                json.dumps({"name": name, "expected": case.said, "faults": found.faults(), **found._asdict()}),
                flush=True,
            )
            shutil.rmtree(root / f"{number:03d}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
