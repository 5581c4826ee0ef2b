"""What is shown of a user's file is where it meets the candidates, and a cut clip is the whole one again."""

import numpy as np
import pytest
import torch
from making_media import video
from media_runs import media_config

from mmssl.errors import DataError
from mmssl.evaluate.continuations import Side, clips_of, continued, hidden_frames, part_of, sides
from mmssl.modalities.labelled_media import read_inputs

FPS = 8


def levels(path, first: int, last: int):
    """A video whose frames have these grey levels, eight a second."""
    return str(video(path, range(first, last, 4), fps=FPS))


@pytest.fixture
def config(tmp_path):
    """Clips of 4 frames in 2 seconds, of which 2 are seen."""
    return media_config(tmp_path, "video_prediction")


def both_sides(config) -> tuple[Side, Side]:
    """What is read of x and of y."""
    found = sides(config)
    assert found is not None
    return found


def grey(clips) -> list[list[int]]:
    """The grey level of each frame."""
    return np.asarray(clips, dtype=np.float64).mean((-3, -2, -1)).round().astype(int).tolist()


def test_x_is_the_end_of_what_was_and_y_the_beginning_of_what_comes(config, tmp_path):
    given, asked = both_sides(config)
    past, near, far = (levels(tmp_path / f"{name}.mp4", *ends) for name, ends in
                       (("past", (0, 96)), ("near", (96, 160)), ("far", (160, 256))))  # fmt: skip
    x, y = continued(past, [far, near], config, given, asked)
    # frames at 0.25 and 0.75 s of a second: of the last one of x, which lasts 3 s, and of the first one of y
    last, first = [64 + 8, 64 + 24], [160 + 8, 160 + 24]
    assert np.abs(np.array(grey(x.views["video"][0])) - [[*last, *first]]).max() <= 3
    assert np.abs(np.array(grey(y.views["video"][0])) - [[*last, *first], [*last, 96 + 8, 96 + 24]]).max() <= 3
    assert y.draw.index.tolist() == [0, 1]


def test_a_clip_that_was_cut_is_the_whole_clip_again(config, tmp_path):
    whole, past, future = (levels(tmp_path / f"{name}.mp4", *ends) for name, ends in
                           (("whole", (0, 64)), ("past", (0, 32)), ("future", (32, 64))))  # fmt: skip
    _, joined = continued(past, [future], config, *both_sides(config))
    (clip,) = read_inputs([whole], config, ("video",))["video"]
    assert (joined.views["video"][0].float() - clip.float()).abs().max() <= 3


@pytest.mark.parametrize("predicts, hidden, kinds", [
    ("future", slice(2, 4), ("the last 1 s", "the first 1 s")),
    ("past", slice(0, 2), ("the first 1 s", "the last 1 s")),
    ("between", slice(1, 3), None),
])  # fmt: skip
def test_what_is_read_of_each_file_follows_from_what_is_hidden(config, predicts, hidden, kinds):
    told = {**config.method.arguments(), "predicts": predicts}
    method = config.method.model_copy()
    object.__setattr__(method, "arguments", lambda: told)
    other = config.model_copy(update={"method": method})
    assert hidden_frames(other) == hidden
    found = sides(other)
    assert (None if found is None else tuple(map(str, found))) == kinds


def test_of_a_method_that_shows_no_whole_frame_files_are_whole_clips(config):
    method = config.method.model_copy()
    object.__setattr__(method, "arguments", lambda: {"hidden_ratio": 0.75})
    assert sides(config.model_copy(update={"method": method})) is None


def test_a_file_that_is_too_short_or_no_video_is_one_line(config, tmp_path):
    given, asked = both_sides(config)
    short = levels(tmp_path / "short.mp4", 0, 20)
    with pytest.raises(DataError, match=r"lasts 0.625 s; expected 1 s or more, 2 frame\(s\) which the model is shown"):
        part_of(short, config, given)
    assert part_of(levels(tmp_path / "nearly.mp4", 0, 28), config, asked).shape == (2, 3, 16, 16)
    (tmp_path / "text.mp4").write_text("hello")
    for name, reason in (("text.mp4", "cannot be used: .*; expected a readable video"), ("no.mp4", "no such file"),
                         ("a.txt", "not of a kind that is read here")):  # fmt: skip
        with pytest.raises(DataError, match=reason):
            part_of(str(tmp_path / name), config, given)


def test_of_a_file_that_ends_where_the_model_has_to_go_on_only_the_end_is_read(config, tmp_path):
    whole, past = (levels(tmp_path / f"{name}.mp4", 0, last) for name, last in (("whole", 64), ("past", 48)))
    batch, unknown = clips_of([whole, past], config)
    assert unknown == {1}
    found = np.array(grey(batch.views["video"][0]))
    # 1.5 s: frames at 0.75 and 1.25 s, then the last one again
    assert np.abs(found - [[8, 24, 40, 56], [24, 40, 40, 40]]).max() <= 3
    (expected,) = read_inputs([whole], config, ("video",))["video"]
    assert torch.equal(batch.views["video"][0][:1], expected)
    with pytest.raises(DataError, match="expected 1 s or more"):
        clips_of([levels(tmp_path / "short.mp4", 0, 20)], config)


def test_a_short_file_of_a_method_with_masks_is_held_and_told_or_refused(config, tmp_path, capsys):
    method = config.method.model_copy()
    object.__setattr__(method, "arguments", lambda: {"hidden_ratio": 0.75})
    masked, short = config.model_copy(update={"method": method}), levels(tmp_path / "short.mp4", 0, 20)
    batch, unknown = clips_of([short], masked)
    assert capsys.readouterr().err == f"note: {short} lasts 0.625 s; its last frame stands for 1.38 s more\n"
    last = batch.views["video"][0][0, 1:].float()
    assert not unknown
    assert float((last - last[0]).abs().max()) <= 3
    clips_of([levels(tmp_path / "whole.mp4", 0, 64)], masked)
    assert capsys.readouterr().err == ""
    data = config.data.model_copy(update={"short_videos": "skip"})
    with pytest.raises(DataError, match=r"short.mp4 cannot be used: 0.625 s, shorter than data.seconds \(2\)"):
        clips_of([short], masked.model_copy(update={"data": data}))
