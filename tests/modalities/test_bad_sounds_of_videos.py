"""Claims about videos whose sound is short, late, twice there, missing or damaged: what is present, and why not."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from making_flashes import flashes
from making_media import tone, video

from mmssl.config import Config, load_config
from mmssl.errors import DataError
from mmssl.modalities.audio import decode_audio
from mmssl.modalities.media_data import MediaData, prepare_media
from mmssl.runs import record_bad


def config_of(folder: Path, *overrides: str) -> Config:
    """A small config below `folder`."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"task: audio_visual\nrun: {folder / 'run'}\nmethod: {{name: audio_visual_contrastive}}\n"
        f"video: {{size: 16, frames: 4}}\naudio: {{rate_hz: 8000}}\n"
        f"data: {{heldout: 0.0, source: {folder / 'source'}}}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def read(folder: Path, *overrides: str) -> tuple[MediaData, dict[str, torch.Tensor], list[dict]]:
    """The data, all samples, and what was recorded as bad."""
    config = config_of(folder, *overrides)
    run = Path(config.run)
    data = prepare_media(config, run, lambda entry: record_bad(run, entry), ("video", "audio"))
    found = {name: view for name, (view,) in data.train(np.arange(data.train.size)).items()}
    log = run / "bad_samples.jsonl"
    return data, found, [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def noise(seconds: float) -> np.ndarray:
    """A loud sound without a pause."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 48000))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_a_sound_that_ends_early_is_followed_by_silence_and_then_absent(tmp_path, suffix):
    codec = "libvpx" if suffix == "webm" else "libx264"
    video(tmp_path / "source" / f"a.{suffix}", range(0, 200, 2), sound=noise(2.5), codec=codec)
    data, found, bad = read(tmp_path)
    assert found["audio.present"].tolist() == [True] * 3 + [False]
    assert data.missing == {"video": 0, "audio": 1}
    assert not bad
    loudness = found["audio"].unflatten(1, (10, -1)).std(-1)
    assert (loudness[:2] > 0.1).all()
    assert (loudness[2, :4] > 0.1).all()
    assert (loudness[2, 6:] < 1e-3).all()
    assert not found["audio"][3].any()


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_a_sound_that_begins_late_is_absent_and_then_follows_silence(tmp_path, suffix):
    codec = "libvpx" if suffix == "webm" else "libx264"
    path = tmp_path / "source" / f"a.{suffix}"
    video(path, range(0, 200, 2), sound=noise(2.5), sound_start=1.5, codec=codec)
    data, found, bad = read(tmp_path)
    assert found["audio.present"].tolist() == [False] + [True] * 3
    assert data.missing["audio"] == 1
    assert not bad
    loudness = found["audio"].unflatten(1, (10, -1)).std(-1)
    assert (loudness[1, :4] < 1e-3).all()
    assert (loudness[1, 6:] > 0.1).all()


@pytest.mark.parametrize("suffix, heard", [("mp4", 0), ("mov", 0), ("mkv", 0), ("mkv", 1), ("webm", 1)])
def test_of_two_tracks_the_default_one_else_the_first_is_heard(tmp_path, suffix, heard):
    path = tmp_path / "source" / f"a.{suffix}"
    flashes(path, [number / 24 for number in range(48)], [12], 2.0, tracks=2, heard=heard)
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 2
    assert np.abs(decode_audio(path, 16000, 0.0, 1.0)).argmax() / 16000 == pytest.approx(0.5, abs=0.01)
    _, found, bad = read(tmp_path)
    assert found["audio"][0].abs().max() > 0.1
    assert not bad


def with_damaged_sound(path: Path) -> Path:
    """A video of which no packet of the sound can be decoded."""
    video(path, range(0, 200, 4), sound=noise(2.0))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(container.streams.audio[0]) if packet.size]
    data, generator = bytearray(path.read_bytes()), np.random.default_rng(0)
    for place, size in places:
        assert place is not None
        data[place : place + size] = generator.integers(0, 256, size, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kept", [True, False])
def test_a_sound_that_cannot_be_decoded_is_a_record_and_another_sample_with_its_own_pair(tmp_path, kept):
    for number in range(3):
        video(tmp_path / "source" / f"{number}.mp4", range(10 * number, 200, 4), sound=tone(2.0, 300.0 + 100 * number))
    path = with_damaged_sound(tmp_path / "source" / "bad.mp4")
    _, found, bad = read(tmp_path, f"data.decoded_bytes={10**9 * kept}")
    assert {entry["path"] for entry in bad} == {str(path)}
    assert all("Invalid data" in entry["reason"] for entry in bad)
    assert found["audio.present"].all()
    assert torch.isfinite(found["audio"]).all()
    again = read(tmp_path / "again", f"data.source={tmp_path / 'source'}", f"data.decoded_bytes={10**9 * (not kept)}")
    for name in ("video", "audio"):
        assert torch.equal(again[1][name], found[name])
    taken = {entry["replaced_by"] for entry in bad}
    for place in taken:  # picture and sound of one other sample
        same = (found["video"] == found["video"][place]).flatten(1).all(1)
        assert torch.equal(same, (found["audio"] == found["audio"][place]).all(1))
        assert same.sum() > 1


def test_a_track_of_an_unknown_codec_is_no_track(tmp_path):
    path = video(tmp_path / "source" / "a.mkv", range(0, 200, 4), sound=tone(2.0))
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XXX"))
    video(tmp_path / "source" / "b.mkv", range(0, 200, 4), sound=tone(2.0))
    data, found, _ = read(tmp_path)
    assert found["audio.present"].tolist() == [False] * 2 + [True] * 2
    assert data.missing["audio"] == 2


def test_videos_none_of_which_can_be_heard_are_one_line(tmp_path):
    with_damaged_sound(tmp_path / "source" / "a.mp4")
    with pytest.raises(DataError, match=r"1 of 1 files cannot be used, the first is .*a\.mp4 \(Invalid data") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)
