"""Pictures and videos in tar archives, read in place, and in tables, whose bytes are copied once into one file."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Any, NamedTuple

from mmssl.errors import DataError
from mmssl.folder import write_whole
from mmssl.modalities.archives import Member, members
from mmssl.modalities.bad_sample import unreported
from mmssl.modalities.media_cache import TELL_SECONDS, whole_folder
from mmssl.modalities.media_files import (
    IMAGES,
    SOUNDS,
    VIDEOS,
    MediaFile,
    counted,
    found,
    is_hidden,
    kinds,
    listed,
    visible,
)
from mmssl.modalities.media_manifest import is_manifest, manifest_files
from mmssl.modalities.remote import is_remote, opened, shards, version_of
from mmssl.modalities.text_files import Binary
from mmssl.random import hashed
from mmssl.sections import DataConfig
from mmssl.sources import Request, first_folder, identity, is_hub_id, is_saved, readable

LAYOUT = 2  # of the copied files: part of the name by which they are found again
CONTAINERS = {".parquet", ".tar"}
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
BLOB, INDEX = "files.bin", "index.json"
WORDS = {"image": "picture", "video": "video"}
COLUMNS = {"image": "image_column", "video": "video_column"}  # modality that tables and archives hold -> its key
OPTIONS = {"documents", *COLUMNS.values(), "label_column", "split", "streaming"}
MAX_LABEL_BYTES = 2**20  # of a member that holds a label
MAX_LABEL_CHARACTERS = 1000


Entry = tuple[str, int, int, str]  # of an archive: name, offset, size and label of a member


class Container(NamedTuple):
    """An archive, a table, a folder of `datasets` or (without a path) a hub source, with its path below the source."""

    path: Path | None
    relative: str


def all_files(source: str, modalities: tuple[str, ...], config: DataConfig, cache: Path) -> list[MediaFile]:
    """The files of a source, those that a manifest names or, where it has none but archives and tables, the pictures
    and videos in these.

    Those of tables are copied below the cache, once. DataError where there is nothing to read.
    """
    if is_remote(source):
        seen = seen_in(source, modalities, config)
        return files_or_none(source, [*files_of_shards(source, seen, config, cache)], seen, config)
    if is_manifest(source, config):
        return manifest_files(source, modalities, config)
    containers = containers_in(source, kinds(modalities, paired=False))
    if not containers:
        return found(source, modalities, config.paired)
    seen = seen_in(source, modalities, config)
    archives = [each for each in containers if each.path is not None and each.path.suffix.lower() == ".tar"]
    files = [file for each in archives for file in files_of_archive(each, seen, config.label_column)]
    if tables := [each for each in containers if each not in archives]:
        first, *others = seen
        if others:
            raise DataError(f"{source} holds tables, read for one modality; expected {' and '.join(seen)} as files")
        files += files_of_tables(source, tables, first, config, cache)
    return files_or_none(source, files, seen, config)


def seen_in(source: str, modalities: tuple[str, ...], config: DataConfig) -> tuple[str, ...]:
    """Which modalities are read of archives and tables; DataError where others are wanted."""
    seen = tuple(kind for kind in COLUMNS if kind in modalities)
    if not seen or config.paired or ("audio" in modalities and "video" not in modalities):
        wanted = "pictures or videos with what is in data.paired" if config.paired else " and ".join(modalities)
        raise DataError(
            f"{source} holds tables or archives, read for pictures and videos alone; expected {wanted} as files"
        )
    return seen


def files_or_none(source: str, files: list[MediaFile], seen: tuple[str, ...], config: DataConfig) -> list[MediaFile]:
    """The files of archives and tables, as many as are wanted; DataError where there are none."""
    if not files:
        wanted = " or ".join(WORDS[kind] for kind in seen)
        raise DataError(f"{source} has no {wanted}; expected one member or row with a {wanted} at least")
    return files[: config.documents or None]


def containers_in(source: str, suffixes: dict[str, str]) -> list[Container]:
    """The archives and tables of a source; none where it has files of these suffixes. DataError where an archive is
    compressed: its members have no place of their own.
    """
    path = Path(source).expanduser()
    if is_saved(path):
        return [Container(path, path.name)]
    if is_hub_id(source, IMAGES | SOUNDS | VIDEOS | CONTAINERS):
        return [Container(None, source)]
    if any(match.suffix.lower() in suffixes for match in visible(source)[1]):
        return []
    root, paths = listed(source)
    for each in paths:
        if each.name.lower().endswith(COMPRESSED):
            raise DataError(
                f"{each}: a compressed archive; expected .tar, not compressed (pictures and videos are already)"
            )
    chosen = [each for each in paths if each.suffix.lower() in CONTAINERS]
    if chosen and (others := counted(each for each in paths if each not in chosen)):
        print(f"note: {source}: ignored {others}", file=sys.stderr)
    return [Container(each, each.relative_to(root).as_posix()) for each in chosen]


def files_of_archive(archive: Container, modalities: tuple[str, ...], label_column: str) -> Iterator[MediaFile]:
    """The pictures and videos of a .tar, nothing of which is extracted; DataError where it is cut off or compressed."""
    assert archive.path is not None
    suffixes = kinds(modalities, paired=False)
    with readable(str(archive.path), "tar archive, whole and not compressed"), archive.path.open("rb") as file:
        found = index_of(file, suffixes, label_column)
    stored = str(archive.path.absolute())
    yield from (file_in(str(archive.path), archive.relative, stored, suffixes, entry) for entry in found)


def files_of_shards(source: str, modalities: tuple[str, ...], config: DataConfig, cache: Path) -> Iterator[MediaFile]:
    """The same of shards that lie elsewhere; the index of each is made once and kept below the cache."""
    suffixes = kinds(modalities, paired=False)
    for url in shards(source):
        size, tag = version_of(url)
        path = cache / f"shard-{hashed(LAYOUT, url, size, tag, *sorted(suffixes), config.label_column):016x}.json"
        if not path.exists():
            with readable(url, "tar archive, whole and not compressed"), opened(url, size) as file:
                found = index_of(file, suffixes, config.label_column)
            write_whole(path, json.dumps(found).encode())
        name = url.rpartition("/")[2]
        for entry in json.loads(path.read_text()):
            yield file_in(url, name, url, suffixes, tuple(entry))._replace(version=f"{size} {tag}")


def file_in(archive: str, relative: str, stored: str, suffixes: dict[str, str], entry: Entry) -> MediaFile:
    """A member as a file; its label is what was said of it, else the first folder in the archive, else around it."""
    name, offset, size, said = entry
    member = PurePosixPath(name)
    label = said or first_folder(member) or first_folder(PurePosixPath(relative))
    return MediaFile(
        Path(f"{archive}:{name}"), f"{relative}:{name}", label, suffixes[member.suffix.lower()], None,
        False, stored, offset, size,
    )  # fmt: skip


def index_of(file: Binary, suffixes: dict[str, str], label_column: str) -> list[Entry]:
    """(name, offset, size, label) of the members with these suffixes of an open archive. Names stay names.

    The label is that of the member `X.cls` or of the key `label_column` in `X.json` beside `X.png`, as webdataset has
    it, else "".
    """
    places: dict[str, tuple[int, int]] = {}
    labels: dict[str, str] = {}
    for member in (each for each in members(file) if not is_hidden(each.name)):
        name = member.name
        if name.suffix.lower() in suffixes:
            places[str(name)] = member.offset, member.size  # a later member replaces one of the same name
        elif name.suffix == ".cls":
            labels[sample_key(name)] = checked_label(told(file, member).decode().strip(), name)
        elif name.suffix == ".json":
            entry = json.loads(told(file, member))
            label = entry.get(label_column) if isinstance(entry, dict) else None
            if label is not None:
                labels.setdefault(sample_key(name), checked_label(str(label), name))
    return [(name, *place, labels.get(sample_key(PurePosixPath(name)), "")) for name, place in places.items()]


def told(file: Binary, member: Member) -> bytes:
    """What a member may say of a label: the beginning of a text; nothing of what is none."""
    if member.name.suffix not in (".cls", ".json"):
        return b""
    file.seek(member.offset)
    return file.read(min(member.size, MAX_LABEL_BYTES))


def checked_label(label: str, name: PurePosixPath) -> str:
    """A label; ValueError where it is longer than any name of a class."""
    if len(label) > MAX_LABEL_CHARACTERS:
        raise ValueError(f"member {name} holds a label of {len(label):,} characters, at most {MAX_LABEL_CHARACTERS:,}")
    return label


def sample_key(name: PurePosixPath) -> str:
    """What the members of one sample have in common: all before the first dot."""
    return str(name.with_name(name.name.partition(".")[0]))


def files_of_tables(
    source: str, tables: list[Container], modality: str, config: DataConfig, cache: Path
) -> list[MediaFile]:
    """The pictures or videos of tables, each named after its row, copied now unless they are there."""
    on_disk = [each.path for each in tables if each.path is not None]
    inside = [path for each in on_disk for path in (sorted(each.rglob("*")) if each.is_dir() else [each])]
    content = json.dumps([modality, config.model_dump(include=OPTIONS), identity(inside)], sort_keys=True)
    folder = cache / f"files-{hashed(LAYOUT, source, content):016x}"
    if not folder.is_dir():
        size = sum(path.stat().st_size for path in inside)
        about = f"about {size / 1e9:.3f} GB" if size else "of a hub source"
        print(f"note: copying the {WORDS[modality]}s of {source} into {folder} ({about})", file=sys.stderr)
        with whole_folder(folder, f"{WORDS[modality]}s", f"expected about {size:,} free bytes") as temporary:
            copy_cells(Request(source, config, cache, unreported, 0), tables, modality, temporary)
    blob = f"{folder.name}/{BLOB}"
    return [
        MediaFile(Path(name), relative, label, modality, None, False, blob, offset, size)
        for name, relative, label, offset, size in json.loads((folder / INDEX).read_text())
    ]


def copy_cells(request: Request, tables: list[Container], modality: str, folder: Path) -> None:
    """Write what the modality's column holds, not decoded, one behind the other, and an index into a folder."""
    from mmssl.data import media_rows  # seconds, which only tables need

    key = COLUMNS[modality]
    rows = ((table, row) for table in tables for row in enumerate(media_rows(request, table.path, key)))
    index, told = [], monotonic()
    with (folder / BLOB).open("xb") as blob:
        for table, (number, (cell, label)) in islice(rows, request.config.documents or None):
            name, relative = f"{table.path or request.source}:{number}", f"{table.relative}:{number}"
            content = content_of(cell, name, getattr(request.config, key), WORDS[modality])
            label = label or first_folder(PurePosixPath(table.relative if table.path else ""))
            index.append((name, relative, label, blob.tell(), len(content)))
            blob.write(content)
            if monotonic() - told > TELL_SECONDS:
                told = monotonic()
                print(f"note: {len(index):,} {WORDS[modality]}s copied, {blob.tell() / 1e9:.3f} GB", file=sys.stderr)
    (folder / INDEX).write_text(json.dumps(index))


def content_of(cell: Any, name: str, column: str, kind: str) -> bytes:
    """The bytes in a cell: binary, or a struct {bytes, path}; those of an empty one are b"", no picture or video."""
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if content is None and path is not None:
        raise DataError(
            f"{name}: holds a path ({path}) and no bytes; expected a table that holds its {kind}s "
            "(a hub source may do so with data.streaming=false)"
        )
    if content is not None and not isinstance(content, bytes):
        raise DataError(f"{name}: column {column!r} holds {cell!r:.40}; expected the bytes of a {kind}")
    return content or b""
