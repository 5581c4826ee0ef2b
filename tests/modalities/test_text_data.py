"""Claims about the way from a config's sources to packed rows."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl.config import Config, load_config
from mmssl.errors import DataError
from mmssl.modalities.text import tokenize
from mmssl.modalities.text_data import TextData, prepare
from mmssl.order import Order, Slots, batches
from mmssl.savanna import captions

ENGLISH = captions(0, np.arange(400))
GERMAN = [f"Die Katze {number} jagt den Hund {number % 7} im Wald." for number in range(60)]


def config_of(folder: Path, *overrides: str) -> Config:
    """A small text config below `folder`."""
    (folder / "config.yaml").write_text(
        "task: masked_language\n"
        f"run: {folder / 'run'}\n"
        "data: {row_length: 64, document: line}\n"
        "tokenizer: {vocabulary_size: 600}\n"
        "encoder: {name: bert, layers: 1, width: 16, heads: 2}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def written(path: Path, texts: list[str]) -> Path:
    """A text file with one document a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(texts))
    return path


def prepared(config: Config, **more) -> TextData:
    """The data of a config; nothing may be reported."""
    reports: list[dict] = []
    found = prepare(config, Path(config.run), reports.append, **more)
    assert not reports
    return found


def texts_of(data: TextData, part: str = "train") -> Counter:
    """How often each document (lower case, spaces apart) is in the rows."""
    reader = getattr(data, part)
    rows = reader(np.arange(sum(shape[0] for shape in reader.shapes)))["text"][0]
    document = tokenize(data.vocabulary, [rows]).place.document
    found: Counter = Counter()
    for ids, numbers in zip(rows, document, strict=True):
        found.update(
            " ".join(data.vocabulary.tokenizer.convert_ids_to_tokens(ids[numbers == number][1:-1].tolist()))
            for number in range(int(numbers.max()) + 1)
        )
    return found


def plain(texts: list[str], data: TextData) -> Counter:
    """The same of raw texts."""
    return Counter(" ".join(data.vocabulary.tokenizer.tokenize(text)) for text in texts)


def test_every_document_is_in_the_rows_once_for_each_time_it_is_in_the_source(tmp_path):
    source = written(tmp_path / "text" / "a.txt", ENGLISH)
    data = prepared(config_of(tmp_path, f"data.source={source.parent}", "data.heldout=0.0"))
    assert texts_of(data) == plain(ENGLISH, data)
    assert sum(data.sizes) == sum(shape[0] for shape in data.train.shapes)
    assert not data.heldout.paths
    assert data.efficiency > 0.85
    assert data.unknown_ratio == 0
    assert data.tokens_per_sample == pytest.approx(64 * data.efficiency)
    assert "1 group(s), 0 rows held out" in data.summary()


def test_a_ratio_is_held_out_and_no_text_is_on_both_sides(tmp_path):
    source = written(tmp_path / "text" / "a.txt", ENGLISH)
    data = prepared(config_of(tmp_path, f"data.source={source.parent}", "data.heldout=0.25"))
    train, heldout = texts_of(data), texts_of(data, "heldout")
    assert train + heldout == plain(ENGLISH, data)
    assert not set(train) & set(heldout)
    share = len(heldout) / len(set(ENGLISH))
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / len(set(ENGLISH))) ** 0.5


def test_a_separate_source_is_held_out_as_it_is(tmp_path):
    train, heldout = written(tmp_path / "a" / "a.txt", ENGLISH[:200]), written(tmp_path / "b" / "b.txt", ENGLISH[200:])
    data = prepared(config_of(tmp_path, f"data.source={train.parent}", f"data.heldout={heldout.parent}"))
    assert texts_of(data) == plain(ENGLISH[:200], data)
    assert texts_of(data, "heldout") == plain(ENGLISH[200:], data)


def test_the_built_in_world_holds_out_fresh_samples(tmp_path):
    data = prepared(config_of(tmp_path, "data.samples=300", "data.heldout=0.1", "seed=3"))
    assert texts_of(data) == plain(captions(3, np.arange(300)), data)
    heldout = texts_of(data, "heldout")
    assert sum(heldout.values()) == 30
    assert heldout != plain(captions(3, np.arange(30)), data)


def test_groups_are_folders_and_a_list_of_sources_is_a_mixture(tmp_path):
    written(tmp_path / "text" / "en" / "a.txt", ENGLISH)
    written(tmp_path / "text" / "de" / "a.txt", GERMAN)
    source = f"data.source={tmp_path / 'text'}"
    data = prepared(config_of(tmp_path, source, "data.groups=folder", "data.heldout=0.1"))
    assert len(data.sizes) == len(data.train.paths) == 2
    small, great = sorted(data.sizes)
    assert texts_of(data) + texts_of(data, "heldout") == plain(ENGLISH + GERMAN, data)

    exponent = Order(data.sizes, 0, 0.3)
    drawn = exponent.at(np.arange(10_000))[1]
    is_first = drawn < data.sizes[0]
    expected = data.sizes[0] ** 0.3 / (small**0.3 + great**0.3)
    assert is_first.mean() == pytest.approx(expected, abs=1e-3)
    assert abs(expected - data.sizes[0] / sum(data.sizes)) > 0.05  # the control: not the share without an exponent

    mixture = f"data.source=[{tmp_path / 'text' / 'en'}, {tmp_path / 'text' / 'de'}]"
    assert len(prepared(config_of(tmp_path, mixture, "data.heldout=0.0")).sizes) == 2


def test_two_starts_give_identical_rows_files_and_fingerprint(tmp_path):
    source = written(tmp_path / "text" / "a.txt", ENGLISH)
    config = config_of(tmp_path, f"data.source={source.parent}")
    first = prepared(config)
    before = {path: path.stat().st_mtime_ns for path in Path(config.run).rglob("rows-*")}
    content = [path.read_bytes() for path in (*first.train.paths, *first.heldout.paths)]
    again = prepared(config)
    assert again.fingerprint == first.fingerprint
    assert again.train == first.train
    assert {path: path.stat().st_mtime_ns for path in Path(config.run).rglob("rows-*")} == before
    shutil.rmtree(Path(config.run))
    anew = prepared(config)
    assert anew.fingerprint == first.fingerprint
    assert [path.read_bytes() for path in (*anew.train.paths, *anew.heldout.paths)] == content


def test_other_text_has_another_fingerprint(tmp_path):
    source = written(tmp_path / "text" / "a.txt", ENGLISH)
    config = config_of(tmp_path, f"data.source={source.parent}")
    first = prepared(config).fingerprint
    written(source, [*ENGLISH, "A lion sleeps."])
    assert prepared(config).fingerprint != first
    assert prepared(config_of(tmp_path, f"data.source={source.parent}", "data.row_length=32")).fingerprint != first


def test_the_tokenizer_of_the_run_folder_is_kept(tmp_path):
    source = written(tmp_path / "text" / "a.txt", ENGLISH)
    config = config_of(tmp_path, f"data.source={source.parent}")
    words = prepared(config).vocabulary
    written(source, [*GERMAN, *ENGLISH[:5]])
    later = prepared(config)
    assert later.vocabulary.tokenizer.get_vocab() == words.tokenizer.get_vocab()
    assert later.unknown_ratio > 0  # words that were not there when it was trained
    named = config_of(tmp_path, f"data.source={source.parent}", f"tokenizer.name={Path(config.run) / 'tokenizer'}",
                      f"run={tmp_path / 'other'}")  # fmt: skip
    assert prepared(named).vocabulary.tokenizer.get_vocab() == words.tokenizer.get_vocab()


@pytest.mark.parametrize(
    "encoder, kind", [("bert", "WordPiece"), ("roberta", "BPE"), ("xlm_roberta", "Unigram"), ("modernbert", "BPE")]
)
def test_the_tokenizer_is_of_the_encoders_kind_unless_the_config_says_otherwise(tmp_path, encoder, kind):
    source = written(tmp_path / "text" / "a.txt", ENGLISH)
    arguments = [f"data.source={source.parent}", f"encoder.name={encoder}"]
    words = prepared(config_of(tmp_path, *arguments)).vocabulary
    assert type(words.tokenizer.backend_tokenizer.model).__name__ == kind
    other = config_of(tmp_path, *arguments, "tokenizer.kind=word", f"run={tmp_path / 'other'}")
    assert type(prepared(other).vocabulary.tokenizer.backend_tokenizer.model).__name__ == "WordLevel"


def test_the_share_of_unknown_tokens_is_counted(tmp_path):
    source = written(tmp_path / "text" / "a.txt", ["a b c d"] * 10 + ["x y z w"] * 10)
    config = config_of(tmp_path, f"data.source={source.parent}", "data.heldout=0.0", "tokenizer.kind=word",
                       "tokenizer.vocabulary_size=64")  # fmt: skip
    assert prepared(config).unknown_ratio == 0
    written(source, ["a b c d"] * 10 + ["1 2 3 4"] * 10)
    assert prepared(config).unknown_ratio == pytest.approx(40 / 120)  # of 80 words and 40 first and last tokens


def test_replaced_bytes_are_reported_and_refused_unless_asked_for(tmp_path):
    source = written(tmp_path / "text" / "a.txt", ENGLISH)
    source.write_bytes(source.read_bytes() + b"\nA \xff lion.")
    with pytest.raises(DataError, match="not UTF-8"):
        prepared(config_of(tmp_path, f"data.source={source.parent}"))
    config = config_of(tmp_path, f"data.source={source.parent}", "data.invalid_text=replace")
    for _ in range(2):  # a second start says it again
        reports: list[dict] = []
        prepare(config, Path(config.run), reports.append)
        assert [(one["path"], one["count"], one["reason"]) for one in reports] == [(str(source), 1, "not UTF-8")]


def test_a_source_whose_documents_hold_no_token_is_refused(tmp_path):
    source = written(tmp_path / "text" / "a.txt", ["\u200b", "\u200d"])
    saved = config_of(tmp_path, "data.samples=50")
    prepared(saved)
    empty = config_of(tmp_path, f"data.source={source.parent}", "data.heldout=0.0")
    with pytest.raises(DataError, match="no text left to train on"):
        prepared(empty)


def test_pairs_carry_their_labels_beside_the_rows(tmp_path):
    source = written(tmp_path / "text" / "a.txt", [" ".join(ENGLISH[k : k + 3]) for k in range(0, 390, 3)])
    data = prepared(config_of(tmp_path, f"data.source={source.parent}"), next_sentence=True)
    rows = data.train(np.arange(sum(data.sizes)))
    ids, label = rows["text"][0], rows["next_sentence"][0]
    begins = ids == data.vocabulary.first
    assert torch.equal(label >= 0, begins)
    assert 0.2 < float(label[begins].float().mean()) < 0.8
    assert int((ids == data.vocabulary.last).sum()) == 2 * int(begins.sum())


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_read_the_rows_that_the_files_hold(tmp_path, workers):
    written(tmp_path / "text" / "en" / "a.txt", ENGLISH)
    written(tmp_path / "text" / "de" / "a.txt", GERMAN)
    data = prepared(config_of(tmp_path, f"data.source={tmp_path / 'text'}", "data.groups=folder"))
    everything = np.concatenate(
        [np.fromfile(path, np.int32).reshape(shape) for path, shape in zip(data.train.paths, data.train.shapes)]
    )
    order = Order(data.sizes, 0, 0.5)
    stream = batches(data.train, order, Slots(4, 1, 0, 1), samples_seen=0, workers=workers)
    for step in range(4):
        batch = next(stream)
        index = order.at(np.arange(4 * step, 4 * step + 4))[1]
        assert batch.draw.index.tolist() == index.tolist()
        assert np.array_equal(batch.views["text"][0].numpy(), everything[index, 0])
