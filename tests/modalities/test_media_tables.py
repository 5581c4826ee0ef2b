"""Claims about pictures in archives and tables: the same samples as from a folder, and one line on what is damaged."""

import errno
import json
import shutil
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pytest
import torch
from making_media import picture
from making_tables import LABELS, PICTURES, SOURCES, cells, dataset, folder, parquet, png, table, tar

from mmssl.config import Config, load_config
from mmssl.errors import CheckpointError, ConfigError, DataError
from mmssl.modalities import media_tables
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.image import MAX_BYTES, decode_image
from mmssl.modalities.labelled_media import labelled_media
from mmssl.modalities.media_data import MediaData, prepare_media, reopen_media
from mmssl.modalities.media_files import split_files
from mmssl.modalities.media_tables import all_files
from mmssl.modalities.region import Region
from mmssl.sections import DataConfig


def config_of(path: Path, *overrides: str) -> Config:
    """A small config below `path`."""
    (path / "run").mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text(
        f"task: image_pretraining\nrun: {path / 'run'}\nmethod: {{name: mae}}\n"
        "image: {size: 8}\ndata: {heldout: 0.0}\n"
    )
    return load_config(path / "config.yaml", overrides)


def prepared(config: Config, *modalities: str) -> tuple[MediaData, list[dict]]:
    """The data of a config, and what was reported."""
    reports: list[dict] = []
    return prepare_media(config, Path(config.run), reports.append, modalities or ("image",)), reports


def seen(data: MediaData) -> list[tuple[str, bytes]]:
    """Label and pixels of each training sample, in a fixed order."""
    pixels = data.train(np.arange(data.train.size))["image"][0].numpy()
    return sorted((label, each.tobytes()) for label, each in zip(data.train.labels(), pixels, strict=True))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("kept", [True, False])
def test_every_kind_of_source_gives_the_samples_and_labels_of_a_folder(tmp_path, kind, kept):
    source = SOURCES[kind](tmp_path / "source")
    data, reports = prepared(config_of(tmp_path, f"data.source={source}", f"data.decoded_bytes={10**9 * kept}"))
    (tmp_path / "raw").mkdir()
    expected = [(name[0], decode(content, tmp_path / "raw" / name[2:])) for name, content in PICTURES.items()]
    assert seen(data) == sorted(expected)
    assert not reports


def decode(content: bytes, path: Path) -> bytes:
    """The pixels of a picture as a file of its own."""
    path.write_bytes(content)
    return decode_image(path, 8).tobytes()


def hub(source: Path, calls: list):
    """What stands for the hub: `owner/set` is a local parquet file."""
    load = datasets.load_dataset

    def load_dataset(name, subset=None, *, split, streaming=False, **options):
        if name == "parquet":
            return load(name, subset, split=split, streaming=streaming, **options)
        calls.append((name, subset, split, streaming))
        return load("parquet", data_files=str(source), split="train", streaming=streaming)

    return load_dataset


@pytest.mark.parametrize("streaming", [True, False])
def test_a_hub_source_is_read_as_far_as_was_asked(tmp_path, monkeypatch, streaming):
    dataset().to_parquet(tmp_path / "x.parquet")
    calls: list = []
    monkeypatch.setattr(datasets, "load_dataset", hub(tmp_path / "x.parquet", calls))
    options = ("data.source=owner/set:small", "data.documents=4", f"data.streaming={json.dumps(streaming)}")
    data, _ = prepared(config_of(tmp_path, *options, "data.split=test"))
    assert calls == [("owner/set", "small", "test", streaming)]
    assert data.train.paths() == [f"owner/set:small:{number}" for number in range(4)]
    assert data.train.labels() == ["a", "b", "a", "b"]


def test_a_misspelt_path_of_a_picture_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    for source in ("photos/cat.jpg", "photos/x.tar", "photos/x.parquet"):
        with pytest.raises(DataError, match="no such file or folder"):
            all_files(source, ("image",), DataConfig(), tmp_path)


def test_an_archive_is_read_in_place_and_names_in_it_are_only_names(tmp_path):
    members = {"../../up.png": png(0), "/root.png": png(1), "./a.png": png(2), ".hidden.png": png(3), "a.txt": b"text"}
    source = tar(tmp_path / "source" / "x.tar", members | {"a.png": png(4)})
    with tarfile.open(source, "a") as archive:
        for kind, name in ((tarfile.SYMTYPE, "link.png"), (tarfile.DIRTYPE, "folder.png")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    data, _ = prepared(config_of(tmp_path, f"data.source={source}", "data.decoded_bytes=0"))
    assert data.train.paths() == [f"{source}:{name}" for name in ("../../up.png", "/root.png", "a.png")]
    pixels = data.train(np.arange(3))["image"][0][2]
    assert pixels.numpy().tobytes() == decode(png(4), tmp_path / "later.png")  # as if it had been extracted
    assert not list((tmp_path / "run" / "cache").glob("files-*"))
    assert not list(tmp_path.rglob("*up.png"))


def damaged_tar(path: Path, kind: str) -> Path:
    """An archive that ends early or is none."""
    whole = tar(path, PICTURES).read_bytes()
    block = next(place for place in range(1024, len(whole), 512) if whole[place : place + 4] == b"a/02")
    ends = {"in a picture": block - 700, "behind a picture": block, "in a header": block + 100, "empty": 0}
    path.write_bytes(b"no archive" * 200 if kind == "text" else whole[: ends[kind]])
    return path


@pytest.mark.parametrize("kind", ["in a picture", "behind a picture", "in a header", "empty", "text"])
def test_a_truncated_archive_is_refused(tmp_path, kind):
    source = damaged_tar(tmp_path / "x.tar", kind)
    with pytest.raises(DataError, match=r"x\.tar cannot be read: .*; expected a readable tar archive, whole") as error:
        all_files(str(source), ("image",), DataConfig(), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.tar"])
def test_a_compressed_archive_is_refused(tmp_path, name):
    source = tmp_path / "source"
    tar(source / "x.tar.gz", PICTURES).rename(source / name)
    with pytest.raises(DataError, match=r"not compressed"):
        all_files(str(source), ("image",), DataConfig(), tmp_path)


@pytest.mark.parametrize("make, parts", [
    (lambda path: tar(path / "x.tar", {"a.txt": b"text"}), ("has no picture", "expected one member or row")),
    (lambda path: parquet(path / "x.parquet", img=cells(), label=LABELS), ("'image'", "image_column", "img, label")),
    (lambda path: parquet(path / "x.parquet", image=[1, 2]), ("x.parquet:0", "holds 1", "bytes of a picture")),
    (lambda path: parquet(path / "x.parquet", image=[{"bytes": None, "path": "a/1.png"}]),
     ("x.parquet:0", "a/1.png", "no bytes", "expected a table that holds its pictures")),
    (lambda path: (path / "x.parquet", (path / "x.parquet").write_bytes(b"PAR1 damaged"))[0], ("cannot be read",)),
    (lambda path: parquet(path / "x.parquet", image=pyarrow.array([], pyarrow.binary())), ("has no picture",)),
])  # fmt: skip
def test_what_holds_no_picture_is_one_line_and_leaves_nothing(tmp_path, make, parts):
    source = make(tmp_path)
    with pytest.raises(DataError) as error:
        all_files(str(source), ("image",), DataConfig(), tmp_path / "cache")
    assert all(part in str(error.value) for part in parts), error.value
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("cache/.files-*"))


def test_files_go_before_archives_and_archives_hold_no_sounds(tmp_path, capsys):
    source = tar(tmp_path / "source" / "x.tar", PICTURES).parent
    (source / "about.txt").write_text("text")
    assert len(all_files(str(source), ("image",), DataConfig(), tmp_path)) == 10
    assert capsys.readouterr().err == f"note: {source}: ignored 1 .txt\n"
    for modalities, config in ((("audio",), DataConfig()), (("image", "audio"), DataConfig(paired="sounds"))):
        with pytest.raises(DataError, match="read for pictures and videos alone"):
            all_files(str(source), modalities, config, tmp_path)
    picture(source / "one.png")
    assert [file.relative for file in all_files(str(source), ("image",), DataConfig(), tmp_path)] == ["one.png"]


def test_tables_are_copied_once_and_again_when_they_change(tmp_path, monkeypatch):
    source = table(tmp_path / "x")
    files = all_files(str(source), ("image",), DataConfig(), tmp_path / "cache")
    assert [file.identity() for file in files] == [
        file.identity() for file in all_files(str(source), ("image",), DataConfig(), tmp_path / "cache")
    ]
    (blob,) = tmp_path.glob("cache/files-*/files.bin")
    assert blob.read_bytes() == b"".join(PICTURES.values())
    monkeypatch.setattr("mmssl.data.media_rows", None)
    assert all_files(str(source), ("image",), DataConfig(), tmp_path / "cache") == files
    source.touch()
    with pytest.raises(TypeError):  # reads again
        all_files(str(source), ("image",), DataConfig(), tmp_path / "cache")


def test_a_full_disk_while_copying_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(cell, name, column, kind):
        if name.endswith(":5"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return b"bytes"

    source = table(tmp_path / "x")
    monkeypatch.setattr(media_tables, "content_of", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*expected about .* free bytes"):
        all_files(str(source), ("image",), DataConfig(), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*files-*"))


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_the_held_out_part_keeps_its_pictures_when_others_are_added(tmp_path, kind):
    more = {f"c/{number}.png": png(number) for number in range(20, 40)}
    sides = []
    for name, pictures in (("one", PICTURES), ("two", PICTURES | more)):
        place = tmp_path / name / f"x.{kind}"
        source = tar(place, pictures) if kind == "tar" else parquet(place, image=list(pictures.values()))
        files = all_files(str(source), ("image",), DataConfig(), tmp_path / "cache")
        sides.append([{file.relative for file in part} for part in split_files(files, 0.4, 3)])
    (train, heldout), (more_train, more_heldout) = sides
    assert heldout
    assert (train <= more_train, heldout <= more_heldout, len(more_train | more_heldout)) == (True, True, 30)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_bad_picture_is_named_by_its_place_and_replaced(tmp_path, kind, kept):
    pictures = PICTURES | {"a/02.png": PICTURES["a/02.png"][:60], "b/03.png": b""}
    rows = [{"bytes": content or None, "path": None} for content in pictures.values()]
    source = tmp_path / f"x.{kind}"
    _ = tar(source, pictures) if kind == "tar" else parquet(source, image=rows)
    config = config_of(tmp_path, f"data.source={source}", f"data.decoded_bytes={10**9 * kept}")
    data, reports = prepared(config)
    pixels = data.train(np.arange(10))["image"][0]
    if not kept:
        reports = [json.loads(line) for line in (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()]
    places = ("a/02.png", "b/03.png") if kind == "tar" else ("2", "3")
    assert [entry["path"] for entry in reports] == [f"{source}:{place}" for place in places]
    assert reports[1]["reason"] == "not a picture"
    for entry, row in zip(reports, (2, 3), strict=True):
        assert torch.equal(pixels[row], pixels[entry["replaced_by"]])


def test_a_run_finds_copied_pictures_wherever_it_lies(tmp_path):
    source = table(tmp_path / "x")
    config = config_of(tmp_path, f"data.source={source}", "data.decoded_bytes=0")
    first = seen(prepared(config)[0])
    source.unlink()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    again = reopen_media(config, tmp_path / "moved", ("image",))
    assert again is not None
    assert seen(again) == first


def test_a_labelled_table_has_a_label_column_of_its_own(tmp_path):
    source = parquet(tmp_path / "x.parquet", image=cells(), kind=LABELS, label=[None] * 10)
    named = config_of(tmp_path, f"evaluate.source={source}", "evaluate.label_column=kind", "evaluate.heldout=0.3")
    found = labelled_media(named, Path(named.run), print, ("image",))
    assert found is not None
    assert found.names == ["a", "b"]
    with pytest.raises(DataError, match=r"x.parquet:0 has no label; expected .* evaluate.label_column"):
        labelled_media(config_of(tmp_path, f"evaluate.source={source}"), Path(named.run), print, ("image",))


def test_a_region_has_the_limits_of_a_file(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"before" + png(0) + b"after")
    found = decode_image(Region(tmp_path / "x.bin", 6, len(png(0))), 8)
    assert found.tobytes() == decode(png(0), tmp_path / "a.png")
    for region, reason in (
        ((6, MAX_BYTES + 1), "more than"),
        ((0, 9), "not a picture"),
        ((6, 60), "."),
        ((9**9, 5), "."),
    ):
        with pytest.raises(BadSample, match=reason):
            decode_image(Region(tmp_path / "x.bin", *region), 8)


def test_more_pixels_can_be_stored_than_are_shown(tmp_path):
    source = f"data.source={folder(tmp_path / 'source')}"
    data, _ = prepared(config_of(tmp_path, source, "image.stored_size=16"))
    assert data.train(np.arange(2))["image"][0].shape == (2, 3, 16, 16)
    assert prepared(config_of(tmp_path, source))[0].train(np.arange(2))["image"][0].shape == (2, 3, 8, 8)
    with pytest.raises(ConfigError, match=r"image.stored_size.*4.*image.size \(8\)"):
        config_of(tmp_path, "image.stored_size=4")
