import numpy as np
import pytest

from mmssl.savanna import FORKS, event, futures, scenes
from mmssl.savanna.pictures import videos
from mmssl.savanna.scenes import FORK_SECONDS

SIZE, FRAMES = 32, 8


@pytest.mark.parametrize("seen", [1, 2, 3, 4, 5, 6, 7])
def test_the_futures_sum_to_one_and_contain_the_truth(seen):
    happened = videos(scenes(0, np.arange(6)), SIZE, FRAMES)
    for index in range(6):
        found = futures(0, index, SIZE, FRAMES, seen)
        assert found.video.shape == (len(found.probability), FRAMES - seen, 3, SIZE, SIZE)
        assert found.probability.sum() == pytest.approx(1, abs=1e-12)
        assert (found.probability > 0).all()
        assert (found.video[found.true] == happened[index, seen:]).all()


def test_no_two_futures_look_the_same():
    for index in range(6):
        video = futures(0, index, SIZE, FRAMES, 4).video
        assert len(np.unique(video.reshape(len(video), -1), axis=0)) == len(video)


def test_before_the_fork_there_is_a_future_for_each_direction_and_time():
    for index in range(6):
        found = futures(0, index, SIZE, FRAMES, 4)
        left = FORKS[event(0, index).prey]
        expected = [side * share for side in (left, 1 - left) for share in FORK_SECONDS.values()]
        assert sorted(found.probability) == pytest.approx(sorted(expected), abs=1e-12)


def test_after_the_fork_there_is_one_future():
    for index in range(6):
        found = futures(0, index, SIZE, FRAMES, 6)
        assert found.probability.tolist() == [1.0]


def test_while_only_the_early_fork_could_be_seen_the_direction_of_the_late_one_is_open():
    fork_seconds = scenes(0, np.arange(40)).fork_seconds
    for index, seconds in enumerate(fork_seconds[:8]):
        found = futures(0, index, SIZE, FRAMES, 5)  # the frame at 1.125 s is seen
        assert len(found.probability) == (1 if seconds < 1.1 else 2)


def test_the_futures_are_well_apart():
    for index in range(6):
        video = futures(0, index, SIZE, FRAMES, 4).video.astype(float)
        distance = np.abs(video[:, None] - video[None]).mean(axis=(2, 3, 4, 5))
        assert distance[~np.eye(len(video), dtype=bool)].min() > 0.5


def test_with_calls_to_come_every_way_they_may_be_seen_is_a_future():
    early, late = (futures(0, 0, SIZE, FRAMES, seen) for seen in (1, 4))
    assert len(early.probability) > len(late.probability)
    # what the later frames leave open was open before, as the same share of the whole
    ends = {video[3:].tobytes() for video in early.video}
    assert {video.tobytes() for video in late.video} <= ends


@pytest.mark.parametrize("seen", [0, 8, 9])
def test_a_future_needs_seen_and_unseen_frames(seen):
    with pytest.raises(ValueError, match="0 < seen < 8"):
        futures(0, 0, SIZE, FRAMES, seen)
