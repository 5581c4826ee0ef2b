"""Claims about manifests: what a row means in each format, what is absent, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from making_media import picture, sound, tone, video

from mmssl.config import load_config
from mmssl.errors import DataError
from mmssl.modalities.image import decode_image
from mmssl.modalities.media_data import MediaData, prepare_media
from mmssl.modalities.media_files import split_files
from mmssl.modalities.media_manifest import manifest_files
from mmssl.sections import DataConfig

ALL = ("text", "image", "audio", "video")
ROWS = [  # a film with a sound of its own; a picture with a sound and a caption; and so on
    {"video": "films/a.mp4", "audio": "a.wav", "image": "a.png", "text": "a film, and \"more\""},
    {"video": "films/a.mp4", "audio": "", "image": "", "text": ""},
    {"video": "", "audio": "b.wav", "image": "b.png", "text": "a picture"},
    {"video": "", "audio": "b.wav", "image": "", "text": "a sound"},
    {"video": "", "audio": "", "image": "", "text": "only words"},
]  # fmt: skip


def written(folder: Path, rows: list[dict], suffix: str = ".csv") -> Path:
    """The rows as a table."""
    path, columns = folder / f"pairs{suffix}", list(rows[0])
    if suffix == ".jsonl":
        lines = [json.dumps({name: value for name, value in row.items() if value}) for row in rows]
        path.write_text("\n".join([*lines, "", ""]))
    elif suffix == ".parquet":
        table = {name: [row[name] or None for row in rows] for name in columns}
        pyarrow.parquet.write_table(pyarrow.table(table), path)
    else:
        mark = "," if suffix == ".csv" else "\t"
        quoted = [['"' + str(row[name]).replace('"', '""') + '"' for name in columns] for row in rows]
        path.write_text("\ufeff" + "\r\n".join(mark.join(cells) for cells in [columns, *quoted]), "utf-8")
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Files that rows can name."""
    video(tmp_path / "data" / "films" / "a.mp4", range(0, 200, 4), sound=tone(2.0))
    for name in "ab":
        sound(tmp_path / "data" / f"{name}.wav", 2.0, 880.0)
        picture(tmp_path / "data" / f"{name}.png", ord(name))
    return tmp_path / "data"


def prepared(folder: Path, source: Path, *overrides: str, modalities=ALL) -> tuple[MediaData, list[dict]]:
    """The data of a manifest, and what was reported."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"task: multimodal\nrun: {folder / 'run'}\nimage: {{size: 16}}\naudio: {{rate_hz: 8000}}\n"
        f"video: {{size: 16, frames: 4}}\ndata: {{heldout: 0.0, source: {source}}}\n"
    )
    reports: list[dict] = []
    return prepare_media(load_config(folder / "config.yaml", overrides), folder / "run", reports.append, modalities), (
        reports
    )


def files(source: Path, modalities=ALL, **options) -> list:
    """The files that a manifest names."""
    return manifest_files(str(source), modalities, DataConfig(**options))


def present(data: MediaData) -> list[str]:
    """The modalities of each sample."""
    found = data.train(np.arange(data.train.size))
    names = [name for name in ALL if f"{name}.present" in found]
    return [" ".join(name for name in names if found[f"{name}.present"][0][row]) for row in range(data.train.size)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("kept", [True, False])
def test_each_row_is_a_sample_of_what_it_names(tmp_path, folder, suffix, kept):
    source = written(folder, ROWS, suffix)
    data, reports = prepared(tmp_path, source, f"data.decoded_bytes={10**9 * kept}")
    film = ["text image audio video"] * 2 + ["video"] * 2  # the empty cell takes its own sound away
    assert present(data) == [*film, "text image audio", "text audio", "text audio", "text"]
    found = {name: view for name, (view,) in data.train(np.arange(8)).items()}
    assert torch.equal(found["image"][1], torch.from_numpy(decode_image(folder / "a.png", 16)))
    spectrum = found["audio"][0].numpy()
    assert np.abs(np.fft.rfft(spectrum)).argmax() == 880  # Hz of a.wav, not those of the film's own track
    for name in ALL:
        here = found[f"{name}.present"]
        assert (found[name].flatten(1).abs().amax(1) > 0).tolist() == here.tolist()
        assert data.missing[name] == int((~here).sum())
    assert torch.equal(found["video"][0], found["video"][2])
    assert data.vocabulary is not None
    assert data.vocabulary.decode(found["text"][7][1:3].tolist()) == "only words"
    assert reports == []


def test_without_a_column_of_sounds_a_videos_own_sound_counts(tmp_path, folder):
    source = written(folder, [{"video": "films/a.mp4", "text": "one"}])
    data, _ = prepared(tmp_path, source, modalities=("video", "audio"))
    assert data.missing == {"video": 0, "audio": 0}
    alone, _ = prepared(tmp_path / "alone", source, modalities=("audio",))
    assert alone.train.size == 2


def test_columns_may_have_other_names_and_what_is_not_read_is_said(folder, capsys):
    rows = [
        {"id": "1", "photo": "a.png", "caption": "one", "label": "x"},
        {"id": "2", "photo": "b.png", "caption": "two", "label": ""},
    ]
    source = written(folder, rows)
    found = files(source, ("text", "image"), image_column="photo", text_column="caption")
    assert [(file.kind, file.relative, file.caption, file.label) for file in found] == [
        ("image", "a.png", "one", "x"), ("image", "b.png", "two", ""),
    ]  # fmt: skip
    assert capsys.readouterr().err == f"note: {source}: ignored the columns id\n"
    with pytest.raises(
        DataError, match=r"pairs.csv has the columns id, photo, caption, label; expected 'image' \(data"
    ):
        files(source, ("image",))


def test_rows_that_come_again_or_say_nothing_are_left_out_and_counted(folder, capsys):
    rows = [ROWS[0], ROWS[2], ROWS[0], dict.fromkeys(ROWS[0], ""), {**ROWS[2], "text": "another caption"}]
    source = written(folder, rows)
    found = files(source)
    assert [file.caption for file in found] == [ROWS[0]["text"], "a picture", "another caption"]
    expected = "ignored 1 rows that are there twice and 1 rows without anything to read"
    assert expected in capsys.readouterr().err
    assert [len(side) for side in split_files(found[1:], 0.5, 0)] != [1, 1]  # those of one picture are on one side


def test_a_picture_with_several_captions_and_a_film_that_comes_again_are_read_each_time(tmp_path, folder):
    rows = [{"image": "a.png", "video": "", "text": f"caption {n}"} for n in range(3)]
    rows += [{"image": "", "video": "films/a.mp4", "text": f"film {n}"} for n in range(2)]
    data, _ = prepared(tmp_path, written(folder, rows), "data.decoded_bytes=0", modalities=("text", "image", "video"))
    assert present(data) == ["text image"] * 3 + ["text video"] * 4
    assert data.train.films() == [""] * 3 + [str(folder / "films" / "a.mp4")] * 4  # no picture has another window
    found = data.train(np.arange(7))
    assert len({tuple(row) for row in found["text"][0].tolist()}) == 5
    assert torch.equal(found["video"][0][3:5], found["video"][0][5:])


def test_a_file_that_is_not_there_is_reported_and_absent(tmp_path, folder):
    rows = [*ROWS, {**ROWS[2], "audio": "none.wav"}, {**ROWS[0], "video": "none.mp4"}]
    data, reports = prepared(tmp_path, written(folder, rows))
    assert present(data)[8:] == ["text image", "text image audio"]
    assert reports == [{"path": str(folder / name), "reason": "no such file"} for name in ("none.wav", "none.mp4")]


def test_too_many_files_that_are_not_there_are_an_error(tmp_path, folder):
    rows = [*ROWS, *({**ROWS[2], "image": f"{number}.png"} for number in range(17))]
    with pytest.raises(DataError, match=r"17 of 22 files cannot be used, the first is .*0\.png \(no such file\)"):
        prepared(tmp_path, written(folder, rows))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "films/../../secret.png", "..", "a\0.png"])
def test_a_path_outside_of_the_folder_is_refused(folder, name):
    picture(folder.parent / "secret.png")
    (folder / "pairs.jsonl").write_text(json.dumps({"image": name}))
    with pytest.raises(DataError, match=r"pairs.jsonl: row 1 names .* expected a path below .*data") as error:
        files(folder / "pairs.jsonl", ("image",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.png", "./films/../a.png", "{}/a.png"])
def test_a_path_inside_is_not(folder, name):
    (folder / "pairs.jsonl").write_text(json.dumps({"image": name.format(folder)}))
    (found,) = files(folder / "pairs.jsonl", ("image",))
    assert (found.kind, found.relative) == ("image", "a.png")


def test_a_manifest_is_found_from_its_own_folder(folder, monkeypatch):
    written(folder, ROWS)
    monkeypatch.chdir(folder)
    assert files(Path("pairs.csv"))[0].relative == "films/a.mp4"
    (folder / "pairs.csv").write_text("image\n../secret.png\n")
    with pytest.raises(DataError, match="expected a path below"):
        files(Path("pairs.csv"), ("image",))


@pytest.mark.parametrize(
    "suffix, content, said",
    [
        (".csv", b"", "has the columns of no row; expected 'video'"),
        (".csv", b"image,text\na.png\n", "line 2 has another number of fields"),
        (".csv", b"image\n\xff\xfe\n", "byte 6 is not UTF-8"),
        (".csv", b'image,text\n"a.png,x\n', "expected a readable manifest"),
        (".jsonl", b'{"image": "a.png"}\n[1, 2]\n', r"line 2 is '\[1, 2\]'; expected a JSON object"),
        (".jsonl", b"image\n", "expected a JSON object in each line"),
        (".jsonl", b'{"image": ["a.png"]}\n', "row 1: column 'image' holds"),
        (".parquet", b"PAR1 no table", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(tmp_path, folder, suffix, content, said):
    path = folder / f"pairs{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as error:
        prepared(tmp_path, path)
    assert "\n" not in str(error.value)


def test_a_paired_folder_beside_a_manifest_is_refused(folder):
    with pytest.raises(
        DataError, match=r"data.paired .* beside the manifest .* expected columns of sounds or captions in it"
    ):
        files(written(folder, ROWS), paired=str(folder))
