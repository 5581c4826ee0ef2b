"""Claims about which clips of a video are read, and what becomes of one that ends within a clip."""

import json
from pathlib import Path

import numpy as np
import pytest
from making_media import video

from mmssl.config import Config, load_config
from mmssl.errors import CheckpointError, DataError
from mmssl.modalities.bad_sample import unreported
from mmssl.modalities.media_data import MediaData, prepare_media
from mmssl.modalities.media_files import found
from mmssl.modalities.media_windows import Cutting, samples_of, starts, write_samples

SILENT = Cutting(1.0, with_sound=False)


def config_of(folder: Path, *overrides: str) -> Config:
    """A small config below `folder`."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"task: video_prediction\nrun: {folder / 'run'}\nmethod: {{name: vjepa}}\nvideo: {{size: 16, frames: 4}}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def prepared(config: Config, *modalities: str) -> tuple[MediaData, list[dict]]:
    """The data of a config, and what was reported."""
    reports: list[dict] = []
    return prepare_media(config, Path(config.run), reports.append, modalities), reports


@pytest.mark.parametrize("most", [1, 3, 7, 10, 11])
def test_windows_of_a_long_file_are_spread_and_decided_by_seed_and_path(most):
    cutting = SILENT._replace(clips_per_file=most)
    begins = starts(10, "a.mp4", cutting)
    assert begins == sorted(set(begins))
    assert len(begins) == min(most, 10)
    if most < 10:
        edges = [part * 10 // most for part in range(most + 1)]
        assert all(low <= start < high for start, low, high in zip(begins, edges[:-1], edges[1:], strict=True))
    assert starts(10, "a.mp4", cutting) == begins
    others = [starts(10**6, name, cutting._replace(seed=seed)) for name in "ab" for seed in (0, 1)]
    assert len({tuple(each) for each in others}) == 4


def test_the_draws_of_windows_reach_every_place_equally():
    places = [int(starts(40, str(n), SILENT._replace(clips_per_file=4))[1]) for n in range(2000)]
    counts = np.bincount(places, minlength=20)[10:]
    assert counts.sum() == 2000
    assert abs(counts - 200).max() < 4 * 200**0.5


@pytest.mark.parametrize("policy, begins, held", [("hold", [0, 1, 2], [0, 0, 0.4]), ("skip", [0, 1], [0, 0])])
def test_a_video_that_ends_within_a_window_is_held_or_cut_off(tmp_path, policy, begins, held):
    video(tmp_path / "a.mp4", [0] * 65)  # 2.6 s
    (file,) = found(str(tmp_path), ("video",), "")
    samples, bad = samples_of(file, SILENT._replace(short_videos=policy), tmp_path)
    assert [sample.start_seconds for sample in samples] == begins
    assert [sample.held_seconds for sample in samples] == pytest.approx(held)
    assert bad == []


@pytest.mark.parametrize("policy", ["hold", "skip"])
def test_a_video_shorter_than_a_window_is_held_or_named_and_left_out(tmp_path, policy):
    for number in range(20):
        video(tmp_path / f"{number}.mp4", [0] * 5)  # 0.2 s
    files = found(str(tmp_path), ("video",), "")
    cutting = SILENT._replace(short_videos=policy)
    samples, bad = samples_of(files[0], cutting, tmp_path)
    assert [sample.held_seconds for sample in samples] == ([pytest.approx(0.8)] if policy == "hold" else [])
    if policy == "skip":
        (entry,) = bad
        assert entry == {"path": str(files[0].path), "reason": "0.2 s, shorter than data.seconds (1)", "skipped": True}
        with pytest.raises(DataError, match=r"20 of 20 files cannot be used, the first is .*0[.]2 s, shorter than"):
            write_samples(files, tmp_path / "table.json", "it", cutting, unreported)
        video(tmp_path / "long.mp4", [0] * 25)  # one whole window: what is left out is no error, however much it is
        write_samples(found(str(tmp_path), ("video",), ""), tmp_path / "table.json", "it", cutting, unreported)
        note = json.loads((tmp_path / "table.json").read_text())
        assert (len(note["columns"]["path"]), len(note["bad"])) == (1, 20)


@pytest.mark.parametrize("policy, line", [
    ("hold", ", 3 with their last frame shown on (2.0 s in all), "),
    ("skip", ", 2 videos shorter than data.seconds left out, "),
])  # fmt: skip
def test_the_summary_counts_what_short_videos_became(tmp_path, policy, line):
    for name, frames in (("a", 5), ("b", 5), ("c", 40)):  # 0.2 s, 0.2 s, 1.6 s
        video(tmp_path / "source" / f"{name}.mp4", [100] * frames)
    source = (f"data.source={tmp_path / 'source'}", f"data.short_videos={policy}", "data.heldout=0.0")
    data, reports = prepared(config_of(tmp_path, *source), "video")
    assert line in data.summary()
    assert data.sizes == ((4,) if policy == "hold" else (1,))
    assert [entry["path"][-5:] for entry in reports] == ([] if policy == "hold" else ["a.mp4", "b.mp4"])
    whole, _ = prepared(config_of(tmp_path, *source[1:], f"data.source={tmp_path / 'source' / 'c.mp4'}",
                                  "data.seconds=0.8"), "video")  # fmt: skip
    assert "last frame" not in whole.summary()


def test_the_size_is_said_before_a_byte_of_it_is_written(tmp_path, capsys, monkeypatch):
    def refused(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmssl.modalities.shards.os.posix_fallocate", refused)
    for number in range(4):
        video(tmp_path / "source" / f"{number}.mp4", [100] * 50)
    with pytest.raises(CheckpointError, match=r"expected 24,576 free bytes, or a lower data[.]decoded_bytes"):
        prepared(config_of(tmp_path, f"data.source={tmp_path / 'source'}", "data.heldout=0.0"), "video")
    assert "note: decoding 8 samples of" in (said := capsys.readouterr().err)
    assert "(0.000 GB)" in said
    assert not list((tmp_path / "run" / "cache").glob("*decoded*"))
