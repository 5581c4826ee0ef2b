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
    many_channels,
    pickled,
    plain,
    playlist,
    repeated_in_parquet,
    silence,
    sparse_file,
    tiff_of_many_pages,
    turned,
    unending,
    with_chunk,
    zeros_in_parquet,
)
from making_media import huge_png, sound, video
from making_tables import folder, png
from measured import listening, measured
from PIL import Image

import mmssl.evaluate.judges
import mmssl.modalities.text_data  # noqa: F401
from mmssl import manifest
from mmssl.checkpoint import restore, save
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

NEEDED = "task: image_pretraining\nrun: run\nmethod: {name: mae}\nimage: {size: 16}\ndata: {heldout: 0.0}\n"


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


def checkpoint(place: Path) -> Path:
    """A run folder with a checkpoint."""
    save(place, 1, {"model": {"a": torch.ones(4)}}, {"samples_seen": 4}, keep=2)
    return place / "checkpoints" / "step-000000001"


def replaced(name: str, kind: str) -> Callable[[Path], Path]:
    """A run folder one of whose files is a pickle; the manifest agrees to it."""

    def make(place: Path) -> Path:
        folder = checkpoint(place)
        with_file(folder, name, pickled(place / name, kind))
        return place

    return make


def with_file(folder: Path, name: str, data: bytes) -> None:
    """Write a file of a checkpoint, and a manifest that agrees to it."""
    (folder / name).write_bytes(data)
    if name != "MANIFEST.json":
        known = manifest.read_manifest(folder)
        digest = manifest.sha256(data).hexdigest()
        files = {**known.files, name: manifest.File(size=len(data), sha256=digest)}
        (folder / "MANIFEST.json").write_bytes(manifest.seal(known.model_copy(update={"files": files})))


def large(name: str) -> Callable[[Path], Path]:
    """A run folder one of whose files has 4 GiB, and none of them in the manifest."""

    def make(place: Path) -> Path:
        sparse_file(checkpoint(place) / name, 2**32)
        return place

    return make


def text(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """A file of this content, in which {} is the folder."""

    def make(place: Path) -> Path:
        data = content.replace("{}", str(place)).encode() if isinstance(content, str) else content
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
        return place / name

    return make


def foreign_run(place: Path) -> Path:
    """A run folder whose config names code: a TorchScript file, and a task that is a path."""
    checkpoint(place)
    (place / "config.yaml").write_text(NEEDED.replace("image_pretraining", "../../evil"))
    (place / "evil.py").write_text(f"open({str(place / 'sentinel')!r}, 'w')")
    return place


def foreign_tokenizer(place: Path) -> Path:
    """A tokenizer that asks for code of its own."""
    (place / "evil.py").write_text(f"open({str(place / 'sentinel')!r}, 'w')\nclass Evil: ...\n")
    mapped = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (place / "tokenizer_config.json").write_text(json.dumps(mapped))
    (place / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil"}))
    return place


def beside_good(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """A folder of ten good pictures, too."""

    def both(place: Path) -> Path:
        make(folder(place / "source") / "a" / "bad.png")
        return place / "source"

    return both


YAML = {
    "an object": "a: !!python/object/apply:os.system ['touch {}/sentinel']\n",
    "a module": "a: !!python/module:evil\n",
    "a tag": "a: !include /etc/passwd\n",
    "anchors": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "a billion": "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "a key twice": "train:\n  steps: 1\n  steps: 2\n",
    "a merge": "train: {<<: {steps: 1}}\n",
    "deep lists": "a: " + "[" * 100_000,
    "deep maps": "a: " + "{a: " * 20_000,
    "another target": "train: {_target_: os.system}\n",
    "a megabyte": "a: " + "x" * 2**21,
    "long keys": "".join(f"{'k' * 900}{n}: 1\n" for n in range(1000)),
    "half a character": 'a: "\\ud800"\n',
    "a function of Python": "encoder: {name: __import__}\n",
}
TEXTS: dict[str, tuple[bytes, bytes, int]] = {  # beginning, what comes again, how often
    "a.csv": (b"text\n", b"x", 2**25),
    "b.csv": (b'text\n"', b"x\n", 2**24),
    "c.csv": (b"", b",", 2**22),
    "a.jsonl": (b'{"text": ', b"[", 100_000),
    "b.jsonl": (b'{"text": "', b"x", 2**25),
    "a.txt": (b"", b"\0", 2**23),
    "b.txt": (b"", b"\xff\xfe\x80", 2**21),
    "c.txt": (b"x", b"\n", 2**24),
    "d.txt": (b"", b"a \r", 2**14),
}


def repeated(name: str) -> Callable[[Path], Path]:
    """A text that says the same again and again."""
    begin, again, count = TEXTS[name]
    return lambda place: text(name, begin + again * count)(place)


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
            lambda place: repeated_in_parquet(place / "a.parquet", 20_000, "image"), read_pictures
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
        "webp of 178 million pixels": lambda place: plain(place / "a.webp", (16383, 10860), "RGB"),
        "tiff of 170 million pixels": lambda place: plain(place / "a.tiff", (13000, 13000), compression="group4"),
        "progressive jpeg": lambda place: plain(place / "a.jpg", (13000, 13000), "RGB", progressive=True),
        "tiff in a circle": lambda place: tiff_of_many_pages(place / "a.tiff"),
        "an EPS": text("a.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch {}/sentinel) run\n"),
        "an SVG": text("a.png", '<svg><image href="file:///etc/passwd"/></svg>'),
        "turned, as large as may be": lambda place: turned(place / "a.png", 8192),
        "jpeg of 170 million pixels": lambda place: plain(place / "a.jpg", (13000, 13000), "L"),
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
    good = {"turned, as large as may be", "jpeg of 170 million pixels"}
    either = {"tiff in a circle", "64 channels at 1 MHz", "six hours of silence"}
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
