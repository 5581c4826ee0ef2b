"""Claims about which files a source holds and which windows of time are its samples."""

import json
import shutil
from pathlib import Path

import pytest
from making_media import picture, sound, tone, video

from mmssl.errors import DataError
from mmssl.modalities.bad_sample import unreported
from mmssl.modalities.media_files import found, split_files
from mmssl.modalities.media_windows import Cutting, Sample, samples_of, starts, windows, write_samples

WITH_SOUND, SILENT = Cutting(1.0, with_sound=True), Cutting(1.0, with_sound=False)


def names(source, modalities=("image",), paired="") -> list[tuple[str, str, str]]:
    """Path below the source, label and kind of each file."""
    return [(file.relative, file.label, file.kind) for file in found(str(source), modalities, str(paired))]


def touched(folder: Path, *paths: str) -> Path:
    """A folder with these empty files."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def test_a_folder_is_read_with_all_below_it_and_its_sub_folders_are_labels(tmp_path, capsys):
    folder = touched(tmp_path, "b/deep/2.JPG", "a/1.png", "top.webp", ".hidden.png", ".git/3.png", "a/notes.txt", "b/x")
    expected = [("a/1.png", "a", "image"), ("b/deep/2.JPG", "b", "image"), ("top.webp", "", "image")]
    assert names(folder) == expected
    assert capsys.readouterr().err == f"note: {folder}: ignored 1 without suffix, 1 .txt\n"


def test_a_glob_and_a_single_file_are_sources_too(tmp_path):
    folder = touched(tmp_path, "a/1.png", "a/2.jpg", "b/3.png")
    assert names(f"{folder}/*/*.png") == [("a/1.png", "a", "image"), ("b/3.png", "b", "image")]
    assert names(folder / "a" / "2.jpg") == [("2.jpg", "", "image")]


def test_what_is_read_depends_on_what_is_asked_for(tmp_path):
    folder = touched(tmp_path, "a.png", "b.gif", "c.wav", "d.mp4")
    read = {modalities: [name for name, *_ in names(folder, modalities)] for modalities in
            (("image",), ("audio",), ("video",), ("audio", "video"), ("image", "audio", "video"))}  # fmt: skip
    assert read == {
        ("image",): ["a.png", "b.gif"], ("audio",): ["c.wav", "d.mp4"], ("video",): ["b.gif", "d.mp4"],
        ("audio", "video"): ["b.gif", "c.wav", "d.mp4"],
        ("image", "audio", "video"): ["a.png", "b.gif", "c.wav", "d.mp4"],
    }  # fmt: skip


@pytest.mark.parametrize("source", ["none", "empty", "empty/*.png"])
def test_a_source_with_nothing_to_read_is_named(tmp_path, source):
    touched(tmp_path / "empty", "a.txt")
    with pytest.raises(DataError, match=source.replace("*", ".")) as error:
        found(str(tmp_path / source), ("image",), "")
    assert "expected" in str(error.value)


def test_sounds_are_paired_by_their_path_without_the_suffix(tmp_path):
    touched(tmp_path / "pictures", "a/1.png", "a/2.jpg", "b/1.png")
    touched(tmp_path / "sounds", "a/1.wav", "b/1.flac", "c/9.wav")
    files = found(str(tmp_path / "pictures"), ("image", "audio"), str(tmp_path / "sounds"))
    assert [file.sound and file.sound.relative_to(tmp_path).as_posix() for file in files] == [
        "sounds/a/1.wav", None, "sounds/b/1.flac",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"data[.]paired"):
        found(str(tmp_path / "pictures"), ("image", "audio"), str(tmp_path / "none"))


def test_captions_are_paired_by_their_path_without_the_suffix(tmp_path):
    touched(tmp_path / "things", "a/1.png", "a/2.jpg", "b/1.wav", "b/3.mp4", "a/1.txt")
    touched(tmp_path / "said", "a/1.txt", "b/1.TXT", "b/3.txt", "c/9.txt")
    source, paired = str(tmp_path / "things"), str(tmp_path / "said")
    files = found(source, ("text", "image", "audio", "video"), paired)
    assert [file.relative for file in files] == ["a/1.png", "a/2.jpg", "b/1.wav", "b/3.mp4"]
    assert [file.caption for file in files] == [
        tmp_path / "said/a/1.txt", "", tmp_path / "said/b/1.TXT", tmp_path / "said/b/3.txt",
    ]  # fmt: skip
    assert not any(file.sound or file.is_paired for file in files)  # a sound track of its own counts


def test_captions_elsewhere_take_the_place_of_those_beside(tmp_path, capsys):
    source = touched(tmp_path / "pictures", "1.png", "1.txt", "2.png", "2.txt")
    touched(tmp_path / "said", "1.txt")
    assert [file.caption for file in found(str(source), ("text", "image"), str(tmp_path / "said"))] == [
        tmp_path / "said/1.txt", "",
    ]  # fmt: skip
    assert capsys.readouterr().err == f"note: {source}: ignored 2 .txt\n"


def test_a_folder_of_sounds_and_captions_serves_both(tmp_path):
    touched(tmp_path / "videos", "1.mp4", "2.mp4", "1.txt")
    paired = touched(tmp_path / "both", "1.wav", "1.txt", "2.flac")
    one, two = found(str(tmp_path / "videos"), ("text", "video", "audio"), str(paired))
    assert (one.sound, one.caption, one.is_paired) == (paired / "1.wav", paired / "1.txt", True)
    assert (two.sound, two.caption, two.is_paired) == (paired / "2.flac", "", True)
    # a task without words takes the sounds, one without pictures the captions of its own sounds
    assert [file.caption for file in found(str(tmp_path / "videos"), ("video", "audio"), str(paired))] == ["", ""]
    touched(tmp_path / "sounds", "1.wav", "2.wav")
    assert [(file.sound, file.caption) for file in found(str(tmp_path / "sounds"), ("text", "audio"), str(paired))] == [
        (None, paired / "1.txt"), (None, ""),
    ]  # fmt: skip


def test_what_is_paired_may_lie_in_the_source_and_is_not_counted_as_ignored(tmp_path, capsys):
    source = touched(tmp_path / "all", "1.mp4", "1.wav", "1.txt", "2.txt")
    (file,) = found(str(source), ("text", "video", "audio"), str(source))
    assert (file.path, file.sound, file.caption) == (source / "1.mp4", source / "1.wav", source / "1.txt")
    assert capsys.readouterr().err == f"note: {source}: ignored 1 .txt\n"


def test_captions_beside_are_kept_where_only_sounds_are_paired(tmp_path):
    source = touched(tmp_path / "videos", "1.mp4", "1.txt")
    touched(tmp_path / "sounds", "1.wav")
    (file,) = found(str(source), ("text", "video", "audio"), str(tmp_path / "sounds"))
    assert (file.sound, file.caption) == (tmp_path / "sounds/1.wav", source / "1.txt")


@pytest.mark.parametrize("modalities, names, said", [
    (("video", "audio"), None, "no such folder: .*paired; expected a folder of sounds$"),
    (("text", "image"), None, "no such folder: .*paired; expected a folder of captions$"),
    (("text", "video", "audio"), None, "no such folder: .*paired; expected a folder of sounds or captions$"),
    (("video", "audio"), ["1.txt"], "paired has no sound; expected .flac, .m4a, .mp3, .ogg, .wav$"),
    (("text", "image"), ["1.wav"], "paired has no caption; expected .txt$"),
    (("text", "audio"), ["1.wav"], "paired has no caption; expected .txt$"),
    (("text", "video", "audio"), ["1.md"], "has no sound or caption; expected .flac, .m4a, .mp3, .ogg, .txt, .wav$"),
    (("audio",), ["1.wav"], "the task reads audio; expected one that reads text, or sounds beside pictures or videos$"),
    (("image",), ["1.txt"], "the task reads image; expected one that reads text, or sounds beside pictures or videos$"),
])  # fmt: skip
def test_a_paired_folder_of_which_nothing_is_read_is_one_line(tmp_path, modalities, names, said):
    touched(tmp_path / "source", "1.png", "1.mp4", "1.wav")
    if names is not None:
        touched(tmp_path / "paired", *names)
    with pytest.raises(DataError, match=f"^data[.]paired.*{said}") as error:
        found(str(tmp_path / "source"), modalities, str(tmp_path / "paired"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length, begins", [
    (0.02, [0]), (0.99, [0]), (1.0, [0]), (1.4, [0]), (1.5, [0, 1]), (2.0, [0, 1]), (3.49, [0, 1, 2]),
    (3.5, [0, 1, 2, 3]),
])  # fmt: skip
def test_windows_follow_each_other_and_the_last_is_at_least_half_full(length, begins):
    assert starts(windows(length, 1.0), "a.mp4", SILENT) == begins
    assert windows(length / 2, 0.5) == len(begins)


def test_a_window_of_a_video_has_sound_only_while_there_is_some(tmp_path):
    video(tmp_path / "a.mp4", [0] * 60, sound=tone(0.9))
    (file,) = found(str(tmp_path), ("video", "audio"), "")
    samples, bad = samples_of(file, WITH_SOUND, tmp_path)
    assert not bad
    assert [(sample.start_seconds, bool(sample.sound)) for sample in samples] == [(0, True), (1, False)]
    assert not any(sample.sound for sample in samples_of(file, SILENT, tmp_path)[0])


def test_a_paired_sound_takes_the_place_of_the_sound_track(tmp_path):
    for name in ("a", "b"):
        video(tmp_path / "videos" / f"{name}.mp4", [0] * 50, sound=tone(2.0))
    path = sound(tmp_path / "sounds" / "a.wav", 2.0)
    paired, alone = found(str(tmp_path / "videos"), ("video", "audio"), str(tmp_path / "sounds"))
    assert [sample.sound for sample in samples_of(paired, WITH_SOUND, tmp_path)[0]] == [str(path)] * 2
    assert [sample.sound for sample in samples_of(alone, WITH_SOUND, tmp_path)[0]] == [""] * 2
    path.write_bytes(b"")
    samples, bad = samples_of(paired, WITH_SOUND, tmp_path)
    assert [sample.sound for sample in samples] == [""] * 2
    assert [entry["path"] for entry in bad] == [str(path)]


def test_the_split_is_by_file_and_stable_when_files_are_added(tmp_path):
    folder = touched(tmp_path, *(f"{number}.png" for number in range(200)))
    train, heldout = (
        {file.relative for file in part} for part in split_files(found(str(folder), ("image",), ""), 0.2, 7)
    )
    assert not train & heldout
    assert len(train | heldout) == 200
    assert 20 < len(heldout) < 60
    touched(folder, "more.png")
    again = split_files(found(str(folder), ("image",), ""), 0.2, 7)
    assert {file.relative for file in again[1]} - {"more.png"} == heldout
    moved = tmp_path / "moved"
    moved.mkdir()
    for number in range(200):
        shutil.move(folder / f"{number}.png", moved)
    assert {file.relative for file in split_files(found(str(moved), ("image",), ""), 0.2, 7)[1]} == heldout


@pytest.mark.parametrize("ratio", [0.001, 0.999])
def test_neither_side_is_empty_where_there_are_two_files(tmp_path, ratio):
    files = found(str(touched(tmp_path, "a.png", "b.png")), ("image",), "")
    for seed in range(5):
        assert all(split_files(files, ratio, seed))
    assert [len(part) for part in split_files(files[:1], 0.5, 0)] == [1, 0]
    assert split_files(files, 0.0, 0) == (files, [])


def table(tmp_path: Path, files: list) -> dict:
    """The table of samples of the files."""
    write_samples(files, tmp_path / "cache" / "table.json", "the source", SILENT, unreported)
    return json.loads((tmp_path / "cache" / "table.json").read_text())


def test_unreadable_files_are_left_out_and_noted(tmp_path):
    sound(tmp_path / "x" / "good.wav", 2.0)
    (tmp_path / "x" / "bad.wav").write_bytes(b"text")
    note = table(tmp_path, found(str(tmp_path / "x"), ("audio",), ""))
    assert note["columns"]["start_seconds"] == [0.0, 1.0]
    assert note["columns"].keys() == set(Sample._fields)
    assert [entry["path"] for entry in note["bad"]] == [str(tmp_path / "x" / "bad.wav")]


@pytest.mark.parametrize("good, bad, is_error", [(0, 1, True), (1, 16, False), (1, 17, True)])
def test_too_many_unreadable_files_are_an_error_that_names_the_first(tmp_path, good, bad, is_error):
    for number in range(good):
        sound(tmp_path / "x" / f"good{number}.wav", 1.0)
    touched(tmp_path / "x", *(f"bad{number:02d}.wav" for number in range(bad)))
    files = found(str(tmp_path / "x"), ("audio",), "")
    if not is_error:
        assert len(table(tmp_path, files)["bad"]) == bad
        return
    with pytest.raises(DataError, match=f"the source: {bad} of {good + bad} files cannot be used") as error:
        table(tmp_path, files)
    assert str(tmp_path / "x" / "bad00.wav") in str(error.value)
    assert not list((tmp_path / "cache").glob("*")) if (tmp_path / "cache").exists() else True


def test_a_picture_is_one_sample_and_is_not_opened_for_it(tmp_path):
    picture(tmp_path / "a.png")
    (file,) = found(str(tmp_path), ("image",), "")
    assert samples_of(file, WITH_SOUND, tmp_path) == ([Sample(str(tmp_path / "a.png"), "image", "", 0.0, "", 0.0)], [])
