"""Folders of raw files through the command line, and what is done about files that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from making_media import picture, sound, tone, video
from media_runs import SMALL
from raw_folders import bad_pictures, bad_samples, evaluation, one_line, pictures, truncated
from running import metrics


def sounds(folder: Path, count: int = 6) -> Path:
    """Good sounds of 2 seconds with two labels."""
    for number in range(count):
        sound(folder / ("high", "low")[number % 2] / f"{number:02d}.wav", 2.0, 300.0 + 50 * number)
    return folder


def videos(folder: Path, count: int = 5, *, with_sound: bool = True) -> Path:
    """Good clips of 2 seconds."""
    for number in range(count):
        track = tone(2.0, 400.0 + 60 * number) if with_sound else None
        video(folder / f"{number:02d}.mp4", range(10 * number, 200, 8), fps=12, sound=track)
    return folder


def test_sub_folders_of_pictures_are_labels(pretrain, tmp_path):
    source = f"data.source={pictures(tmp_path / 'source')}"
    assert pretrain("image_pretraining", source, "evaluate.documents=100", evaluated=True) == (0, [])
    found = evaluation(tmp_path)
    assert found["labelled.classes"] == 2
    assert found["labelled.train"] + found["labelled.test"] == 24
    assert 0 <= found["probe.accuracy"] <= 1
    assert bad_samples(tmp_path) == {}


def test_a_folder_without_sub_folders_is_trained_on_without_labels(pretrain, tmp_path):
    for number in range(8):
        picture(tmp_path / "source" / f"{number}.png", number)
    assert pretrain("image_pretraining", f"data.source={tmp_path / 'source'}", evaluated=True) == (0, [])
    assert not [key for key in evaluation(tmp_path) if "knn" in key or "probe" in key]
    named = (f"evaluate.source={tmp_path / 'source'}", f"data.source={tmp_path / 'source'}")
    one_line(pretrain("image_pretraining", *named, evaluated=True), 3, "has no label; expected a sub-folder")


def test_a_folder_of_sounds(pretrain, tmp_path):
    assert pretrain("audio_pretraining", f"data.source={sounds(tmp_path / 'source')}") == (0, [])
    assert metrics(tmp_path / "run")[-1]["samples_seen"] == 4
    assert metrics(tmp_path / "run")[-1]["heldout.loss"] > 0


def test_a_folder_of_videos_with_sound(pretrain, tmp_path):
    source = f"data.source={videos(tmp_path / 'source')}"
    assert pretrain("audio_visual", source, evaluated=True) == (0, [])
    found = evaluation(tmp_path)
    assert found["retrieval.candidates"] >= 2
    assert "data.missing.audio" not in found


def test_a_folder_of_videos_without_sound_is_enough_for_pictures_but_not_for_sound(pretrain, tmp_path):
    source = f"data.source={videos(tmp_path / 'source', with_sound=False)}"
    assert pretrain("video_prediction", source) == (0, [])
    one_line(pretrain("audio_visual", source, f"run={tmp_path}/other"), 3, "no sample has audio; expected one at least")


def test_a_few_videos_without_sound_are_counted(pretrain, tmp_path):
    videos(tmp_path / "source", 5)
    video(tmp_path / "source" / "silent.mp4", range(0, 200, 8), fps=12)
    source = f"data.source={tmp_path / 'source'}"
    assert pretrain("audio_visual", source, "data.heldout=0.0", evaluated=True) == (0, [])
    assert evaluation(tmp_path)["data.missing.audio"] == 2  # windows of one second
    assert bad_samples(tmp_path) == {}


def test_aligned_folders_of_videos_and_their_sounds(pretrain, tmp_path):
    source = videos(tmp_path / "source", with_sound=False)
    for number in range(5):
        sound(tmp_path / "sounds" / f"{number:02d}.wav", 2.0, 300.0 + 60 * number)
    paired = (f"data.source={source}", f"data.paired={tmp_path / 'sounds'}")
    assert pretrain("audio_visual", *paired, evaluated=True) == (0, [])
    assert "retrieval.video_to_audio.r1" in evaluation(tmp_path)
    missing = (f"data.source={source}", f"data.paired={tmp_path / 'none'}", f"run={tmp_path}/other")
    one_line(pretrain("audio_visual", *missing), 3, "data.paired: no such folder", "expected a folder of sounds")


def test_aligned_folders_of_files_and_their_captions(pretrain, tmp_path):
    source = videos(pictures(tmp_path / "source", 6))
    for path in [*source.rglob("*.*")]:
        said = tmp_path / "said" / path.relative_to(source).with_suffix(".txt")
        said.parent.mkdir(parents=True, exist_ok=True)
        said.write_text(f"a film or a picture, the one of {path.stem}")
    (tmp_path / "said" / "00.txt").unlink()
    (tmp_path / "said" / "01.txt").write_bytes(b"\xff\xfe")
    paired = (f"data.source={source}", f"data.paired={tmp_path / 'said'}", "data.heldout=0.0")
    assert pretrain("multimodal", *paired, evaluated=True) == (0, [])
    assert bad_samples(tmp_path) == {"01.txt": "byte 0 is not UTF-8 text"}
    assert evaluation(tmp_path)["data.missing.text"] == 4  # two windows of a second each
    none = (f"data.source={source}", f"data.paired={tmp_path / 'none'}", f"run={tmp_path}/other")
    one_line(pretrain("multimodal", *none), 3, "data.paired: no such folder", "expected a folder of sounds or captions")
    one_line(pretrain("audio_visual", *paired, f"run={tmp_path}/other"), 3, "said has no sound; expected .flac")


def bad_sounds(folder: Path) -> set[str]:
    """What is wrong with sounds."""
    (folder / "high" / "empty.wav").write_bytes(b"")
    soundfile.write(folder / "high" / "nothing.wav", np.zeros(0), 8000)
    soundfile.write(folder / "high" / "nan.wav", np.full(16000, np.nan), 8000, subtype="FLOAT")
    (folder / "high" / "text.wav").write_text("no sound\n" * 20)
    return {"empty.wav", "nothing.wav", "nan.wav", "text.wav"}


def bad_videos(folder: Path) -> set[str]:
    """What is wrong with videos: no frame, no end, nothing at all."""
    truncated(video(folder / "truncated.mp4", range(0, 200, 8), fps=12, sound=tone(2.0)))
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video\n" * 20)
    sound_only(folder / "sound_only.mp4")
    return {"truncated.mp4", "empty.mp4", "text.mp4", "sound_only.mp4"}


def sound_only(path: Path) -> None:
    """A video file that holds a sound track and no picture."""
    import av

    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=48000, layout="mono")
        block = av.AudioFrame.from_ndarray(tone(0.02)[None].astype(np.float32), format="fltp", layout="mono")
        block.sample_rate = 48000
        container.mux(track.encode(block))
        container.mux(track.encode(None))


KINDS = {
    "image_pretraining": (pictures, bad_pictures),
    "audio_pretraining": (sounds, bad_sounds),
    "audio_visual": (videos, bad_videos),
}


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("decoded_bytes", [4_000_000_000, 0])
def test_a_few_bad_files_are_recorded_and_trained_around(pretrain, tmp_path, task, decoded_bytes):
    good, bad = KINDS[task]
    names = bad(good(tmp_path / "source"))
    overrides = (f"data.decoded_bytes={decoded_bytes}", "data.heldout=0.0", "train.batch_size=48")
    assert pretrain(task, f"data.source={tmp_path / 'source'}", *overrides) == (0, [])
    assert bad_samples(tmp_path).keys() == names
    assert all(bad_samples(tmp_path).values())
    assert np.isfinite(metrics(tmp_path / "run")[-1]["loss"])


@pytest.mark.parametrize("task", KINDS)
def test_where_no_file_is_left_a_line_names_the_first(pretrain, tmp_path, task):
    good, bad = KINDS[task]
    source = good(tmp_path / "source")
    names = bad(source)
    for path in source.rglob("*.*"):
        if path.name not in names:
            path.unlink()
    end = pretrain(task, f"data.source={source}")
    one_line(end, 3, "files cannot be used, the first is", "expected at least one good file")
    assert any(name in end[1][0] for name in names)
    assert set() < bad_samples(tmp_path).keys() <= names


@pytest.mark.parametrize("kind", ["missing", "empty", "other"])
def test_a_folder_with_nothing_to_read(pretrain, tmp_path, kind):
    source = tmp_path / "source"
    if kind != "missing":
        source.mkdir()
    if kind == "other":
        (source / "a.txt").write_text("a lion")
    one_line(pretrain("image_pretraining", f"data.source={source}"), 3, str(source), "expected")


@pytest.mark.parametrize(
    "task, overrides, parts",
    [
        ("image_pretraining", ["encoder={name: resnet}"], ("ConvolutionalEncoder", "expected encoder.name vit")),
        ("image_pretraining", [f"method={{name: ijepa, {SMALL}}}", "encoder={name: resnet}"], ("Convol", "vit")),
        ("image_pretraining", [f"method={{name: audio_mae, {SMALL}}}"], ("needs audio", "reads image")),
        ("video_prediction", ["method={name: simclr}"], ("needs pictures", "expected task image_pretraining")),
        ("video_prediction", ["encoder={name: resnet}"], ("encoder resnet", "video", "expected encoder.name vit")),
        ("video_prediction", ["method.seen_frames=3"], ("method.seen_frames 3", "4 frames in patches of 2")),
        ("video_prediction", ["method.seen_frames=4"], ("method.seen_frames 4", "below 4")),
        ("image_pretraining", ["encoder.patch=5"], ("16 x 16", "5 x 5", "expected divisors")),
        ("audio_pretraining", ["encoder.audio_patch=[4, 5]"], ("8 x 16", "4 x 5", "expected divisors")),
        ("video_prediction", ["encoder.frames=3"], ("4 x 16 x 16", "3 x 8 x 8", "expected divisors")),
        ("audio_visual", [f"method={{name: mae, {SMALL}}}"], ("needs image", "reads video, audio")),
        ("image_pretraining", ["encoder.heads=3"], ("32", "3 heads", "expected a multiple")),
        ("image_pretraining", ["image.size=8"], ("savanna", "at least 16 pixels", "8")),
    ],
)
def test_what_does_not_fit_together_is_one_line_that_names_both(pretrain, task, overrides, parts):
    one_line(pretrain(task, "data.samples=8", *overrides), 2, *parts)


def test_pictures_without_captions_are_not_enough_where_words_are_read(pretrain, tmp_path):
    source = pictures(tmp_path / "source", 4)
    one_line(pretrain("multimodal", f"data.source={source}"), 3, str(source), "no sample has text", "x.jpg in x.txt")
