"""What a source is on disk, and its rows (text, group, label, origin): raw text, tar archives, tables."""

import csv
import glob
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from mmssl.errors import DataError, MmsslError
from mmssl.modalities.archives import members
from mmssl.modalities.region import Slice
from mmssl.modalities.text_files import MAX_LINE_CHARACTERS, Report, decoded_blocks, documents_in, lines, read_documents
from mmssl.retries import resumed
from mmssl.sections import DataConfig

FOLDERS = ((".txt", ".md"), (".parquet",), (".tar",), (".md",))  # a folder is read by the first whose head it contains
HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+(:[\w.-]+)?", re.ASCII)

MAX_GROWN_BYTES = 2**27  # of the rows of a small table
MAX_GROWTH = 100  # times the size of the file, that of the rows of a larger one
ROW_BYTES = 100  # of a row without any text
ROWS_AT_ONCE = 256  # of a .parquet file

Row = dict[str, str]
T = TypeVar("T")


class File(NamedTuple):
    """A file with the first sub-folder that it lies in ("" at the top)."""

    path: Path
    group: str


class Request(NamedTuple):
    """What is asked of a source; with `needs_labels` a table without the label column is an error."""

    source: str
    config: DataConfig
    cache: Path
    report: Report
    seed: int
    needs_labels: bool = False


@contextmanager
def readable(name: str, kind: str, *foreign: type[Exception]) -> Iterator[None]:
    """What a reader raises within, `foreign` errors too, becomes one DataError that names what could not be read."""
    try:
        yield
    except MmsslError:
        raise
    except (OSError, ValueError, RuntimeError, csv.Error, tarfile.TarError, *foreign) as error:
        raise DataError(f"{name} cannot be read: {one_line(error)}; expected a readable {kind}") from error


def one_line(error: BaseException) -> str:
    """The first line of an error's text, or its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def is_hub_id(source: str, suffixes: Collection[str]) -> bool:
    """Whether a source is `owner/name[:config]`: no local path, nor one that was meant, as suffix or folder tell."""
    path = Path(source).expanduser()
    is_local = path.exists() or path.parent.is_dir() or path.suffix.lower() in suffixes
    return HUB_ID.fullmatch(source) is not None and not is_local


def folder_files(folder: Path) -> list[File]:
    """The readable files below a folder by path; hidden ones are left out, others counted on stderr."""
    inside = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    visible = sorted(path for path in inside if not any(part.startswith(".") for part in path.parts))
    suffixes = Counter(path.suffix.lower() for path in visible)
    kind = next((kind for kind in FOLDERS if suffixes[kind[0]]), ())
    ignored = {suffix: count for suffix, count in sorted(suffixes.items()) if suffix not in kind}
    counts = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in ignored.items())
    if not kind:
        raise DataError(f"{folder} has nothing to read ({counts or 'no file'}); expected .txt, .md, .parquet or .tar")
    if ignored:
        print(f"{folder}: ignored {counts}; read {' and '.join(kind)}", file=sys.stderr)
    return [File(folder / path, first_folder(path)) for path in visible if path.suffix.lower() in kind]


def glob_files(pattern: Path) -> list[File]:
    """The files that a glob matches; sub-folders are counted from its first part with a wildcard."""
    root = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    paths = sorted(path for path in map(Path, glob.glob(str(pattern), recursive=True)) if path.is_file())
    if not paths:
        raise DataError(f"no file matches {pattern}; expected a glob of text files, tables or tar archives")
    return [File(path, first_folder(path.relative_to(root))) for path in paths]


def first_folder(path: Path | PurePosixPath) -> str:
    """The first folder of the path to a file ("" where it lies in none)."""
    return next((part for part in path.parts[:-1] if part not in ("..", "/")), "")


def identity(paths: Iterable[Path]) -> list:
    """Name, size in bytes and time of change of each path: what tells one content from another without reading it."""
    return [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def text_rows(request: Request, path: Path, group: str) -> Iterator[Row]:
    """The documents of a raw text file; the sub-folder is the label."""
    for text in read_documents(path, request.config.document, request.config.invalid_text, request.report):
        yield {"text": text, "group": group or request.source, "label": group, "origin": str(path)}


def archive_rows(request: Request, path: Path, _: str) -> Iterator[Row]:
    """The documents of the .txt members of an archive, read as a stream: nothing is ever extracted."""
    unit, invalid = request.config.document, request.config.invalid_text
    with readable(str(path), "tar archive"), path.open("rb") as file:
        for name, offset, size in members(file):
            if name.suffix != ".txt":
                continue
            origin, group = f"{path}:{name}", first_folder(name)
            stream = BufferedReader(Slice(file, offset, size))
            for text in documents_in(stream, origin, unit, invalid, request.report):
                yield {"text": text, "group": group or request.source, "label": group, "origin": origin}


def csv_rows(request: Request, path: Path, group: str) -> Iterator[Row]:
    """The rows of a .csv or .tsv file; every value stays a string (no NA, no numbers, no shifted columns)."""
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with readable(str(path), "table"), path.open("rb") as stream:
        text = lines(decoded_blocks(stream, str(path), request.config.invalid_text, request.report))
        rows = csv.DictReader(text, delimiter=delimiter, strict=True)
        check_columns(request, rows.fieldnames or (), str(path))
        yield from table_rows(request, whole_rows(rows, path), str(path), group)


def whole_rows(rows: csv.DictReader, path: Path) -> Iterator[dict]:
    """The rows of a table; DataError at the first with more or fewer fields than the header."""
    for row in rows:
        if None in row or None in row.values():
            expected = f"expected {len(rows.fieldnames or ())} as in the header"
            raise DataError(f"{path}: line {rows.line_num} has another number of fields; {expected}")
        yield row


def steady(request: Request, rows: Iterable[T]) -> Iterable[T]:
    """The rows of a table; a stream that breaks is opened again behind its last row."""
    return resumed(lambda: iter(rows), request.source) if request.config.streaming else rows


def bounded(rows: Iterable[T], size_of: Callable[[T], int], path: Path) -> Iterator[T]:
    """The rows of a table; ValueError where they grow to far more than the file holds: a few bytes may stand for
    terabytes.
    """
    most = max(MAX_GROWN_BYTES, MAX_GROWTH * path.stat().st_size)
    total = 0
    for row in rows:
        total += ROW_BYTES + size_of(row)
        if total > most:
            raise ValueError(f"its rows grow to more than {most:,} bytes, {MAX_GROWTH} times those of the file")
        yield row


def cell_bytes(cell: Any) -> int:
    """The bytes that a cell holds."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return len(content) if isinstance(content, bytes) else 0


def parquet_schema(path: Path) -> Any:
    """The columns of a .parquet file; ValueError where they are, not compressed, far larger than the file."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        sizes = (
            group.column(number).total_uncompressed_size for group in groups for number in range(group.num_columns)
        )
        total, most = sum(sizes), max(MAX_GROWN_BYTES, MAX_GROWTH * path.stat().st_size)
        if total > most:
            raise ValueError(f"its columns grow to {total:,} bytes, {MAX_GROWTH} times those of the file")
        return file.schema_arrow


def parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of some columns of a .parquet file, one by one: of texts and bytes that are there again and again one
    copy is held.
    """
    from pyarrow.parquet import ParquetFile

    leaves = {f"{name}{inner}" for name in columns for inner in ("", ".bytes", ".path")}
    with ParquetFile(path) as plain:
        known = [plain.schema.column(number) for number in range(len(plain.schema))]
        texts = [leaf.path for leaf in known if leaf.path in leaves and leaf.physical_type == "BYTE_ARRAY"]
    with ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            for number in range(batch.num_rows):
                yield {name: batch[name][number].as_py() for name in columns}


def check_columns(request: Request, columns: Iterable[str], name: str, content: str = "text_column") -> None:
    """DataError where a column is missing; the default label column is needed only where labels are."""
    columns, config = list(columns), request.config
    is_needed = request.needs_labels or config.label_column != DataConfig.model_fields["label_column"].default
    for key in (content, *(["label_column"] if is_needed else [])):
        if getattr(config, key) not in columns:
            found = f"{', '.join(columns[:20])}{', ...' * (len(columns) > 20)}" or "none"
            raise DataError(f"{name} has no column {getattr(config, key)!r}; expected data.{key} to be one of: {found}")


def table_rows(
    request: Request, examples: Iterable[dict], name: str, group: str, label_name: Callable[..., str] = str
) -> Iterator[Row]:
    """The rows of a table; those whose text is white space only are counted in one report."""
    text_column, label_column = request.config.text_column, request.config.label_column
    empty = []
    for index, example in enumerate(examples):
        text, label = example[text_column], example.get(label_column)
        if text is not None and not isinstance(text, str):
            found = f"row {index} of column {text_column!r} holds {text!r:.40}"
            raise DataError(f"{name}: {found}; expected text")
        text = (text or "").strip()
        if not text:
            empty.append(index)
            continue
        label = "" if label is None else label_name(label)
        yield {"text": text, "group": group or request.source, "label": label, "origin": f"{name}:{index}"}
    if empty:
        request.report({"path": name, "offset": empty[0], "count": len(empty), "reason": "empty"})


READERS = {
    ".tar": archive_rows,
    ".csv": csv_rows,
    ".tsv": csv_rows,
}  # any other suffix is a table of `data` or raw text
