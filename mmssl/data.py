"""Any source -> memory-mapped documents with their text, group, label and origin; nobody else imports `datasets`."""

import glob
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, IterableDataset, Value, Video
from datasets.exceptions import DatasetGenerationError, DatasetsError
from datasets.io.generator import GeneratorDatasetInputStream

from mmssl.errors import CheckpointError, DataError, MmsslError
from mmssl.modalities.bad_sample import unreported
from mmssl.modalities.text_files import Report, decoded_blocks
from mmssl.modalities.world_samples import WORLDS, world_with
from mmssl.random import hashed
from mmssl.sections import DataConfig
from mmssl.sources import (
    READERS,
    File,
    Request,
    Row,
    bounded,
    cell_bytes,
    check_columns,
    folder_files,
    glob_files,
    identity,
    is_hub_id,
    is_saved,
    one_line,
    parquet_rows,
    parquet_schema,
    readable,
    steady,
    table_rows,
    text_rows,
)

LAYOUT = 1  # of the stored documents: part of the key by which they are found again
FEATURES = Features({name: Value("string") for name in ("text", "group", "label", "origin")})
TABLES = {".parquet": "parquet", ".json": "json", ".jsonl": "json"}
SUFFIXES = {*READERS, *TABLES, ".txt", ".md"}
OPTIONS = {"document", "documents", "invalid_text", "text_column", "label_column", "split"}
TAKEN_AS_HUB_ID = "{} (no such file or folder: taken as a hub id)"
ROWS_IN_MEMORY = 256  # before they are written: 25 MB of the longest documents


def documents(source: str, config: DataConfig, cache: Path, report: Report = unreported, *, seed: int = 0) -> Dataset:
    """The documents of a source in the order of its paths and rows, at most `config.documents` of them (0: all).

    A source is `savanna` (of the given seed), a folder, glob or file, a folder written by `save_to_disk`, or a hub id
    `owner/name[:config]`; a local path goes before a hub id. The documents are stored under `cache` and found again
    while paths, sizes, times and options are the same; `report` hears each time of what was replaced or empty. The
    beginning of a stream is stored as well, so the order of samples is a pure function of the position. What a hub
    source downloads when it is no stream lies in the hub's own shared folder. Raises DataError (a source that is
    missing, empty or unreadable) and CheckpointError (`cache` cannot be written or read).
    """
    quieten()
    found: list[dict] = []
    rows, key = opened(Request(source, config, cache, found.append, seed))
    content = json.dumps([config.model_dump(include=OPTIONS), key], sort_keys=True)
    fingerprint = f"{hashed(LAYOUT, source, content):016x}"
    reports = cache / f"reports-{fingerprint}.json"

    def generate() -> Iterator[Row]:
        count = 0
        for count, row in enumerate(islice(rows, config.documents or None), start=1):  # noqa: B007
            yield row
        if not count:
            read = f"data.document={config.document}, data.text_column={config.text_column}"
            raise DataError(f"{source} holds no document ({read}); expected at least one that is not white space only")
        reports.write_text(json.dumps(found))

    dataset = stored(generate, cache, fingerprint)
    for entry in json.loads(reports.read_text()):
        report(entry)
    return dataset


def quieten() -> None:
    """No bars and no messages of the libraries: what matters is an error of ours."""
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def stored(generate: Callable[[], Iterator[Row]], cache: Path, fingerprint: str) -> Dataset:
    """The rows that were stored under this fingerprint, else those that are generated now."""
    try:
        return Dataset.from_generator(
            generate, FEATURES, str(cache), fingerprint=fingerprint, writer_batch_size=ROWS_IN_MEMORY
        )
    except (OSError, ValueError, DatasetGenerationError) as error:
        cause = error.__cause__ if isinstance(error, DatasetGenerationError) else error
        if isinstance(cause, MmsslError):
            raise cause from cause.__cause__
        if cause is not error and not isinstance(cause, OSError):
            raise
        raise CheckpointError(
            f"{cache}: documents cannot be stored or read back ({one_line(cause or error)}); "
            "expected a writable folder with free space and undamaged files"
        ) from error


def labelled(source: str, config: DataConfig, cache: Path, report: Report = unreported, *, seed: int = 0) -> Dataset:
    """The documents of a source, each with a label; DataError where one has none."""
    dataset = documents(source, config, cache, report, seed=seed)
    for label, origin in zip(values(dataset, "label"), values(dataset, "origin")):
        if not label:
            rows, _ = opened(Request(source, config, cache, unreported, seed, needs_labels=True))
            next(rows, None)  # a table without the column raises here and names those that it has
            expected = (
                f"a sub-folder for each label, or data.label_column (now {config.label_column!r}) filled in each row"
            )
            raise DataError(f"{source}: {origin} has no label; expected {expected}")
    return dataset


def split(dataset: Dataset, ratio: float, seed: int) -> tuple[Dataset, Dataset]:
    """The documents to train on, and about `ratio` of them held out: decided by a hash of the text.

    Identical texts lie on the same side, and a document keeps its side when others are added. With a ratio above 0
    neither side is empty: DataError where all texts are the same.
    """
    shares = (hashed(seed, "heldout", text) / 2**63 for text in values(dataset, "text"))
    share = np.fromiter(shares, np.float64, len(dataset))
    is_heldout = share < ratio
    if ratio > 0 and not is_heldout.any():
        is_heldout = share == share.min()
    if ratio > 0 and is_heldout.all():
        is_heldout = share < share.max()
    if ratio > 0 and not is_heldout.any():
        raise DataError(f"{len(dataset)} documents of one and the same text; expected others for data.heldout={ratio}")
    return dataset.select(np.flatnonzero(~is_heldout)), dataset.select(np.flatnonzero(is_heldout))


def values(dataset: Dataset, column: str) -> Iterator[str]:
    """One column, read block by block."""
    for batch in dataset.select_columns([column]).iter(batch_size=1000):
        yield from cast(dict[str, list[str]], batch)[column]


def opened(request: Request) -> tuple[Iterator[Row], list]:
    """The rows of a source, not yet read, and what tells its present content from another."""
    source, config = request.source, request.config
    if source in WORLDS:
        world_with(source, ("text",))
        return savanna_rows(request), [request.seed, config.samples, next(savanna_rows(request))["text"]]
    path = Path(source).expanduser()
    if is_saved(path):
        return saved_rows(request, path), identity(sorted(path.rglob("*")))
    if path.is_file():
        files = [File(path, "")]
    elif path.is_dir():
        files = folder_files(path)
    elif glob.has_magic(source):
        files = glob_files(path)
    elif is_hub_id(source, SUFFIXES):
        return hub_rows(request), [config.streaming]
    else:
        raise DataError(
            f"no such file or folder: {source}; expected a folder, file, glob, hub id owner/name or savanna"
        )
    return file_rows(request, files), identity(file.path for file in files)


def savanna_rows(request: Request) -> Iterator[Row]:
    """The captions of the built-in world."""
    from mmssl.savanna import captions, labels

    for start in range(0, request.config.samples, 10_000):
        indices = np.arange(start, min(start + 10_000, request.config.samples))
        for i, text, label in zip(indices, captions(request.seed, indices), labels(request.seed, indices)):
            yield {"text": text, "group": "savanna", "label": str(label), "origin": f"savanna:{i}"}


def file_rows(request: Request, files: list[File]) -> Iterator[Row]:
    """The rows of local files, each read as its suffix says; any unknown suffix is raw text."""
    for path, group in files:
        suffix = path.suffix.lower()
        reader = arrow_rows if suffix in TABLES else READERS.get(suffix, text_rows)
        yield from reader(request, path, group)


def arrow_rows(request: Request, path: Path, group: str) -> Iterator[Row]:
    """The rows of a .parquet, .json or .jsonl file, streamed."""
    kind, config = TABLES[path.suffix.lower()], request.config
    with readable(str(path), kind):
        if kind == "json":
            with path.open("rb") as stream:  # reports or refuses bytes that are not text
                for _ in decoded_blocks(stream, str(path), config.invalid_text, request.report):
                    pass
            examples = datasets.load_dataset(
                "json", data_files=glob.escape(str(path.absolute())), split="train", streaming=True,
                cache_dir=str(request.cache), encoding="utf-8-sig", encoding_errors="replace",
            )  # fmt: skip
        else:
            examples = parquet_examples(request, path, "text_column")
        yield from bounded(columns(request, examples, str(path), group), lambda row: len(row["text"]), path)


def parquet_examples(request: Request, path: Path, key: str) -> IterableDataset:
    """The columns of content and label of a .parquet file, row by row."""
    schema, wanted = parquet_schema(path), (getattr(request.config, key), request.config.label_column)
    check_columns(request, schema.names, str(path), key)
    features = Features({name: kind for name, kind in Features.from_arrow_schema(schema).items() if name in wanted})
    given, cache = {"path": path, "columns": tuple(features)}, str(request.cache)  # `from_generator` takes no cache
    made = GeneratorDatasetInputStream(parquet_rows, features, cache, streaming=True, gen_kwargs=given)
    return cast(IterableDataset, made.read())


def saved_rows(request: Request, path: Path) -> Iterator[Row]:
    """The rows of a folder that `save_to_disk` wrote."""
    with readable(str(path), "folder of `datasets`"):
        yield from columns(request, saved_examples(request, path), str(path), "")


def saved_examples(request: Request, path: Path) -> Dataset:
    """The wanted split of a folder that `save_to_disk` wrote."""
    wanted = request.config.split
    examples = datasets.load_from_disk(str(path))
    if isinstance(examples, Dataset):
        return examples
    if wanted not in examples:
        names = ", ".join(map(str, examples))
        raise DataError(f"{path} has no split {wanted!r}; expected data.split to be one of: {names}")
    return examples[wanted]


def hub_rows(request: Request) -> Iterator[Row]:
    """The rows of a hub source."""
    with readable(TAKEN_AS_HUB_ID.format(request.source), "hub source", DatasetsError):
        yield from columns(request, hub_examples(request), request.source, "")


def hub_examples(request: Request) -> Dataset | IterableDataset:
    """The wanted split of a hub source; no code of it is ever run."""
    name, _, subset = request.source.partition(":")
    wanted, is_stream = request.config.split, request.config.streaming
    return datasets.load_dataset(
        name, subset or None, split=wanted, streaming=is_stream, cache_dir=str(request.cache / "hub")
    )


def media_rows(request: Request, path: Path | None, key: str) -> Iterator[tuple[Any, str]]:
    """(what the column of this key holds, not decoded; label, "" where there is none) of each row of a .parquet file,
    of a folder that `save_to_disk` wrote or, without a path, of the hub source. DataError where it cannot be read.
    """
    quieten()
    column, label_column = getattr(request.config, key), request.config.label_column
    name = TAKEN_AS_HUB_ID.format(request.source) if path is None else str(path)
    with readable(name, "table of pictures or videos", DatasetsError):
        if path is None:
            examples = hub_examples(request)
        else:
            examples = saved_examples(request, path) if path.is_dir() else parquet_examples(request, path, key)
        found = column_names(examples)
        check_columns(request, found, name, key)
        if isinstance(feature := (examples.features or {}).get(column), Image | Video):
            examples = examples.cast_column(column, type(feature)(decode=False))
        label_name = label_names(examples, label_column)
        chosen = examples.select_columns([each for each in found if each in (column, label_column)])
        rows = steady(request, cast(Iterable[dict], chosen))
        if path is not None and path.is_file():
            rows = bounded(rows, lambda row: cell_bytes(row[column]), path)
        for row in rows:
            label = row.get(label_column)
            yield row[column], "" if label is None else label_name(label)


def columns(request: Request, examples: Dataset | IterableDataset, name: str, group: str) -> Iterator[Row]:
    """The rows of the text and label columns; no other column is decoded."""
    found, label_column = column_names(examples), request.config.label_column
    check_columns(request, found, name)
    wanted = [column for column in found if column in (request.config.text_column, label_column)]
    chosen = steady(request, cast(Iterable[dict], examples.select_columns(wanted)))
    yield from table_rows(request, chosen, name, group, label_names(examples, label_column))


def column_names(examples: Dataset | IterableDataset) -> list[str]:
    """The columns of a table, or of its first row."""
    return examples.column_names or list(next(iter(examples), {}))


def label_names(examples: Dataset | IterableDataset, column: str) -> Callable[[object], str]:
    """What turns a value of the label column into the label."""
    label = (examples.features or {}).get(column)

    def label_name(value: object) -> str:
        if isinstance(label, ClassLabel) and isinstance(value, int):
            return str(label.int2str(value)) if value >= 0 else ""
        return str(value)

    return label_name
