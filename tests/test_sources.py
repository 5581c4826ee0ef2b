"""Claims about local sources: which files are read, under which group and label, and what is refused."""

import io
import tarfile
from pathlib import Path

import datasets
import pytest

from mmssl.data import documents
from mmssl.errors import DataError
from mmssl.sections import DataConfig

LINES = DataConfig(document="line")


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
    """Two labels, a file at the top, and files of other kinds."""
    write(tmp_path / "texts" / "b_sad" / "deep" / "two.txt", "grey\nrain")
    write(tmp_path / "texts" / "a_glad" / "one.MD", "sun\n\nsea")
    write(tmp_path / "texts" / "top.txt", "neither")
    write(tmp_path / "texts" / "a_glad" / "photo.png", b"\x89PNG")
    write(tmp_path / "texts" / "LICENCE", "free")
    write(tmp_path / "texts" / ".hidden" / "secret.txt", "secret")
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


def test_a_folder_gives_documents_with_their_sub_folder_as_label(folder, tmp_path, capsys):
    found = documents(str(folder), LINES, tmp_path / "cache")
    assert column(found, "text") == ["sun", "sea", "grey", "rain", "neither"]
    assert column(found, "label") == ["a_glad", "a_glad", "b_sad", "b_sad", ""]
    assert column(found, "group") == ["a_glad", "a_glad", "b_sad", "b_sad", str(folder)]
    assert column(found, "origin")[-1] == str(folder / "top.txt")
    assert capsys.readouterr().err == f"{folder}: ignored 1 without suffix, 1 .png; read .txt and .md\n"


def test_a_glob_takes_any_suffix_and_labels_by_its_first_wildcard(tmp_path):
    write(tmp_path / "polarity" / "neg" / "x.raw", "bad")
    write(tmp_path / "polarity" / "pos" / "x.raw", "good")
    found = documents(str(tmp_path / "polarity" / "*" / "*.raw"), LINES, tmp_path / "cache")
    assert column(found, "text") == ["bad", "good"]
    assert column(found, "label") == ["neg", "pos"]


def test_the_unit_of_a_document_is_chosen_by_the_config(tmp_path):
    path = write(tmp_path / "a.txt", "one\ntwo\n\nthree")
    counts = {
        unit: len(documents(str(path), DataConfig(document=unit), tmp_path / "cache"))
        for unit in ("line", "paragraph", "file")
    }
    assert counts == {"line": 3, "paragraph": 2, "file": 1}


@pytest.mark.parametrize("name,delimiter", [("t.csv", ","), ("t.tsv", "\t")])
def test_a_delimited_table_keeps_its_strings_as_they_are(tmp_path, name, delimiter):
    rows = [["text", "label"], ["null", "01"], ["NA", ""], ['"two\nlines"', "x"], ["", "y"]]
    path = write(tmp_path / name, "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows))
    reports = []
    found = documents(str(path), LINES, tmp_path / "cache", reports.append)
    assert column(found, "text") == ["null", "NA", "two\nlines"]
    assert column(found, "label") == ["01", "", "x"]
    assert column(found, "origin") == [f"{path}:{row}" for row in range(3)]
    assert column(found, "group") == [str(path)] * 3
    assert reports == [{"path": str(path), "offset": 3, "count": 1, "reason": "empty"}]


def test_a_row_with_a_stray_delimiter_is_refused_with_its_line(tmp_path):
    path = write(tmp_path / "t.csv", "text,label\nfine,1\nyes, but,1\n")
    with pytest.raises(DataError, match=r"t\.csv: line 3 has another number of fields; expected 2"):
        documents(str(path), LINES, tmp_path / "cache")


def test_a_very_long_cell_is_read_whole(tmp_path):
    path = write(tmp_path / "t.csv", f"text\n{'word ' * 60_000}\n")
    assert [len(text) for text in documents(str(path), LINES, tmp_path / "cache")["text"]] == [299_999]


def test_a_parquet_file_gives_the_names_of_its_labels(table, tmp_path):
    found = documents(str(table), LINES, tmp_path / "cache")
    assert column(found, "text") == ["zero", "two", "three"]
    assert column(found, "label") == ["no", "yes", ""]


def test_a_folder_of_parquet_is_read_though_it_has_a_readme(table, tmp_path, capsys):
    write(tmp_path / "set" / "README.md", "about")
    (tmp_path / "set" / "de").mkdir()
    table.rename(tmp_path / "set" / "de" / "part[0].parquet")
    found = documents(str(tmp_path / "set"), LINES, tmp_path / "cache")
    assert column(found, "text") == ["zero", "two", "three"]
    assert set(column(found, "group")) == {"de"}
    assert "ignored 1 .md; read .parquet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name,content",
    [
        ("t.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n{"text": null}'),
        ("t.jsonl", '\ufeff{"text": "a", "label": 1}\n{"text": "b"}\n'),
        ("t.json", '[{"text": "a", "label": 1}, {"text": "b"}]'),
    ],
)
def test_json_rows_may_lack_a_label(tmp_path, name, content):
    found = documents(str(write(tmp_path / name, content)), LINES, tmp_path / "cache")
    assert column(found, "text") == ["a", "b"]
    assert column(found, "label") == ["1", ""]


def test_a_missing_text_column_is_named_with_those_there_are(table, tmp_path):
    config = DataConfig(text_column="sentence")
    expected = r"no column 'sentence'; expected data.text_column to be one of: text, label, other"
    with pytest.raises(DataError, match=expected):
        documents(str(table), config, tmp_path / "cache")
    with pytest.raises(DataError, match=r"data.text_column to be one of: a, b"):
        documents(str(write(tmp_path / "t.csv", "a,b\n1,2\n")), config, tmp_path / "cache")
    with pytest.raises(DataError, match=r"data.text_column to be one of: a, b"):
        documents(str(write(tmp_path / "t.json", '[{"a": 1, "b": 2}]')), config, tmp_path / "cache")


def test_a_label_column_that_was_asked_for_must_be_there(table, tmp_path):
    with pytest.raises(
        DataError, match=r"no column 'intent'; expected data.label_column to be one of: text, label, other"
    ):
        documents(str(table), DataConfig(label_column="intent"), tmp_path / "cache")


def test_a_text_column_of_numbers_is_refused(table, tmp_path):
    with pytest.raises(DataError, match=r"row 0 of column 'other' holds 1; expected text"):
        documents(str(table), DataConfig(text_column="other"), tmp_path / "cache")


@pytest.mark.parametrize("name", ["t.parquet", "t.json", "t.jsonl", "t.tar", "t.csv"])
def test_a_damaged_table_is_one_clear_line(tmp_path, name, capfd):
    path = write(tmp_path / name, 'text,label\n"never closed')
    with pytest.raises(DataError, match=r"t\.\w+ cannot be read: ") as caught:
        documents(str(path), LINES, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_a_table_follows_the_rule_for_invalid_text(tmp_path, name):
    content = {"t.csv": b"text\ncaf\xe9\n", "t.jsonl": b'{"text": "caf\xe9"}\n'}[name]
    path, offset = write(tmp_path / name, content), content.index(b"\xe9")
    with pytest.raises(DataError, match=rf"byte {offset} is not UTF-8 text \(0xe9\)"):
        documents(str(path), LINES, tmp_path / "cache")
    reports = []
    found = documents(str(path), DataConfig(invalid_text="replace"), tmp_path / "cache", reports.append)
    assert column(found, "text") == ["caf\ufffd"]
    assert reports == [{"path": str(path), "offset": offset, "count": 1, "reason": "not UTF-8"}]


def archive(path: Path, members: dict[str, bytes]) -> Path:
    """A tar file."""
    with tarfile.open(path, "w") as stream:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            stream.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_is_read_as_a_stream_and_never_extracted(tmp_path):
    members = {"pos/1.txt": b"fine", "pos/1.json": b"{}", "../out.txt": b"outside", "empty.txt": b""}
    (tmp_path / "shards").mkdir()
    path = archive(tmp_path / "shards" / "s.tar", members)
    reports = []
    before = set(tmp_path.rglob("*"))
    found = documents(str(tmp_path / "shards" / "*.tar"), LINES, tmp_path / "cache", reports.append)
    assert column(found, "text") == ["fine", "outside"]
    assert column(found, "label") == ["pos", ""]
    assert column(found, "origin")[0] == f"{path}:pos/1.txt"
    assert [entry["path"] for entry in reports] == [f"{path}:empty.txt"]
    assert all(new.is_relative_to(tmp_path / "cache") for new in set(tmp_path.rglob("*")) - before)


def test_a_glob_that_matches_nothing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file matches .*/\*\.txt"):
        documents(str(tmp_path / "*.txt"), DataConfig(), tmp_path / "cache")


def test_a_folder_without_text_names_what_was_looked_for(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none has nothing to read \(no file\); expected \.txt, \.md"):
        documents(str(tmp_path / "none"), DataConfig(), tmp_path / "cache")
    write(tmp_path / "none" / "a.png", "x")
    with pytest.raises(DataError, match=r"nothing to read \(1 \.png\)"):
        documents(str(tmp_path / "none"), DataConfig(), tmp_path / "cache")


def test_a_binary_file_among_the_texts_is_refused_by_name(folder, tmp_path):
    path = write(folder / "b_sad" / "blob.txt", b"ok \x00\x01\x02")
    with pytest.raises(DataError) as caught:
        documents(str(folder), LINES, tmp_path / "cache")
    assert str(caught.value).startswith(f"{path}: byte 3 is not UTF-8 text (0x00)")


def test_an_empty_file_among_the_texts_is_reported(folder, tmp_path):
    path = write(folder / "empty.txt", "")
    reports = []
    assert len(documents(str(folder), LINES, tmp_path / "cache", reports.append)) == 5
    assert reports == [{"path": str(path), "offset": 0, "count": 0, "reason": "empty"}]


def test_a_saved_folder_is_read_with_its_split(table, tmp_path):
    rows = datasets.Dataset.from_parquet(str(table), cache_dir=str(tmp_path / "other"))
    rows.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": rows.select([0]), "test": rows}).save_to_disk(tmp_path / "splits")
    assert column(documents(str(tmp_path / "saved"), LINES, tmp_path / "cache"), "label") == ["no", "yes", ""]
    assert column(documents(str(tmp_path / "splits"), LINES, tmp_path / "cache"), "text") == ["zero"]
    with pytest.raises(DataError, match=r"no split 'dev'; expected data\.split to be one of: train, test"):
        documents(str(tmp_path / "splits"), DataConfig(split="dev"), tmp_path / "cache")


def test_documents_are_memory_mapped_below_the_cache(folder, tmp_path):
    found = documents(str(folder), LINES, tmp_path / "cache")
    assert all(Path(file["filename"]).is_relative_to(tmp_path / "cache") for file in found.cache_files)
    assert found.cache_files
