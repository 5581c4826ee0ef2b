"""Claims about stored documents: when a source is read again, what the hub answers, labels and the held-out part."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

from mmssl import data
from mmssl.data import documents, labelled, split
from mmssl.errors import CheckpointError, DataError
from mmssl.sections import DataConfig

LINES = DataConfig(document="line")
LOAD_DATASET = datasets.load_dataset


def write(path: Path, content: str | bytes) -> Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def column(dataset: datasets.Dataset, name: str) -> list[str]:
    """All values of a column."""
    return list(dataset[name])


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two labels and a file at the top."""
    write(tmp_path / "texts" / "b_sad" / "deep" / "two.txt", "grey\nrain")
    write(tmp_path / "texts" / "a_glad" / "one.MD", "sun\n\nsea")
    write(tmp_path / "texts" / "top.txt", "neither")
    return tmp_path / "texts"


@pytest.fixture
def table(tmp_path) -> Path:
    """A parquet file with an empty text and class labels."""
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["no", "yes"]),
            "other": datasets.Value("int64"),
        }
    )
    rows = {"text": ["zero", " ", "two", "three"], "label": [0, 1, 1, -1], "other": [1, 2, 3, 4]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_savanna_is_a_source_with_labels(tmp_path):
    from mmssl.savanna import captions, labels

    found = documents("savanna", DataConfig(samples=50), tmp_path / "cache", seed=3)
    assert column(found, "text") == captions(3, np.arange(50))
    assert column(found, "label") == [str(label) for label in labels(3, np.arange(50))]
    assert column(found, "origin")[7] == "savanna:7"
    assert column(documents("savanna", DataConfig(samples=50), tmp_path / "cache", seed=4), "text") != found["text"]


def hub(table: Path, calls: list):
    """What stands for the hub: `owner/set` is a local parquet file."""

    def load_dataset(path, name=None, **options):
        if "/" not in path:
            return LOAD_DATASET(path, name, **options)
        calls.append((path, name, options["split"], options["streaming"]))
        if path == "owner/gone":
            raise ConnectionError("Couldn't reach 'owner/gone' on the Hub\nafter 5 tries")
        return LOAD_DATASET("parquet", data_files=str(table), **options)

    return load_dataset


@pytest.mark.parametrize("config", [DataConfig(), DataConfig(streaming=True, documents=100)])
def test_a_hub_source_is_read_whole_or_as_a_stream(table, tmp_path, monkeypatch, config):
    calls = []
    monkeypatch.setattr(datasets, "load_dataset", hub(table, calls))
    found = documents("owner/set:en", config, tmp_path / "cache")
    assert calls == [("owner/set", "en", "train", config.streaming)]
    assert column(found, "text") == ["zero", "two", "three"]
    assert column(found, "label") == ["no", "yes", ""]
    assert column(found, "origin")[1] == "owner/set:en:2"
    documents("owner/set:en", config, tmp_path / "cache")
    assert len(calls) == 1


def test_a_stream_is_stored_up_to_the_number_of_documents(table, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", hub(table, []))
    found = documents("owner/set", DataConfig(streaming=True, documents=2), tmp_path / "cache")
    assert column(found, "text") == ["zero", "two"]
    assert isinstance(found, datasets.Dataset)


OPENED: list[int] = []


def breaking():
    """Twenty rows of a stream that breaks behind each third."""
    OPENED.append(1)
    for row in range(20):
        if row == 3 * len(OPENED):
            raise ConnectionError("the network is away")
        yield {"text": f"text {row}"}


def test_a_hub_stream_that_breaks_gives_each_document_once(tmp_path, monkeypatch):
    features = datasets.Features({"text": datasets.Value("string")})
    stream = datasets.IterableDataset.from_generator(breaking, features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, **options: stream)
    monkeypatch.setattr("mmssl.retries.WAIT_SECONDS", 0.0)
    OPENED.clear()
    config = DataConfig(streaming=True, documents=18)
    found = documents("owner/set", config, tmp_path / "cache")
    assert column(found, "text") == [f"text {row}" for row in range(18)]
    assert len(OPENED) > 5
    monkeypatch.setattr("mmssl.retries.TRIES", 1)
    OPENED.clear()
    with pytest.raises(DataError, match=r"owner/set cannot be read: the network is away"):
        documents("owner/set", config, tmp_path / "again")


def test_a_hub_source_out_of_reach_is_one_line(table, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", hub(table, []))
    with pytest.raises(DataError, match=r"owner/gone \(no such file or folder: taken as a hub id\)") as caught:
        documents("owner/gone", DataConfig(), tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_a_hub_source_that_cannot_be_built_is_a_data_error(table, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", hub(write(tmp_path / "bad.parquet", "bad"), []))
    with pytest.raises(DataError, match="owner/set"):
        documents("owner/set", DataConfig(), tmp_path / "cache")


@pytest.mark.parametrize(
    "source",
    [
        "missing",
        "./missing",
        "~/missing",
        "/missing/folder",
        "a/b/c",
        "texts/gone",
        "owner/file.txt",
        "../x",
        "pipe:cat x",
        "https://a/b.txt",
        "file:///etc",
    ],
)
def test_a_source_that_is_nowhere_is_named(folder, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(DataError) as caught:
        documents(source, DataConfig(), tmp_path / "cache")
    assert str(caught.value).startswith(f"no such file or folder: {source};")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name,content", [("a.txt", ""), ("a.txt", " \n\r\n"), ("a.csv", "text\n"), ("a.jsonl", "{}")])
def test_a_source_without_documents_names_path_and_filter(tmp_path, name, content):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        documents(str(path), DataConfig(), tmp_path / "cache")
    assert str(path) in str(caught.value)
    if name != "a.jsonl":
        assert "data.document=paragraph, data.text_column=text" in str(caught.value)


def counted(monkeypatch) -> list[Path]:
    """Which text files are read from now on."""
    read, rows = [], data.text_rows

    def text_rows(request, path, group):
        read.append(path)
        yield from rows(request, path, group)

    monkeypatch.setattr(data, "text_rows", text_rows)
    return read


def test_a_second_start_reads_nothing_again_but_reports_again(folder, tmp_path, monkeypatch):
    write(folder / "bad.txt", b"bad \xff")
    config = DataConfig(document="line", invalid_text="replace")
    first, second = [], []
    read = counted(monkeypatch)
    one = documents(str(folder), config, tmp_path / "cache", first.append)
    assert len(read) == 4
    two = documents(str(folder), config, tmp_path / "cache", second.append)
    assert len(read) == 4
    assert column(one, "text") == column(two, "text")
    assert first == second == [{"path": str(folder / "bad.txt"), "offset": 4, "count": 1, "reason": "not UTF-8"}]


@pytest.mark.parametrize("change", ["content", "time", "new", "gone", "option"])
def test_a_changed_source_is_read_again(folder, tmp_path, monkeypatch, change):
    documents(str(folder), LINES, tmp_path / "cache")
    read, config, expected = counted(monkeypatch), LINES, 5
    if change == "content":
        write(folder / "top.txt", "neither\nnor")
        expected = 6
    elif change == "time":
        os.utime(folder / "top.txt", ns=(1, 1))
    elif change == "new":
        write(folder / "z.txt", "more")
        expected = 6
    elif change == "gone":
        (folder / "top.txt").unlink()
        expected = 4
    else:
        config, expected = DataConfig(document="line", documents=2), 2
    assert len(documents(str(folder), config, tmp_path / "cache")) == expected
    assert read


def test_a_reading_that_failed_is_not_found_again(tmp_path):
    path = write(tmp_path / "a.txt", b"good\n" * 1000 + b"\xff")
    for _ in range(2):
        with pytest.raises(DataError, match="byte 5000"):
            documents(str(path), LINES, tmp_path / "cache")


def test_a_fault_of_the_program_is_not_blamed_on_the_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "text_rows", lambda *_: [{}["missing"]])
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        documents(str(folder), LINES, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_an_output_error(folder, tmp_path):
    write(tmp_path / "file", "x")
    with pytest.raises(CheckpointError, match=r"file/cache: documents cannot be stored") as caught:
        documents(str(folder), LINES, tmp_path / "file" / "cache")
    assert caught.value.exit_code == 4


def test_damaged_stored_documents_are_not_read_as_if_whole(folder, tmp_path):
    found = documents(str(folder), LINES, tmp_path / "cache")
    stored = Path(found.cache_files[0]["filename"])
    del found
    stored.write_bytes(b"not arrow")
    with pytest.raises(CheckpointError, match="cache: documents cannot be stored or read back"):
        documents(str(folder), LINES, tmp_path / "cache")


def test_labels_are_required_where_they_are_used(folder, table, tmp_path):
    (folder / "top.txt").unlink()
    assert set(labelled(str(folder), LINES, tmp_path / "cache")["label"]) == {"a_glad", "b_sad"}
    with pytest.raises(DataError, match=r"table\.parquet:3 has no label; expected a sub-folder for each label"):
        labelled(str(table), LINES, tmp_path / "cache")
    with pytest.raises(DataError, match=r"no column 'label'; expected data.label_column to be one of: text, kind"):
        labelled(str(write(tmp_path / "t.csv", "text,kind\na,b\n")), LINES, tmp_path / "cache")
    with pytest.raises(DataError, match=r"a\.txt has no label"):
        labelled(str(write(tmp_path / "a.txt", "a")), LINES, tmp_path / "cache")


def texts(count: int, copies: int = 1) -> datasets.Dataset:
    """Documents of which each text occurs several times, far apart."""
    return datasets.Dataset.from_dict({"text": [f"text {i}" for _ in range(copies) for i in range(count)]})


def test_split_holds_out_about_the_ratio_and_loses_nothing():
    train, heldout = split(texts(5000), 0.1, seed=1)
    assert abs(len(heldout) - 500) < 4 * (5000 * 0.1 * 0.9) ** 0.5
    assert sorted([*train["text"], *heldout["text"]]) == sorted(texts(5000)["text"])


def test_identical_texts_lie_on_one_side_of_the_split():
    train, heldout = split(texts(300, copies=3), 0.2, seed=1)
    assert not set(train["text"]) & set(heldout["text"])
    assert len(heldout) % 3 == 0 < len(heldout)
    by_index = np.random.default_rng(0).random(900) < 0.2  # a draw for each document would not hold it
    every = np.array(texts(300, copies=3)["text"])
    assert set(every[by_index]) & set(every[~by_index])


def test_split_depends_on_the_seed_and_the_text_alone():
    first, second, other = (set(split(texts(200), 0.3, seed)[1]["text"]) for seed in (1, 1, 2))
    assert first == second != other
    assert set(split(texts(100), 0.3, 1)[1]["text"]) == first & set(texts(100)["text"])
    assert set(split(texts(200).shuffle(seed=3), 0.3, 1)[1]["text"]) == first


@pytest.mark.parametrize("ratio", [1e-9, 0.5, 1 - 1e-9])
def test_split_leaves_a_document_on_each_side(ratio):
    for seed in range(5):
        sides = split(texts(2, copies=2), ratio, seed)
        assert [len(side) for side in sides] == [2, 2]


def test_split_refuses_one_single_text():
    with pytest.raises(
        DataError, match=r"3 documents of one and the same text; expected others for data\.heldout=0\.1"
    ):
        split(texts(1, copies=3), 0.1, seed=1)


def test_split_by_zero_holds_nothing_out():
    train, heldout = split(texts(3), 0.0, seed=1)
    assert (len(train), len(heldout)) == (3, 0)


def test_nothing_is_written_outside_the_cache(folder, tmp_path):
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    home.mkdir()
    scratch.mkdir()
    code = (
        "from pathlib import Path; from mmssl.sections import DataConfig; from mmssl.data import documents, split;"
        f"split(documents({str(folder)!r}, DataConfig(document='line'), Path({str(tmp_path / 'cache')!r})), 0.4, 1)"
    )
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    places = {"HOME": str(home), "TMPDIR": str(scratch), "PYTHONPATH": str(Path(data.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**keep, **places}, cwd=scratch, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""
    assert [*home.rglob("*"), *scratch.rglob("*")] == []
    assert json.loads(next((tmp_path / "cache").glob("reports-*.json")).read_text()) == []
