"""Claims about videos in archives and tables: the same clips, sounds and labels as from a folder, read in place."""

import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from making_media import tone, video
from making_tables import parquet, png, tar
from making_videos import at_rate, film, flat

from mmssl.config import Config, load_config
from mmssl.errors import DataError
from mmssl.modalities.media_data import MediaData, prepare_media, reopen_media
from mmssl.modalities.media_tables import all_files
from mmssl.modalities.region import Region, Slice
from mmssl.modalities.video import decode_clips, decode_video, probe_video
from mmssl.order import Order, Slots, batches
from mmssl.sections import DataConfig

NAMES = ["a/0.mp4", "b/1.mkv", "a/2.webm", "b/3.avi"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, bytes]:
    """Four videos of 2 s in four containers, two of them with sound."""
    folder, codecs = tmp_path_factory.mktemp("videos"), {".webm": "libvpx", ".avi": "mpeg4"}
    made = {}
    for number, name in enumerate(NAMES):
        path, sound = folder / name, tone(2.0, 300.0 + 100 * number) if number < 2 else None
        brightness = [10 * number + 4 * frame for frame in range(50)]
        made[name] = video(path, brightness, codec=codecs.get(path.suffix, "libx264"), sound=sound).read_bytes()
    return made


def config_of(path: Path, *overrides: str) -> Config:
    """A small config below `path`."""
    (path / "run").mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text(
        f"task: video_prediction\nrun: {path / 'run'}\nmethod: {{name: vjepa}}\naudio: {{rate_hz: 8000}}\n"
        "video: {size: 16, frames: 4}\ndata: {heldout: 0.0}\n"
    )
    return load_config(path / "config.yaml", overrides)


def prepared(config: Config, *modalities: str) -> tuple[MediaData, list[dict]]:
    """The data of a config, and what was reported."""
    reports: list[dict] = []
    return prepare_media(config, Path(config.run), reports.append, modalities or ("video",)), reports


def seen(data: MediaData) -> list[tuple]:
    """Label and bytes of each training sample, in a fixed order."""
    found = data.train(np.arange(data.train.size))
    views = [found[name][0].numpy() for name in data.train.decoding.modalities]
    return sorted((label, *(view[row].tobytes() for view in views)) for row, label in enumerate(data.train.labels()))


def folder(path: Path, made: dict[str, bytes]) -> Path:
    """The videos as files."""
    for name, content in made.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def tars(path: Path, made: dict[str, bytes]) -> Path:
    """An archive for each video."""
    for number, (name, content) in enumerate(made.items()):
        tar(path / f"{number}.tar", {name: content})
    return path


def webdataset(path: Path, made: dict[str, bytes]) -> Path:
    """The videos of one folder with their labels beside them."""
    members: dict[str, bytes] = {}
    for number, (name, content) in enumerate(made.items()):
        members |= {f"x/{number}.cls": name[:1].encode(), f"x/{number}{name[3:]}": content, f"x/{number}.txt": b"text"}
    return tar(path.with_suffix(".tar"), members)


def dataset(made: dict[str, bytes]) -> datasets.Dataset:
    """The videos as `datasets` has them, with the names of their labels."""
    kinds = datasets.Features({"video": datasets.Video(), "label": datasets.ClassLabel(names=["a", "b"])})
    cells = [{"bytes": content, "path": None} for content in made.values()]
    return datasets.Dataset.from_dict({"video": cells, "label": ["ab".index(n[0]) for n in made]}, features=kinds)


def saved(path: Path, made: dict[str, bytes]) -> Path:
    """The videos as `save_to_disk` writes them."""
    datasets.DatasetDict({"train": dataset(made)}).save_to_disk(str(path))
    return path


def table(path: Path, made: dict[str, bytes]) -> Path:
    """The videos in a table that knows nothing of them."""
    return parquet(path.with_suffix(".parquet"), video=list(made.values()), label=[name[0] for name in made])


SOURCES = {
    "tar": lambda path, made: tar(path.with_suffix(".tar"), made),
    "tars": tars,
    "webdataset": webdataset,
    "table": table,
    "datasets": saved,
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("modalities", [("video",), ("video", "audio")])
def test_every_kind_of_source_gives_the_clips_sounds_and_labels_of_a_folder(tmp_path, videos, kind, modalities):
    expected, _ = prepared(
        config_of(tmp_path / "raw", f"data.source={folder(tmp_path / 'files', videos)}"), *modalities
    )
    source = SOURCES[kind](tmp_path / "source", videos)
    for kept in (0, 10**9):
        config = config_of(tmp_path, f"data.source={source}", f"data.decoded_bytes={kept}")
        data, reports = prepared(config, *modalities)
        assert data.train.size == 8
        assert seen(data) == seen(expected)
        assert not reports
        again = reopen_media(config, Path(config.run), modalities)
        assert again is not None
        assert seen(again) == seen(expected)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_hub_source_of_videos_is_read_undecoded(tmp_path, videos, monkeypatch, streaming):
    dataset(videos).to_parquet(tmp_path / "x.parquet")
    load = datasets.load_dataset

    def load_dataset(name, subset=None, *, split, streaming=False, **options):
        assert (name, subset, split) == ("owner/set", "small", "test")
        return load("parquet", data_files=str(tmp_path / "x.parquet"), split="train", streaming=streaming)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    options = ("data.source=owner/set:small", "data.documents=2", f"data.streaming={json.dumps(streaming)}")
    data, _ = prepared(config_of(tmp_path, *options, "data.split=test"))
    assert data.train.paths() == [f"owner/set:small:{number}" for number in (0, 0, 1, 1)]
    assert data.train.labels() == ["a", "a", "b", "b"]


def test_a_column_of_another_name_is_read_and_a_missing_one_is_named(tmp_path, videos):
    source = parquet(tmp_path / "x.parquet", clip=list(videos.values()))
    assert prepared(config_of(tmp_path, f"data.source={source}", "data.video_column=clip"))[0].train.size == 8
    with pytest.raises(DataError, match=r"no column 'video'; expected data.video_column to be one of: clip"):
        prepared(config_of(tmp_path, f"data.source={source}"))


def test_what_archives_and_tables_do_not_hold_is_refused(tmp_path, videos):
    archive, rows = tar(tmp_path / "x.tar", videos), table(tmp_path / "y", videos)
    for source, modalities, match in (
        (archive, ("audio",), "read for pictures and videos alone"),
        (archive, ("image", "audio"), "read for pictures and videos alone"),
        (archive, ("image",), "has no picture; expected one member or row with a picture"),
        (rows, ("image", "video"), "read for one modality"),
        (tar(tmp_path / "z.tar", {"a.png": png(0)}), ("video",), "has no video; expected"),
    ):
        with pytest.raises(DataError, match=match):
            all_files(str(source), modalities, DataConfig(), tmp_path)


def test_pictures_and_videos_of_one_archive_are_samples_of_their_kinds(tmp_path, videos):
    source = tar(tmp_path / "x.tar", {**videos, "a/p.png": png(0)})
    data, _ = prepared(config_of(tmp_path, f"data.source={source}", "image.size=8"), "image", "video")
    assert (data.train.size, data.missing) == (9, {"image": 8, "video": 1})


def test_a_bad_video_in_an_archive_is_one_record_under_its_name(tmp_path, videos):
    source = tar(tmp_path / "x.tar", {**videos, "c/bad.mp4": b"text" * 100, "c/empty.mp4": b""})
    data, reports = prepared(config_of(tmp_path, f"data.source={source}"))
    assert [entry["path"] for entry in reports] == [f"{source}:c/bad.mp4", f"{source}:c/empty.mp4"]
    assert [entry["reason"] for entry in reports][1] == "no byte"
    assert data.train.size == 8


def test_workers_read_archives_too(tmp_path, videos):
    config = config_of(tmp_path, f"data.source={tar(tmp_path / 'x.tar', videos)}", "data.decoded_bytes=0")
    data, _ = prepared(config)
    order, slots = Order(data.sizes, 0), Slots(4)
    alone, together = batches(data.train, order, slots), batches(data.train, order, slots, workers=1)
    assert torch.equal(next(alone).views["video"][0], next(together).views["video"][0])


def test_of_a_long_video_in_an_archive_only_what_is_shown_is_read(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (1200, 48, 64, 3), dtype=np.uint8)
    content = film(tmp_path / "a.mp4", noise, at_rate(1200, 2), gop=20).read_bytes()
    (tmp_path / "x.bin").write_bytes(b"before" + content + b"after")
    region, count, read = Region(tmp_path / "x.bin", 6, len(content)), [0], Slice.readinto

    def counted(self, buffer):
        count[0] += (found := read(self, buffer))
        return found

    monkeypatch.setattr(Slice, "readinto", counted)
    assert probe_video(region) == probe_video(tmp_path / "a.mp4")
    assert count[0] < len(content) / 4
    windows = [(10.0, 600.0), (550.0, 600.0)]
    for (start, _), clip in zip(windows, decode_clips(region, 16, 4, windows, 1.0), strict=True):
        np.testing.assert_array_equal(clip, decode_video(tmp_path / "a.mp4", 16, 4, start, 1.0))
    assert count[0] < len(content) / 2


def test_a_region_ends_where_it_says(tmp_path):
    content = film(tmp_path / "a.mp4", flat(3), at_rate(3, 10)).read_bytes()
    (tmp_path / "x.bin").write_bytes(b"12345678" * 2)
    with (tmp_path / "x.bin").open("rb") as file:
        part = Slice(file, 3, 5)
        assert (part.read(), part.read(), part.seek(-2, 2), part.read(9), part.tell()) == (b"45678", b"", 3, b"78", 5)
        assert (part.seek(1), part.read(2), part.seek(1, 1), part.read()) == (1, b"56", 4, b"8")
        with pytest.raises(ValueError, match="expected 0 or more"):
            part.seek(-1)
    (tmp_path / "two.bin").write_bytes(content * 2)
    for offset in (0, len(content)):
        assert probe_video(Region(tmp_path / "two.bin", offset, len(content))).video_seconds > 0
