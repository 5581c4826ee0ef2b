"""A scanned digit flies on: all its continuations are known, with their probabilities."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from media_runs import media_config
from scipy.stats import chisquare

from mmssl.errors import ConfigError
from mmssl.modalities.media_data import prepare_media
from mmssl.savanna.digits import (
    CONTACT_SECONDS,
    DIRECTIONS,
    Flights,
    branched,
    flights,
    flown,
    futures,
    labels,
    scans,
    videos,
)

SIZE, FRAMES, SEEN = 32, 8, 4


def test_a_clip_is_a_function_of_the_seed_and_the_number_alone():
    together = videos(0, np.arange(30), SIZE, FRAMES)
    assert together.shape == (30, FRAMES, 3, SIZE, SIZE)
    assert (videos(0, np.arange(30)[::-1], SIZE, FRAMES)[::-1] == together).all()
    assert (videos(0, np.array([17]), SIZE, FRAMES)[0] == together[17]).all()
    assert (videos(1, np.arange(30), SIZE, FRAMES) != together).any(axis=(1, 2, 3, 4)).all()


@pytest.mark.parametrize("size, frames, seen, seconds", [(32, 6, 3, 2.0), (64, 10, 5, 2.0), (17, 8, 3, 4.0)])
def test_the_futures_sum_to_one_and_contain_the_truth_to_the_byte(size, frames, seen, seconds):
    happened = videos(0, np.arange(6), size, frames, seconds)
    for index in range(6):
        found = futures(0, index, size, frames, seen, seconds)
        assert found.video.shape == (len(found.probability), frames - seen, 3, size, size)
        assert found.probability.sum() == pytest.approx(1, abs=1e-12)
        assert (found.video[found.true] == happened[index, seen:]).all()
        assert len({video.tobytes() for video in found.video}) == len(found.video)


def test_half_of_an_event_leaves_one_future_for_each_direction_and_a_longer_clip_more():
    for index in range(20):
        assert futures(0, index, SIZE, FRAMES, SEEN).probability.tolist() == list(DIRECTIONS.values())
        assert len(futures(0, index, SIZE, FRAMES, 2, 4.0).probability) > 3
        assert len(futures(0, index, SIZE, FRAMES, SEEN, 1.0).probability) == 1  # no wall is touched


def test_a_future_with_two_walls_has_the_product_of_their_probabilities():
    """By hand: of three ways from the first wall only the first one touches a second within the time."""
    turns, prior = branched(np.array([[0], [1], [2]]), np.array([0.5, 0.3, 0.2]), np.array([True, False, False]))
    assert turns.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [2, 0]]
    assert prior.tolist() == pytest.approx([0.25, 0.15, 0.1, 0.3, 0.2])


def chosen(count: int) -> np.ndarray:
    """How often each of the three futures of a clip is what happens."""
    return np.bincount([futures(5, index, 16, 4, 2).true for index in range(count)], minlength=3)


def test_futures_happen_as_often_as_their_probabilities_say():
    seen = chosen(300)
    assert chisquare(seen, 300 * np.array([*DIRECTIONS.values()])).pvalue > 0.01
    # the control: all alike often, or two of them exchanged
    for wrong in ([1 / 3] * 3, [0.5, 0.2, 0.3]):
        assert chisquare(seen, 300 * np.array(wrong)).pvalue < 1e-4


def test_the_seen_frames_do_not_tell_the_direction():
    """Clips that differ only in the draw at the wall have the same first half."""
    begun, times = flights(0, np.arange(50)), (np.arange(FRAMES) + 0.5) * 2.0 / FRAMES
    ways = [flown(begun, np.full((50, 1), turn), times)[0] for turn in range(3)]
    for way in ways[1:]:
        assert (way[:, :SEEN] == ways[0][:, :SEEN]).all()
        assert (way[:, -1] != ways[0][:, -1]).any(1).all()


def test_nothing_in_the_way_to_the_wall_goes_with_the_direction():
    """A regression of the outcome on all that is drawn before explains no more than chance."""
    count = 3000
    begun = flights(2, np.arange(count))
    drawn = np.concatenate([begun.start, begun.direction, begun.start * begun.direction], 1)
    ends = flown(begun, np.empty((count, 0), dtype=np.int64), np.array([2.0]))[0]
    truth = videos(2, np.arange(count), 16, 2)[:, 1]
    first = np.array([video.tobytes() for video in truth]) == np.array(
        [video.tobytes() for video in videos_of_the_first_way(begun, 16)]
    )
    design = np.concatenate([np.ones((count, 1)), drawn, ends[:, 0]], 1)
    residual = first - design @ np.linalg.lstsq(design, first.astype(float), rcond=None)[0]
    explained = 1 - residual.var() / first.var()
    assert explained < 0.01
    assert first.mean() == pytest.approx(0.5, abs=4 * (0.25 / count) ** 0.5)


def videos_of_the_first_way(begun: Flights, size: int) -> np.ndarray:
    """The last of two frames of each clip, had it left the wall in the first direction."""
    from mmssl.savanna.digits import shown

    turns = np.zeros((len(begun.scan), 1), dtype=np.int64)
    return shown(begun.scan, flown(begun, turns, np.array([0.5, 1.5]))[0], size)[:, 1]


def test_a_digit_flies_straight_and_leaves_the_wall_at_its_angle():
    """By hand: from (0.5, 0.4) straight down at 0.6 rooms a second the wall at 1 is touched after 1 second."""
    begun = Flights(np.array([0]), np.array([[0.5, 0.4]]), np.array([[0.0, 1.0]]))
    times = np.array([0.0, 0.5, 1.0, 1.5])
    diagonal = 0.3 * 0.5**0.5
    for turn, (x, y) in enumerate([(0.5 - diagonal, 1 - diagonal), (0.5, 0.7), (0.5 + diagonal, 1 - diagonal)]):
        place, contacts = flown(begun, np.array([[turn]]), times)
        assert place[0] == pytest.approx(np.array([[0.5, 0.4], [0.5, 0.7], [0.5, 1.0], [x, y]]))
        assert contacts.tolist() == [1]


def test_each_wall_is_touched_first_and_only_once_in_an_event():
    begun = flights(0, np.arange(400))
    times = np.linspace(0, 2, 201)
    for turn in range(3):
        place, contacts = flown(begun, np.full((400, 1), turn), times)
        assert (contacts == 1).all()
        assert place.min() >= 0
        assert place.max() <= 1
    before, _ = flown(begun, np.zeros((400, 1), dtype=np.int64), np.array([0.0, CONTACT_SECONDS[0] - 1e-6]))
    assert (np.abs(np.diff(before, axis=1)[:, 0]) > 1e-3).any(1).all()
    # by the axis of the contact and its side, from where the straight way ends
    ahead = begun.start + 2.0 * begun.direction
    walls = {("xy"[axis], side) for axis in range(2) for side in (0, 1) if ((ahead[:, axis] > 1) == side).sum() > 50}
    assert len(walls) == 4


def test_the_digit_is_the_scan_and_lies_inside_whatever_the_size():
    number = flights(0, np.arange(1)).scan[0]
    for size in (16, 32, 64, 65):
        clip = videos(0, np.arange(1), size, FRAMES)[0]
        side = round(0.4375 * size)
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(scans()[0][number])[None, None].float(), (side, side), mode="bilinear", antialias=True
        ).sum()
        assert clip[:, 0].astype(float).sum((1, 2)) / 255 == pytest.approx(float(expected), rel=0.01)
        assert (clip[:, 0] == clip[:, 1]).all()


def test_the_label_is_the_digit():
    from sklearn.datasets import load_digits

    target = load_digits(return_X_y=True)[1]
    assert labels(3, np.arange(50)) == [str(target[number]) for number in flights(3, np.arange(50)).scan]
    assert len(set(labels(3, np.arange(500)))) == 10


def test_a_clip_that_is_too_small_or_too_long_is_refused(tmp_path):
    with pytest.raises(ValueError, match="16 pixels wide and high, not 15"):
        videos(0, np.arange(2), 15, FRAMES)
    with pytest.raises(ValueError, match=r"4.0\] seconds, not 8 and 5.0"):
        videos(0, np.arange(2), SIZE, FRAMES, 5.0)
    with pytest.raises(ValueError, match="0 < seen < 8"):
        futures(0, 0, SIZE, FRAMES, 8)
    config = media_config(tmp_path, "video_prediction", "data.source=digits", "data.seconds=5.0")
    with pytest.raises(ConfigError, match=r"data.source digits: .* not 4 and 5.0"):
        prepare_media(config, tmp_path, lambda entry: None, ("video",))


def test_digits_are_read_as_clips_with_labels_and_have_no_sound(tmp_path):
    config = media_config(tmp_path, "video_prediction", "data.source=digits")
    data = prepare_media(config, tmp_path, lambda entry: None, ("video",)).mixed()
    assert (data.train(np.arange(3))["video"][0].numpy() == videos(config.seed, np.arange(3), 16, 4)).all()
    assert data.train.labels() == labels(config.seed, np.arange(data.train.size))
    with pytest.raises(ConfigError, match="digits: has no audio"):
        prepare_media(config, tmp_path, lambda entry: None, ("video", "audio"))


def test_the_scans_are_not_read_before_they_are_asked_for():
    found = "import mmssl.modalities.world_samples, mmssl.savanna, sys; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", found], capture_output=True, text=True).stdout.strip() == "False"
