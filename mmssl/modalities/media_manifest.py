"""Tables that say what belongs together: each row names a picture, a video, a sound and a caption, or some of them."""

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmssl.errors import DataError
from mmssl.modalities.bad_sample import unreported
from mmssl.modalities.media_files import MediaFile
from mmssl.modalities.text_files import decoded_blocks, lines
from mmssl.sections import DataConfig
from mmssl.sources import bounded, first_folder, parquet_rows, parquet_schema, readable, whole_rows

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
FILES = {
    "video": "video_column",
    "image": "image_column",
    "audio": "audio_column",
}  # the first that a row has is its own
COLUMNS = {**FILES, "text": "text_column"}  # modality -> its key

MAX_OBJECT_CHARACTERS = 2**22  # of a line of JSON, which may take twenty times as much memory

Cells = dict[str, str]  # modality, or "label" -> what a row says of it; "": nothing


def is_manifest(source: str, config: DataConfig) -> bool:
    """Whether a source is a table of paths; a .parquet file whose columns hold bytes is none."""
    path = Path(source).expanduser()
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    if path.suffix.lower() != ".parquet":
        return True
    import pyarrow
    from pyarrow.parquet import read_schema

    with readable(source, "parquet"):
        schema = read_schema(path)
    names = {getattr(config, key) for key in FILES.values()}
    types = [field.type for field in schema if field.name in names]
    return any(pyarrow.types.is_string(each) or pyarrow.types.is_large_string(each) for each in types)


def manifest_files(source: str, modalities: tuple[str, ...], config: DataConfig) -> list[MediaFile]:
    """What each row of a manifest names, of the modalities that are read.

    Paths are relative to the manifest's folder; an empty cell, and one of a file that is not there, is an absent
    modality. Where there is no column of sounds, a video's own sound track counts. Columns of other names are ignored
    and rows that come again left out, with a line on stderr. DataError where the table cannot be read, has none of the
    columns, or names a path outside of its folder.
    """
    path = Path(source).expanduser()
    if config.paired:
        expected = "columns of sounds or captions in it"
        raise DataError(f"data.paired {config.paired}: beside the manifest {source}; expected {expected}")
    rows = list(rows_in(path, config))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    known = {kind: getattr(config, key) for kind, key in COLUMNS.items()} | {"label": config.label_column}
    wanted = [kind for kind in COLUMNS if kind in modalities and known[kind] in columns]
    if "audio" in modalities and "audio" not in wanted and "video" not in modalities:
        known["audio"], wanted = known["video"], [*wanted, *(["audio"] if known["video"] in columns else [])]
    if not wanted:
        keys = " or ".join(f"{known[kind]!r} (data.{COLUMNS[kind]})" for kind in COLUMNS if kind in modalities)
        raise DataError(f"{source} has the columns {', '.join(columns) or 'of no row'}; expected {keys}")
    files, seen, empty = [], set(), 0
    for number, row in enumerate(rows, start=1):
        cells = {kind: cell(row, known[kind], f"{source}: row {number}") for kind in [*wanted, "label"]}
        key = tuple(cells.values())
        if key not in seen and any(cells[kind] for kind in wanted):
            files.append(file_of(cells, path, number, own_sound="audio" not in wanted))
        empty += not any(cells[kind] for kind in wanted)
        seen.add(key)
    tell(source, [name for name in columns if name not in known.values()], len(rows) - len(files) - empty, empty)
    return files[: config.documents or None]


def tell(source: str, ignored: list[str], twice: int, empty: int) -> None:
    """One line on what is not read of a manifest, where there is something."""
    parts = [f"the columns {', '.join(ignored)}"] if ignored else []
    parts += [f"{twice:,} rows that are there twice"] if twice else []
    parts += [f"{empty:,} rows without anything to read"] if empty else []
    if parts:
        print(f"note: {source}: ignored {' and '.join(parts)}", file=sys.stderr)


def rows_in(path: Path, config: DataConfig) -> Iterator[dict[str, Any]]:
    """The rows of a table, column -> value; DataError where it cannot be read."""
    suffix = path.suffix.lower()
    with readable(str(path), f"manifest ({suffix})"):
        if suffix == ".parquet":
            yield from bounded(manifest_rows(path, config), size_of_row, path)
            return
        with path.open("rb") as stream:
            text = lines(decoded_blocks(stream, str(path), config.invalid_text, unreported))
            if suffix == ".jsonl":
                yield from objects_in(text, path)
            else:
                reader = csv.DictReader(text, delimiter="\t" if suffix == ".tsv" else ",", strict=True)
                yield from whole_rows(reader, path)


def size_of_row(row: dict[str, Any]) -> int:
    """The characters of a row."""
    return sum(len(value) for value in row.values() if isinstance(value, str))


def manifest_rows(path: Path, config: DataConfig) -> Iterator[dict[str, Any]]:
    """The rows of a .parquet file; None in the columns that no key names."""
    names = parquet_schema(path).names
    named = {getattr(config, key) for key in (*COLUMNS.values(), "label_column")}
    for row in parquet_rows(path, [name for name in names if name in named]):
        yield dict.fromkeys(names) | row


def objects_in(text: Iterator[str], path: Path) -> Iterator[dict[str, Any]]:
    """The object in each line that is not empty."""
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        if len(line) > MAX_OBJECT_CHARACTERS:
            raise DataError(f"{path}: line {number} has {len(line):,} characters; at most {MAX_OBJECT_CHARACTERS:,}")
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise DataError(f"{path}: line {number} is {line.strip()!r:.40}; expected a JSON object in each line")
        yield found


def cell(row: dict[str, Any], column: str, where: str) -> str:
    """What a row says in a column; DataError where it is no text."""
    value = row.get(column)
    if value is not None and not isinstance(value, str | int):
        raise DataError(f"{where}: column {column!r} holds {value!r:.40}; expected text")
    return "" if value is None else str(value).strip()


def file_of(cells: Cells, manifest: Path, number: int, *, own_sound: bool) -> MediaFile:
    """A row: the video, else the picture, else the sound, is its own file, and the others belong to it."""
    paths = {kind: below(manifest, cells[kind], number) for kind in FILES if cells.get(kind)}
    here = {kind: path for kind, path in paths.items() if os.path.isfile(path)}
    kind = next(iter(here), "text")
    path = here.get(kind, Path(f"{manifest}:{number}"))
    relative = path.relative_to(manifest.parent)
    return MediaFile(
        path, relative.as_posix(), cells["label"] or first_folder(relative), kind,
        here.get("audio") if kind != "audio" else None, not own_sound, caption=" ".join(cells.get("text", "").split()),
        picture=here.get("image") if kind == "video" else None,
        lost=tuple(str(path) for kind, path in paths.items() if kind not in here),
    )  # fmt: skip


def below(manifest: Path, name: str, number: int) -> Path:
    """The path that a cell names; DataError where it leaves the manifest's folder: a table that came from elsewhere
    must not choose any file of this machine. Links inside are the user's own, and are followed.
    """
    folder = os.path.abspath(manifest.parent)
    relative = os.path.relpath(os.path.join(folder, name), folder) if "\0" not in name else os.pardir
    if relative.split(os.sep)[0] == os.pardir:
        raise DataError(f"{manifest}: row {number} names {name!r:.200}; expected a path below {manifest.parent}")
    return manifest.parent / relative
