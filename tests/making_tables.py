"""Ten small pictures with two labels as files, archives and tables."""

import io
import json
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

NAMES = [f"{'ab'[number % 2]}/{number:02d}.png" for number in range(10)]


def png(seed: int) -> bytes:
    """A small picture of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file := io.BytesIO(), "png")
    return file.getvalue()


LABELS = [name[0] for name in NAMES]
PICTURES = {name: png(number) for number, name in enumerate(NAMES)}


def tar(path: Path, members: dict[str, bytes]) -> Path:
    """An archive of these members, as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def parquet(path: Path, **columns: list) -> Path:
    """A table that knows nothing of pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def dataset() -> datasets.Dataset:
    """The pictures as `datasets` has them, with the names of their labels."""
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    cells = [{"bytes": content, "path": None} for content in PICTURES.values()]
    rows = {"image": cells, "label": ["ab".index(label) for label in LABELS]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))


def folder(path: Path) -> Path:
    """The pictures as files."""
    for name, content in PICTURES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def cells() -> list[dict]:
    """The pictures as a table has them that another library wrote."""
    return [{"bytes": content, "path": name} for name, content in PICTURES.items()]


def saved(path: Path, *, with_splits: bool = False) -> Path:
    """The pictures as `save_to_disk` writes them."""
    (datasets.DatasetDict({"train": dataset()}) if with_splits else dataset()).save_to_disk(str(path))
    return path


def beside_labels() -> dict[str, bytes]:
    """The pictures as webdataset has them: all in one folder, half of the labels in .cls, half in .json."""
    members = {}
    for number, (name, content) in enumerate(PICTURES.items()):
        kind, label = ("cls", name[0]) if number < 5 else ("json", json.dumps({"label": name[0]}))
        members |= {f"x/{number:03d}.{kind}": label.encode(), f"x/{number:03d}.big.png": content}
    return members


def tars(path: Path) -> Path:
    """The pictures in several archives of one folder."""
    for number in range(3):
        tar(path / f"{number}.tar", dict(list(PICTURES.items())[number::3]))
    return path


def tars_in_folders(path: Path) -> Path:
    """The pictures in an archive for each label."""
    for label in "ab":
        tar(path / label / "x.tar", {name[2:]: content for name, content in PICTURES.items() if name[0] == label})
    return path


def table(path: Path) -> Path:
    """The pictures in a table."""
    return parquet(path.with_suffix(".parquet"), image=cells(), label=LABELS)


SOURCES = {  # kind -> what makes it
    "folder": folder,
    "tar": lambda path: tar(path.with_suffix(".tar"), PICTURES),
    "folder of tars": tars,
    "tars in folders": tars_in_folders,
    "webdataset": lambda path: tar(path.with_suffix(".tar"), beside_labels()),
    "parquet": table,
    "binary": lambda path: parquet(path.with_suffix(".parquet"), image=list(PICTURES.values()), label=LABELS),
    "glob": lambda path: table(path / "x").parent / "*.parquet",
    "datasets": saved,
    "splits": lambda path: saved(path, with_splits=True),
}
