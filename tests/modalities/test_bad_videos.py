"""Claims about videos that cannot be used, or only look so: one line, bounded memory and time, a fixed stand-in."""

import json
import subprocess
import sys
from pathlib import Path
from time import process_time

import av
import numpy as np
import pytest
import torch
from making_media import video
from making_videos import BAD, at_rate, code, cover, film, flat, huge, huge_frame, reference, truncated
from media_runs import records

from mmssl.config import Config, load_config
from mmssl.errors import DataError
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.containers import opened
from mmssl.modalities.media_data import MediaData, prepare_media
from mmssl.modalities.video import decode_video, probe_video
from mmssl.runs import record_bad

KILOBYTES = """
import sys
from pathlib import Path
def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
"""
PEAK = f"""{KILOBYTES}
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.video import decode_video, probe_video
for path in map(Path, sys.argv[1:]):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = kilobytes("VmRSS")
    try:
        print(probe_video(path) and decode_video(path, 16, 4, 0.0, 1.0).shape, end=" ")
    except BadSample as error:
        print(error, end=" ")
    print(kilobytes("VmHWM") - before)
"""
PEAK_OF_DATA = f"""{KILOBYTES}
from time import process_time
import numpy as np
from mmssl.config import load_config
from mmssl.modalities.media_data import prepare_media
run = Path(sys.argv[1])
config = load_config(run.parent / "config.yaml", sys.argv[2:])
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before, begun = kilobytes("VmRSS"), process_time()
data = prepare_media(config, run, print, ("video",))
clips = data.train(np.arange(0, data.train.size, data.train.size // 16))["video"][0]
print(data.train.size, process_time() - begun, kilobytes("VmHWM") - before)
"""


def eight_k(path: Path) -> Path:
    """A frame of 7680 x 4320 pixels."""
    return film(path, flat(1, (7680, 4320)), [0.0], codec="mjpeg", pixels="yuvj420p")


def config_of(folder: Path, *overrides: str) -> Config:
    """A small config below `folder`."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"task: video_prediction\nrun: {folder / 'run'}\nmethod: {{name: vjepa}}\nvideo: {{size: 16, frames: 4}}\n"
        "data: {heldout: 0.0}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def prepared(config: Config) -> MediaData:
    """The data of a config; what is bad is recorded in its run folder."""
    return prepare_media(config, Path(config.run), lambda entry: record_bad(Path(config.run), entry), ("video",))


def everything(data: MediaData) -> torch.Tensor:
    """All training clips."""
    return data.train(np.arange(data.train.size))["video"][0]


@pytest.fixture
def good(tmp_path) -> Path:
    """A folder with three good videos of 2 s."""
    for number in range(3):
        video(tmp_path / "source" / f"good{number}.mp4", [code(number) + frame for frame in range(50)])
    return tmp_path / "source"


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("kept", [True, False])
def test_a_bad_video_is_one_record_and_its_samples_are_fixed_other_ones(tmp_path, good, kind, kept):
    path = BAD[kind](good / "bad.mp4")
    config = config_of(tmp_path, f"data.source={good}", f"data.decoded_bytes={10**9 * kept}")
    begun = process_time()
    clips = everything(data := prepared(config))
    everything(prepared(config))  # found again
    assert process_time() - begun < 5
    (entry,) = records(config)
    assert entry["path"] == str(path)
    assert entry["reason"]
    assert "\n" not in entry["reason"]
    starts = [float(start) for start in range(data.train.size - 6)] if kind == "truncated" else []
    assert (len(starts) > 5) == (kind == "truncated")
    assert data.train.size == len(starts) + 6
    assert all(clip.float().std() > 0 or clip.float().mean() > 0 for clip in clips)
    other = config_of(tmp_path / "again", f"data.source={good}", f"data.decoded_bytes={10**9 * (not kept)}")
    assert torch.equal(everything(prepared(other)), clips)
    assert [each["path"] for each in records(other)] == [str(path)]


def test_a_file_that_only_looks_odd_is_read(tmp_path, good):
    video(good / "rotated.mp4", range(0, 200, 8), rotation=90)
    film(good / "ten bits.mkv", flat(25), at_rate(25, 25), codec="ffv1", pixels="yuv420p10le")
    film(good / "odd.mkv", flat(25, (63, 47)), at_rate(25, 25), codec="ffv1", pixels="bgr0")
    eight_k(good / "8K.avi")
    video(good / "one.mp4", [80])
    config = config_of(tmp_path, f"data.source={good}")
    assert everything(prepared(config)).shape == (11, 4, 3, 16, 16)
    assert records(config) == []


def test_a_picture_attached_to_a_sound_is_no_video(tmp_path):
    with av.open(str(cover(tmp_path / "a.mp4"))) as container:
        assert len(container.streams.video) == 1  # as FFmpeg sees it


def test_what_names_another_file_would_be_followed_by_ffmpeg_alone(tmp_path):
    path = reference(tmp_path / "a.mp4")
    with av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}) as container:
        assert len(list(container.decode(video=0))) == 20  # those of the other file
    with pytest.raises(BadSample, match="no frame that can be read"):
        probe_video(path)


def test_a_truncated_video_is_used_as_far_as_it_goes(tmp_path):
    path = truncated(tmp_path / "source" / "a.mp4")
    config = config_of(tmp_path, f"data.source={path}", "data.decoded_bytes=0")
    data = prepared(config)
    assert data.train.size == 10
    whole = torch.stack([torch.from_numpy(decode_video(path, 16, 4, float(start), 1.0)) for start in range(4)])
    assert torch.equal(everything(data)[:4], whole)
    assert len(records(config)) == 1


@pytest.mark.parametrize("kept", [True, False])
def test_a_long_truncated_video_beside_a_short_one_ends_no_run(tmp_path, good, kept, monkeypatch, capsys):
    truncated(good / "long.mp4", frames=600, rate=2, kept=0.02)
    asked = []
    monkeypatch.setattr("mmssl.modalities.containers.opened", lambda media: asked.append(media) or opened(media))
    config = config_of(tmp_path, f"data.source={good}", f"data.decoded_bytes={10**9 * kept}")
    data = prepared(config)
    clips = everything(data)
    assert data.train.size == 6 + 300  # of these 300 one is there
    assert not kept or asked.count(good / "long.mp4") < 20  # not once for each window
    assert all(clip.float().mean() > 0 for clip in clips)
    (entry,) = records(config)
    assert entry["path"] == str(good / "long.mp4")
    if kept:  # how many is said, also of what was decoded before
        told = f"note: 299 of 306 samples of {good} cannot be decoded: others stand in their place"
        assert capsys.readouterr().err.count(told) == 1
        prepared(config)
        assert capsys.readouterr().err.count(told) == 1


def test_what_a_file_says_to_hold_is_not_filled_up_when_it_is_missing(tmp_path):
    path = truncated(tmp_path / "a.mp4")
    clip = everything(prepared(config_of(tmp_path, f"data.source={path}", "data.decoded_bytes=0")))
    assert all((each[1:] != each[:-1]).any() for each in clip)  # noise: no frame is shown twice


def test_a_huge_frame_and_one_of_8k_take_bounded_memory(tmp_path):
    huge(tmp_path / "huge.mp4")
    huge_frame(tmp_path / "huge frame.mp4")
    eight_k(tmp_path / "8K.avi")
    paths = [tmp_path / name for name in ("huge.mp4", "huge frame.mp4", "8K.avi")]
    found = subprocess.run([sys.executable, "-c", PEAK, *paths], capture_output=True, text=True, check=True)
    lines = [line.rpartition(" ") for line in found.stdout.splitlines()]
    assert [said for said, _, _ in lines] == ["no frame that can be read, or one of more than 67108864 pixels"] * 2 + [
        "(4, 3, 16, 16)"
    ]
    peaks = [int(kilobytes) / 1e3 for _, _, kilobytes in lines]
    assert max(peaks[:2]) < 60
    assert 40 < peaks[2] < 400  # megabytes


def test_a_film_of_ten_hours_is_a_bounded_table(tmp_path, good):
    film(good / "long.mp4", flat(600), at_rate(600, 1 / 60))
    begun = process_time()
    config = config_of(tmp_path, f"data.source={good}", "data.clips_per_file=5")
    data = prepared(config)
    assert process_time() - begun < 3
    assert data.train.size == 6 + 5
    columns = json.loads(data.train.parts[0].table.read_text())["columns"]
    starts = [start for start, path in zip(columns["start_seconds"], columns["path"], strict=True) if "long" in path]
    assert [int(start / 7200) for start in starts] == list(range(5))  # one in each part
    assert sum(path.stat().st_size for path in (tmp_path / "run" / "cache").rglob("*")) < 100_000


def test_ten_hours_of_a_frame_each_second_take_bounded_memory_and_time(tmp_path):
    path = film(tmp_path / "source" / "long.mp4", flat(36_000, (16, 16)), at_rate(36_000, 1.0))
    asked = [f"data.source={path}", "data.decoded_bytes=0", "data.seconds=4.0"]
    config = config_of(tmp_path, *asked)
    command = [sys.executable, "-c", PEAK_OF_DATA, config.run, *asked]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    windows, seconds, kilobytes = map(float, found.stdout.split())
    assert windows == 9_000  # every 4 seconds one: there are no fewer by default
    assert seconds < 10
    assert kilobytes < 60_000
    assert records(config) == []


def test_videos_that_are_all_bad_are_an_error_of_one_line(tmp_path):
    path = BAD["playlist"](tmp_path / "source" / "a.mp4") if (tmp_path / "source").mkdir() is None else None
    with pytest.raises(
        DataError, match=r"1 of 1 files cannot be used, the first is .*a\.mp4 \(no sound or video"
    ) as error:
        prepared(config_of(tmp_path, f"data.source={path}"))
    assert "\n" not in str(error.value)


def test_a_clip_far_behind_its_key_frame_is_refused_and_one_near_it_is_read(tmp_path, monkeypatch):
    still = [*flat(1)] * 200  # so that the codec sees no reason for another key frame
    path = film(tmp_path / "a.mp4", still, at_rate(200, 10), codec="libx264", gop=10**6)
    assert decode_video(path, 16, 2, 19.0, 1.0).shape == (2, 3, 16, 16)
    monkeypatch.setattr("mmssl.modalities.containers.MAX_SPAN_PIXELS", 50 * 64 * 48)
    assert decode_video(path, 16, 2, 1.0, 1.0).shape == (2, 3, 16, 16)
    with pytest.raises(BadSample, match="more than 153600 pixels to decode"):
        decode_video(path, 16, 2, 19.0, 1.0)
