"""Labelled pictures, sounds and videos to judge an encoder on; a user's own files and captions to look at with it."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.errors import DataError
from mmssl.modalities.bad_sample import BadSample, Report
from mmssl.modalities.decoding import Values, decoding_of
from mmssl.modalities.given_text import is_words, row_of
from mmssl.modalities.media_cache import quiet
from mmssl.modalities.media_data import Tables, cutting_of, prepare_media, reopen_media, tell
from mmssl.modalities.media_files import TEXT, MediaFile, kinds, split_files
from mmssl.modalities.media_reader import Reader, tensors
from mmssl.modalities.media_samples import decoded_samples
from mmssl.modalities.media_windows import samples_of
from mmssl.modalities.world_samples import WORLDS
from mmssl.random import Draw


class LabelledMedia(NamedTuple):
    """Samples with the numbers of their labels, for training and for testing a probe."""

    train: Reader
    train_labels: Int[Tensor, " N"]
    test: Reader
    test_labels: Int[Tensor, " M"]
    names: list[str]


def labelled_media(config: Config, folder: Path, report: Report, modalities: tuple[str, ...]) -> LabelledMedia | None:
    """The labelled source of a config, at most `evaluate.documents` samples a part at even distances.

    None where no source was named and the data has no labels, or too few to fit a probe to (a line on stderr says so);
    DataError where a source was named and one of its files has none.
    """
    if config.evaluate.source == "data":
        make = Tables(config, folder, modalities, report)
        source = config.data.source
        of_world = isinstance(source, str) and source in WORLDS
        found = labels_of_the_world(make, folder, str(source)) if of_world else labels_of_the_run(make, folder)
        if found is not None and not is_enough(found):
            count = f"{len(found.train_labels)} samples of {len(found.names)} label(s)"
            print(f"note: no probe: {count} to fit it to; expected 5, two of each of two labels", file=sys.stderr)
        return found if found is not None and is_enough(found) else None
    named = config.data.model_copy(update={"label_column": config.evaluate.label_column})
    make = Tables(config.model_copy(update={"data": named}), folder, modalities, report)
    if config.evaluate.source in WORLDS:
        return labels_of_the_world(make, folder, config.evaluate.source)
    found = labels_of_a_source(make, folder, config.evaluate.source)
    if found is None:
        raise DataError(f"{config.evaluate.source}: 1 file; expected 2 or more, to train a probe and to test it")
    return found


def is_enough(found: LabelledMedia) -> bool:
    """Whether a probe can be fitted to the labels, as `mmssl.evaluate.probe` asks."""
    return len(found.train_labels) >= 5 and int((found.train_labels.bincount() >= 2).sum()) >= 2


def labels_of_the_world(make: Tables, folder: Path, world: str) -> LabelledMedia:
    """Fresh samples of a built-in world."""
    most = make.config.evaluate.documents
    return numbered(make, folder, [make.of_world(world, part, most) for part in ("probe", "test")])


def labels_of_the_run(make: Tables, folder: Path) -> LabelledMedia | None:
    """The samples of a run, tested on those held out or, where there are none, on some of the source; None where one
    has no label.
    """
    config, most = make.config, make.config.evaluate.documents
    data = reopen_media(config, folder, make.modalities) or prepare_media(config, folder, make.report, make.modalities)
    if "" in data.train.labels() or "" in data.heldout.labels():
        return None
    if data.num_heldout:
        return with_numbers(thinned(data.train, most), thinned(data.heldout, most))
    return labels_of_a_source(make, folder, config.data.source) if isinstance(config.data.source, str) else None


def labels_of_a_source(make: Tables, folder: Path, source: str) -> LabelledMedia | None:
    """A labelled source, its test part held out or a source of its own; None where nothing is left to test on."""
    evaluate = make.config.evaluate
    files = labelled_files(make, source, evaluate.documents)
    if isinstance(evaluate.heldout, str):
        train, test = files, labelled_files(make, evaluate.heldout, evaluate.documents)
    else:
        train, test = split_files(files, evaluate.heldout, make.config.seed)
    if not test:
        return None
    found = numbered(make, folder, [make.of_files(train, source), make.of_files(test, source)])
    for reader in (found.train, found.test):
        tell(reader, make.report)
    return found


def labelled_files(make: Tables, source: str, most: int) -> list[MediaFile]:
    """The files of a source, at most 2 * `most` at even distances; DataError where one has no label."""
    files = make.files(source)
    expected = "a sub-folder for each label, or of a table or archive data.label_column or evaluate.label_column"
    for file in files:
        if not file.label:
            raise DataError(f"{source}: {file.path} has no label; expected {expected}")
    return files[:: -(-len(files) // (2 * most))]


def numbered(make: Tables, folder: Path, tables: list[Path]) -> LabelledMedia:
    """Readers of the two tables, with labels."""
    is_decoded, most = make.fit(tables), make.config.evaluate.documents
    train, test = (thinned(make.reader([table], folder, decoded=is_decoded), most) for table in tables)
    return with_numbers(train, test)


def thinned(reader: Reader, most: int) -> Reader:
    """A reader of at most `most` of the samples, at even distances."""
    return replace(reader, step=reader.step * max(1, -(-reader.size // most)))


def with_numbers(train: Reader, test: Reader) -> LabelledMedia:
    """The readers with their labels, numbered in alphabetical order."""
    found = [train.labels(), test.labels()]
    names = sorted({name for labels in found for name in labels})
    number = {name: index for index, name in enumerate(names)}
    numbers = [torch.tensor([number[name] for name in labels]) for labels in found]
    return LabelledMedia(train, numbers[0], test, numbers[1], names)


def batch_of(given: list[str], config: Config, modalities: tuple[str, ...]) -> Batch:
    """The first window of each of a user's files, and captions, with the draws of samples 0, 1, ..."""
    index = torch.arange(len(given))
    return Batch(read_inputs(given, config, modalities), Draw(config.seed, torch.zeros_like(index), index))


def read_inputs(given: list[str], config: Config, modalities: tuple[str, ...]) -> dict[str, list[Tensor]]:
    """The first window of each file, and captions, as a Reader answers; DataError where one cannot be read."""
    decoding = decoding_of(config, modalities, Path(config.run))
    values: Values = decoding.zeros(len(given))
    with quiet():
        for row, path in enumerate(given):
            for name, value in first_window(path, config, modalities).items():
                values[name][row], values[f"{name}.present"][row] = value, True
    return tensors(values)


def kind_of(given: str, modalities: tuple[str, ...]) -> str:
    """What is read of a user's file, by its suffix, or "text" of words; DataError where that is nothing, or there is no
    such file.
    """
    suffixes, expected = kinds(modalities, paired=False), ""
    if "text" in modalities:
        if is_words(given):
            return "text"
        suffixes, expected = {**suffixes, TEXT: "text"}, " or words"
    expected = ", ".join(sorted(suffixes)) + expected
    kind = suffixes.get(Path(given).suffix.lower())
    if kind is None:
        raise DataError(f"{given}: not of a kind that is read here; expected {expected}")
    if not Path(given).is_file():
        raise DataError(f"no such file: {given}; expected one of {expected}")
    return kind


def first_window(given: str, config: Config, modalities: tuple[str, ...]) -> Values:
    """What the first window of a file holds; of a caption its words. A video that ends within it is refused or filled
    up by its last frame, as data.short_videos says, and that is told.
    """
    kind, decoding = kind_of(given, modalities), decoding_of(config, modalities, Path(config.run))
    if kind == "text":
        return {"text": row_of(given, decoding)}
    file = MediaFile(Path(given), Path(given).name, "", kind, None, False)
    samples, bad = samples_of(file, cutting_of(config, modalities)._replace(clips_per_file=0), Path(config.run))
    if not samples:
        raise DataError(f"{given} cannot be used: {bad[0]['reason']}; expected a readable {kind}")
    if held := samples[0].held_seconds:
        there = config.data.seconds - held
        print(f"note: {given} lasts {there:.3g} s; its last frame stands for {held:.3g} s more", file=sys.stderr)
    content = next(decoded_samples(samples[:1], decoding))
    if isinstance(content, BadSample):
        raise DataError(f"{given} cannot be used: {content}; expected a readable {kind}")
    return content
