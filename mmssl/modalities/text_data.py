"""From a config's sources to packed rows: documents, tokenizer, groups, what is held out."""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmssl.config import Config
from mmssl.data import documents, split
from mmssl.errors import DataError
from mmssl.modalities.packing import Rows, pieces, write_rows
from mmssl.modalities.sentence_pairs import paired
from mmssl.modalities.text import Vocabulary, every, load_tokenizer, train_tokenizer, vocabulary
from mmssl.random import hashed
from mmssl.runs import write_json

BATCH = 1000  # documents that are tokenised at once, at most
BATCH_CHARACTERS = 4_000_000  # and as many characters: a token takes about 50 bytes while it is made


class Reader(NamedTuple):
    """Reads rows by their number from the files of all groups; small to send to a worker."""

    paths: tuple[Path, ...]
    shapes: tuple[tuple[int, int, int], ...]
    channels: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many rows there are."""
        return sum(shape[0] for shape in self.shapes)

    def __call__(self, indices: np.ndarray) -> dict[str, list[Tensor]]:
        starts = np.cumsum([0, *(shape[0] for shape in self.shapes)])
        group = np.searchsorted(starts, indices, side="right") - 1
        rows = np.empty((len(indices), *self.shapes[0][1:]), dtype=np.int32)
        for number in np.unique(group):
            mine = group == number
            rows[mine] = mapped(self.paths[number], self.shapes[number])[indices[mine] - starts[number]]
        return {name: [torch.from_numpy(rows[:, channel]).long()] for channel, name in enumerate(self.channels)}


@lru_cache(maxsize=256)
def mapped(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """A file of rows, memory-mapped once in each process."""
    return np.memmap(path, dtype=np.int32, mode="r", shape=shape)


class TextData(NamedTuple):
    """All that a text task needs of its data."""

    vocabulary: Vocabulary
    train: Reader
    sizes: tuple[int, ...]  # rows of each group
    heldout: Reader
    tokens_per_sample: float
    efficiency: float  # share of row slots that hold a token
    unknown_ratio: float  # share of tokens that the vocabulary does not know
    fingerprint: str

    def summary(self) -> str:
        """One line on what was read."""
        rows, heldout = sum(self.sizes), self.heldout.size
        return (
            f"data: {rows:,} rows of {self.train.shapes[0][-1]} tokens ({self.efficiency:.1%} full) in "
            f"{len(self.sizes)} group(s), {heldout:,} rows held out; vocabulary {self.vocabulary.size:,} "
            f"({self.unknown_ratio:.3%} unknown)"
        )


def groups(config: Config, cache: Path, report: Callable[[dict], None]) -> dict[str, tuple[Any, Any]]:
    """(documents to train on, documents held out) of each group of the mixture."""
    sources = [config.data.source] if isinstance(config.data.source, str) else list(config.data.source)
    found: dict[str, tuple[Any, Any]] = {}
    ratio = config.data.heldout if isinstance(config.data.heldout, float) else 0.0
    for source in sources:
        everything = documents(source, config.data, cache, report, seed=config.seed)
        if config.data.groups == "folder":
            names = np.asarray(everything["group"])
            parts = {str(name): everything.select(np.flatnonzero(names == name)) for name in np.unique(names)}
        else:
            parts = {source: everything}
        for name, part in parts.items():
            if source == "savanna" and ratio:
                # the world is its own source of fresh samples; a split by text would hide whole sentences from training
                samples = max(1, round(ratio * config.data.samples))
                fresh = config.data.model_copy(update={"samples": samples})
                found[name] = part, documents(source, fresh, cache, report, seed=hashed(config.seed, "heldout"))
            else:
                found[name] = split(part, ratio, config.seed) if ratio else (part, part.select([]))
    return found


def prepare(config: Config, folder: Path, report: Callable[[dict], None], *, next_sentence: bool = False) -> TextData:
    """Read, tokenise and pack the config's sources; finished files in the cache are used again.

    Raises DataError where nothing is left to train on.
    """
    cache = folder / config.data.cache
    parts = groups(config, cache, report)
    words = ready_vocabulary(config, folder, [train for train, _ in parts.values()])
    pack = RowMaker(words, cache, config.data.row_length, config.seed if next_sentence else None)
    train = [pack(dataset) for dataset, _ in parts.values()]
    if isinstance(config.data.heldout, str):
        heldout = [pack(documents(config.data.heldout, config.data, cache, report, seed=config.seed))]
    else:
        heldout = [pack(dataset) for _, dataset in parts.values() if len(dataset)]
    if not sum(len(rows.values) for _, rows in train):
        raise DataError(f"data.source {config.data.source}: no text left to train on; expected at least one document")
    tokens, count = sum(rows.tokens for _, rows in train), sum(len(rows.values) for _, rows in train)
    data = TextData(
        words,
        pack.reader([(path, rows) for path, rows in train if len(rows.values)]),
        tuple(len(rows.values) for _, rows in train if len(rows.values)),
        pack.reader([(path, rows) for path, rows in heldout if len(rows.values)]),
        tokens / count,
        tokens / (count * config.data.row_length),
        sum(rows.unknown for _, rows in train) / tokens,
        sha256(json.dumps([rows.sha256 for _, rows in train]).encode()).hexdigest()[:16],
    )
    kept = {name: value for name, value in data._asdict().items() if name != "vocabulary"}
    write_json(folder / "data.json", {"config": origin(config), **kept})
    return data


def origin(config: Config) -> dict[str, Any]:
    """All of a config that decides which rows come out."""
    return {"seed": config.seed, "data": config.data.model_dump(mode="json")}


def reopen(config: Config, folder: Path) -> TextData | None:
    """The rows of a run as `prepare` left them, without the sources; None where they are gone or the config changed."""
    note = folder / "data.json"
    found: dict[str, Any] = json.loads(note.read_text()) if note.exists() else {"config": None}
    if found.pop("config") != origin(config):
        return None
    for part in ("train", "heldout"):
        paths, shapes, channels = found[part]
        # the folder may have been moved, with its cache
        paths = [folder / config.data.cache / Path(path).name for path in paths]
        found[part] = Reader(tuple(paths), tuple(map(tuple, shapes)), tuple(channels))
    if not all(path.exists() for path in (*found["train"].paths, *found["heldout"].paths)):
        return None
    found |= {"vocabulary": vocabulary(load_tokenizer(folder / "tokenizer")), "sizes": tuple(found["sizes"])}
    return TextData(**found)


class Texts:
    """A share of the texts of data sets, in evenly spread batches; can be read again and again."""

    def __init__(self, datasets: list[Any], share: float) -> None:
        self.datasets, self.share = datasets, share

    def __iter__(self) -> Iterator[str]:
        for dataset in self.datasets:
            batches = max(1, round(self.share * len(dataset) / BATCH))
            for start in every(batches, -(-len(dataset) // BATCH)):
                yield from dataset[start * BATCH : (start + 1) * BATCH]["text"]


def ready_vocabulary(config: Config, folder: Path, datasets: list[Any]) -> Vocabulary:
    """The run's tokenizer: saved with the run, else the one that is named, else trained on the documents."""
    from mmssl.models.encoder import TOKENIZER_KINDS

    saved = folder / "tokenizer"
    if (saved / "tokenizer.json").exists():
        return vocabulary(load_tokenizer(saved))
    named = config.tokenizer.name
    if named != "trained":
        tokenizer = load_tokenizer(named)
    else:
        asked = config.tokenizer.kind
        kind = TOKENIZER_KINDS[config.encoder.name] if asked == "as_encoder" else asked
        total = sum(len(dataset) for dataset in datasets)
        share = config.tokenizer.sample_documents / max(1, total)
        tokenizer = train_tokenizer(
            Texts(datasets, share), kind, config.tokenizer.vocabulary_size, lowercase=config.tokenizer.lowercase
        )
    with TemporaryDirectory(dir=folder) as temporary:  # whole or not at all
        tokenizer.save_pretrained(Path(temporary) / "tokenizer")
        (Path(temporary) / "tokenizer").rename(saved)
    # read back, so that a first start and a resumed one use the very same tokenizer
    return vocabulary(load_tokenizer(saved))


def together(dataset: Any) -> Iterator[tuple[int, list[str]]]:
    """Documents that are tokenised at once, with the number of the first, so that long ones take bounded memory."""
    for start in range(0, len(dataset), BATCH):
        texts, begun, characters = list(dataset[start : start + BATCH]["text"]), 0, 0
        for number, text in enumerate(texts):
            if characters and characters + len(text) > BATCH_CHARACTERS:
                yield start + begun, texts[begun:number]
                begun, characters = number, 0
            characters += len(text)
        yield start + begun, texts[begun:]


class RowMaker:
    """Tokenises and packs data sets into files below the cache, named by what they are made of."""

    def __init__(self, vocabulary: Vocabulary, cache: Path, length: int, pair_seed: int | None) -> None:
        self.vocabulary, self.cache, self.length, self.pair_seed = vocabulary, cache, length, pair_seed
        self.channels = ("text",) if pair_seed is None else ("text", "next_sentence")
        self.tokenizer = sha256(vocabulary.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()

    def __call__(self, dataset: Any) -> tuple[Path, Rows]:
        parts = [dataset._fingerprint, len(dataset), self.tokenizer, self.length, self.pair_seed, self.channels]
        path = self.cache / f"rows-{sha256(json.dumps(parts).encode()).hexdigest()[:16]}.bin"
        fill = np.array([self.vocabulary.pad, -1][: len(self.channels)], dtype=np.int32)
        return path, write_rows(self.pieces(dataset), path, self.length, fill, self.vocabulary.unknown)

    def pieces(self, dataset: Any) -> Iterator[np.ndarray]:
        """The pieces of all documents, each between its first and last token."""
        first, last = self.vocabulary.first, self.vocabulary.last
        for start, texts in together(dataset):
            encoded = self.vocabulary.encode(texts)
            if self.pair_seed is None:
                for ids in encoded:
                    yield from pieces(ids, first, last, self.length)
            else:
                yield from paired(encoded, first, last, self.length, hashed(self.pair_seed, start))

    def reader(self, files: list[tuple[Path, Rows]]) -> Reader:
        """What reads the rows of these files as one range of numbers."""
        return Reader(tuple(path for path, _ in files), tuple(rows.values.shape for _, rows in files), self.channels)
