"""Pictures through the command line: bad ones, few of them, and those in archives and tables."""

import json
import tarfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from making_media import picture
from raw_folders import bad_pictures, bad_samples, evaluation, one_line, pictures, truncated
from running import call, metrics


@pytest.mark.parametrize("decoded_bytes, found", [(4_000_000_000, 18), (0, 17)])
def test_where_three_in_ten_are_bad_the_run_ends_and_lists_them(pretrain, tmp_path, decoded_bytes, found):
    pictures(tmp_path / "source", 42)
    names = {f"bad{number}.png" for number in range(18)}
    for name in names:
        (tmp_path / "source" / "cat" / name).write_text("no picture")
    overrides = (f"data.decoded_bytes={decoded_bytes}", "data.heldout=0.0", "train.batch_size=60")
    end = pretrain("image_pretraining", f"data.source={tmp_path / 'source'}", *overrides)
    one_line(end, 3, f"{found} of 60 files cannot be used", "no more than 16 bad ones")
    listed = bad_samples(tmp_path)
    assert listed.keys() <= names
    assert len(listed) == found
    assert set(listed.values()) == {"not a picture"}


@pytest.mark.parametrize("decoded_bytes", [4_000_000_000, 0])
def test_each_bad_picture_is_replaced_by_a_fixed_one_and_the_batch_keeps_its_size(pretrain, tmp_path, decoded_bytes):
    names = bad_pictures(pictures(tmp_path / "source"))
    picture(tmp_path / "source" / "without label.png")  # so that no probe replaces them in its parts
    overrides = (f"data.decoded_bytes={decoded_bytes}", "data.heldout=0.0", "train.batch_size=39")
    entries = []
    for run in ("run", "again"):
        more = (f"data.source={tmp_path / 'source'}", f"run={tmp_path / run}")
        assert pretrain("image_pretraining", *overrides, *more) == (0, [])
        lines = (tmp_path / run / "bad_samples.jsonl").read_text().splitlines()
        entries.append(sorted(map(json.loads, lines), key=lambda entry: entry["path"]))
    assert entries[0] == entries[1]
    assert [Path(entry["path"]).name for entry in entries[0]] == sorted(names)
    assert metrics(tmp_path / "run")[-1]["samples_seen"] == 39


def test_one_picture_is_enough_to_train_on(pretrain, tmp_path):
    source = pictures(tmp_path / "source", 1)
    assert pretrain("image_pretraining", f"data.source={source}", evaluated=True) == (0, [])
    assert not [key for key in evaluation(tmp_path) if "knn" in key or "probe" in key]


def test_with_one_class_there_is_no_probe_and_a_named_source_is_an_error(pretrain, tmp_path):
    for number in range(12):
        picture(tmp_path / "source" / "cat" / f"{number}.png", number)
    source = f"data.source={tmp_path / 'source'}"
    assert pretrain("image_pretraining", source, evaluated=True) == (0, [])
    assert not [key for key in evaluation(tmp_path) if "knn" in key or "probe" in key]
    named = f"evaluate.source={tmp_path / 'source'}"
    one_line(pretrain("image_pretraining", source, named, evaluated=True), 3, "probe", "of 1 classes", "expected")


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_pictures_of_an_archive_and_of_a_table_are_trained_on_and_embedded(pretrain, tmp_path, kind):
    source, paths = tmp_path / f"x.{kind}", sorted(pictures(tmp_path / "files", 8).rglob("*.png"))
    if kind == "tar":
        with tarfile.open(source, "w") as archive:
            archive.add(tmp_path / "files", "files")
        names = [f"{source}:{path.relative_to(tmp_path)}" for path in paths]
    else:
        table = {"image": [path.read_bytes() for path in paths], "label": [path.parent.name for path in paths]}
        pyarrow.parquet.write_table(pyarrow.table(table), source)
        names = [f"{source}:{row}" for row in range(8)]
    assert pretrain("image_pretraining", f"data.source={source}") == (0, [])
    assert call("embed", tmp_path / "run", source, "--out", tmp_path / "out.parquet") == 0
    found = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pydict()
    assert sorted(found["path"]) == names
    assert dict(zip(found["path"], found["label"], strict=True))[names[0]] == ("files" if kind == "tar" else "cat")


@pytest.mark.parametrize("kind", ["cut.tar", "x.tar.gz", "text.tar", "x.parquet"])
def test_what_cannot_be_read_of_archives_and_tables_is_one_line(pretrain, tmp_path, kind):
    source, files = tmp_path / kind, pictures(tmp_path / "files", 8)
    parts = {"cut.tar": "whole", "x.tar.gz": "not compressed", "text.tar": "has no picture", "x.parquet": "img, label"}
    if kind == "x.parquet":
        pyarrow.parquet.write_table(pyarrow.table({"img": [b""], "label": [0]}), source)
    else:
        with tarfile.open(source, "w:gz" if kind == "x.tar.gz" else "w") as archive:
            archive.add(__file__ if kind == "text.tar" else files, "files")
        if kind == "cut.tar":
            truncated(source)
    one_line(pretrain("image_pretraining", f"data.source={source}"), 3, str(source), parts[kind], "expected")
