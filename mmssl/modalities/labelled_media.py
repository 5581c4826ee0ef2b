"""Labelled pictures, sounds and videos to judge an encoder on, and a user's own files to look at with it."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from mmssl.config import Config
from mmssl.errors import DataError
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.media_cache import quiet
from mmssl.modalities.media_data import Report, Tables, prepare_media, reopen_media, tell
from mmssl.modalities.media_files import MediaFile, kinds, samples_of, split_files
from mmssl.modalities.media_reader import Reader, tensors
from mmssl.modalities.media_samples import Values, decoded_samples, decoding_of


class LabelledMedia(NamedTuple):
    """Samples with the numbers of their labels, for training and for testing a probe."""

    train: Reader
    train_labels: Int[Tensor, " N"]
    test: Reader
    test_labels: Int[Tensor, " M"]
    names: list[str]


def labelled_media(config: Config, folder: Path, report: Report, modalities: tuple[str, ...]) -> LabelledMedia | None:
    """The labelled source of a config, at most `evaluate.documents` samples a part at even distances.

    None where probes were not asked for and the data has no labels; DataError where a source was named and one of its
    files has none.
    """
    source, most = config.evaluate.source, config.evaluate.documents
    make = Tables(config, folder, modalities)
    if source == "savanna" or (source == "data" and config.data.source == "savanna"):
        return numbered(make, folder, [make.of_world(part, most) for part in ("probe", "test")], most)
    if source == "data":
        data = reopen_media(config, folder, modalities) or prepare_media(config, folder, report, modalities)
        if "" in data.train.labels() or "" in data.heldout.labels():
            return None
        if data.num_heldout:
            return with_numbers(thinned(data.train, most), thinned(data.heldout, most))
        if not isinstance(config.data.source, str):
            return None
        source = config.data.source
    files = labelled_files(make, source, most)
    if isinstance(config.evaluate.heldout, str):
        train, test = files, labelled_files(make, config.evaluate.heldout, most)
    else:
        train, test = split_files(files, config.evaluate.heldout, config.seed)
        if not test:
            raise DataError(f"{source}: 1 file; expected 2 or more, to train a probe and to test it")
    found = numbered(make, folder, [make.of_files(train, source), make.of_files(test, source)], most)
    for reader in (found.train, found.test):
        tell(reader, report)
    return found


def labelled_files(make: Tables, source: str, most: int) -> list[MediaFile]:
    """The files of a source, at most 2 * `most` at even distances; DataError where one has no label."""
    files = make.files(source)
    for file in files:
        if not file.label:
            raise DataError(f"{source}: {file.path} has no label; expected a sub-folder for each label")
    return files[:: -(-len(files) // (2 * most))]


def numbered(make: Tables, folder: Path, tables: list[Path], most: int) -> LabelledMedia:
    """Readers of the two tables, with labels."""
    is_decoded = make.fit(tables)
    train, test = (thinned(make.reader([table], folder, decoded=is_decoded), most) for table in tables)
    return with_numbers(train, test)


def thinned(reader: Reader, most: int) -> Reader:
    """A reader of at most `most` of the samples, at even distances."""
    return Reader(reader.parts, reader.decoding, reader.seed, reader.run, max(1, -(-reader.size // most)))


def with_numbers(train: Reader, test: Reader) -> LabelledMedia:
    """The readers with their labels, numbered in alphabetical order."""
    found = [train.labels(), test.labels()]
    names = sorted({name for labels in found for name in labels})
    number = {name: index for index, name in enumerate(names)}
    numbers = [torch.tensor([number[name] for name in labels]) for labels in found]
    return LabelledMedia(train, numbers[0], test, numbers[1], names)


def read_inputs(paths: list[str], config: Config, modalities: tuple[str, ...]) -> dict[str, list[Tensor]]:
    """The first window of each file, as a Reader answers; DataError where one cannot be read."""
    decoding = decoding_of(config, modalities, Path(config.run))
    values: Values = decoding.zeros(len(paths))
    with quiet():
        for row, path in enumerate(paths):
            for name, value in first_window(path, config, modalities).items():
                values[name][row], values[f"{name}.present"][row] = value, True
    return tensors(values)


def first_window(path: str, config: Config, modalities: tuple[str, ...]) -> Values:
    """What the first window of a file holds."""
    suffixes = kinds(modalities, paired=False)
    kind = suffixes.get(Path(path).suffix.lower())
    if kind is None:
        raise DataError(f"{path}: not of a kind that is read here; expected {', '.join(sorted(suffixes))}")
    if not Path(path).is_file():
        raise DataError(f"no such file: {path}; expected one of {', '.join(sorted(suffixes))}")
    file = MediaFile(Path(path), Path(path).name, "", kind, None, False)
    samples, bad = samples_of(file, config.data.seconds, with_sound="audio" in modalities)
    if not samples:
        raise DataError(f"{path} cannot be used: {bad[0]['reason']}; expected a readable {kind}")
    content = next(decoded_samples(samples[:1], decoding_of(config, modalities, Path(config.run))))
    if isinstance(content, BadSample):
        raise DataError(f"{path} cannot be used: {content}; expected a readable {kind}")
    return content
