"""Each kind of wrong answer changes what it names and nothing else, and none of them is right."""

import pytest
import torch
from making_media import video
from media_runs import media_config, parts_of
from torch import Tensor

from mmssl.batch import Batch
from mmssl.evaluate.energy import OTHERS, is_first
from mmssl.evaluate.media import energy_results, model_results
from mmssl.evaluate.media_features import prepared
from mmssl.evaluate.negatives import (
    elsewhere,
    frames_shuffled,
    neighbours,
    reversed_time,
    shifted_sound,
    time_shifted,
)
from mmssl.objectives import Objective
from mmssl.random import Draw

LATER, ALL = slice(2, None), slice(None)  # the frames that are hidden
CPU = torch.device("cpu")


def both(count: int = 2, frames: int = 5) -> Batch:
    """Clips, each frame of which is its number, with their sounds."""
    index = torch.arange(count)
    clip = torch.arange(frames).float()[None, :, None, None, None].expand(count, frames, 3, 4, 4)
    return Batch({"video": [clip], "audio": [torch.rand(count, 6, 3)]}, Draw(0, index, index))


def order(batch: Batch) -> list[list[int]]:
    """The numbers of the frames of each clip."""
    return batch.views["video"][0][:, :, 0, 0, 0].int().tolist()


def test_negatives_change_what_they_name_and_nothing_else():
    batch = both()
    clip, sound = batch.views["video"][0].clone(), batch.views["audio"][0]
    for kind in (reversed_time(LATER), frames_shuffled(LATER), time_shifted(LATER)):
        changed = kind(batch)
        assert torch.equal(changed.views["audio"][0], sound)
        assert torch.equal(changed.views["video"][0][:, :2], clip[:, :2])
        assert not torch.equal(changed.views["video"][0][:, 2:], clip[:, 2:])
    assert torch.equal(shifted_sound(batch).views["audio"][0], sound[:, [3, 4, 5, 0, 1, 2]])
    assert torch.equal(shifted_sound(batch).views["video"][0], clip)
    stereo = batch._replace(views={"audio": [torch.stack([sound, sound.flip(0)], 1)]})
    assert torch.equal(shifted_sound(stereo).views["audio"][0][:, 0], sound[:, [3, 4, 5, 0, 1, 2]])
    assert torch.equal(batch.views["video"][0], clip)


def test_reversed_frames_are_those_of_the_end_first():
    assert order(reversed_time(LATER)(both(1))) == [[0, 1, 4, 3, 2]]
    assert order(reversed_time(slice(0, 3))(both(1))) == [[2, 1, 0, 3, 4]]
    assert order(reversed_time(ALL)(both(1))) == [[4, 3, 2, 1, 0]]


def test_in_a_shifted_clip_comes_again_what_was_just_seen():
    assert order(time_shifted(LATER)(both(1))) == [[0, 1, 0, 1, 2]]
    assert order(time_shifted(slice(6, None))(both(1, 8))) == [[0, 1, 2, 3, 4, 5, 4, 5]]
    assert order(time_shifted(slice(0, 2))(both(1))) == [[3, 4, 2, 3, 4]]
    assert order(time_shifted(ALL)(both(1))) == [[3, 4, 0, 1, 2]]


def test_shuffled_frames_are_all_there_and_never_in_the_true_order():
    found = order(frames_shuffled(slice(3, None))(both(300, 6)))
    assert {tuple(row[:3]) for row in found} == {(0, 1, 2)}
    counts = {turn: [row[3:] for row in found].count(list(turn)) for turn in ((3, 5, 4), (4, 3, 5), (4, 5, 3), (5, 3, 4), (5, 4, 3))}  # fmt: skip  # noqa: E501
    assert sum(counts.values()) == 300
    assert min(counts.values()) > 30
    # the order is a sample's own
    again = order(frames_shuffled(slice(3, None))(both(300, 6)))
    assert again == found


def test_a_window_elsewhere_is_of_the_same_file():
    assert neighbours(["a", "b", "a", "a", "c", "b"]).tolist() == [2, 5, 3, 0, -1, 1]


def test_windows_of_a_file_are_told_from_one_another(tmp_path):
    for number in range(6):  # one window each of a and b, three of the others
        seconds = 2 if number < 2 else 6
        frames = [30 * number + time * 4 for time in range(4 * seconds)]
        video(tmp_path / "videos" / f"{'abcdef'[number]}.mp4", frames, fps=4)
    overrides = (f"data.source={tmp_path / 'videos'}", f"data.heldout={tmp_path / 'videos'}", "evaluate.documents=16")
    config = media_config(tmp_path, "video_prediction", *overrides)
    task, data, inputs, objective = parts_of(config)
    negative = elsewhere(data.heldout, inputs, config, objective.views, CPU)
    assert negative is not None
    batch = next(prepared(data.heldout, inputs, config, 16, CPU))
    answers, paths = negative(batch), data.heldout.paths()
    there = answers.present("video")
    assert {paths[row][-5] for row in range(len(there)) if not there[row]} == {"a", "b"}
    assert int(there.sum()) == 12
    whole = batch.views["video"][0]
    for row in range(len(there)):
        same = [other for other in range(len(whole)) if torch.equal(whole[other], answers.views["video"][0][row])]
        assert row not in same or not there[row]
        assert {paths[other] for other in same} == {paths[row]}
    found = model_results(objective, inputs, config, data.heldout, task.negatives(config))
    assert 0 <= found["energy.ladder.elsewhere"] <= 1
    # of 14 clips: 13 others and four wrong ones of its own, so there are 15; 15 other clips there are not
    assert 0 <= found["video.rank1"] <= 1
    assert "video.rank1.other" not in found


def test_in_a_built_in_world_there_is_no_other_window(tmp_path):
    config = media_config(tmp_path, "video_prediction")
    _, data, inputs, objective = parts_of(config)
    assert elsewhere(data.heldout, inputs, config, objective.views, CPU) is None


def test_the_true_one_is_first_among_sixteen_where_its_energy_is_the_lowest():
    energies = torch.ones(20, 20)
    energies.fill_diagonal_(0)
    energies[3, 4] = -1  # a clip behind is lower
    energies[5, 3] = -1  # the 18th behind: not among the 15
    hard, there = torch.ones(20), torch.ones(20, dtype=torch.bool)
    hard[[7, 8]] = -1
    there[8] = False
    expected = torch.ones(20)
    expected[[3, 7]] = 0
    assert is_first(energies, [hard], [there]).tolist() == expected.tolist()
    # a kind takes the place of the last clip
    energies[9, 9 - 20 + 15] = -1
    assert is_first(energies, [], [])[9] == 0
    assert is_first(energies, [hard], [there])[9] == 1


def test_an_energy_that_is_the_same_for_all_is_right_by_chance_and_few_clips_say_nothing():
    alike = is_first(torch.zeros(16, 16), [], [])
    torch.testing.assert_close(alike, torch.full((16,), 1 / (OTHERS + 1)))
    assert len(is_first(torch.zeros(15, 15), [], [])) == 0
    there = torch.tensor([True] * 4 + [False] * 11)
    assert len(is_first(torch.zeros(15, 15), [torch.ones(15)], [there])) == 4


class Knowing(Objective):
    """F(x, y) is `sign` times how far the hidden frames of y are from those that follow x in truth, each by itself or
    (not `orders`) as a heap without an order.
    """

    answered = ("video",)

    def __init__(self, sign: float, *, orders: bool = True) -> None:
        super().__init__()
        self.sign, self.orders = sign, orders

    def energies(self, batch: Batch, answers: Batch | None = None) -> Tensor:
        """Of all pairs."""
        x, y = (each.views["video"][0][:, 2:].flatten(2) for each in (batch, batch if answers is None else answers))
        if not self.orders:
            x, y = (each.sort(1).values for each in (x, y))
        return self.sign * (x[:, None] - y).square().mean((2, 3))


@pytest.mark.parametrize(
    "knowing, first, first_of_clips",
    [
        (Knowing(1.0), 1.0, 1.0),
        (Knowing(-1.0), 0.0, 0.0),
        (Knowing(0.0), 1 / 16, 1 / 16),
        (Knowing(1.0, orders=False), 1 / 3, 1.0),  # the true one, reversed and shuffled are one heap
    ],
)
def test_how_often_the_truth_is_first_is_what_is_known_of_the_energy(knowing, first, first_of_clips):
    clip = torch.rand(40, 7, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    index = torch.arange(40)
    batches = (Batch({"video": [clip[rows]]}, Draw(0, index[rows], index[rows])) for rows in index.split(20))
    changes = {"reversed": reversed_time(LATER), "shuffled": frames_shuffled(LATER), "shifted": time_shifted(LATER)}
    negatives = {name: ("video", change) for name, change in changes.items()}
    found = energy_results(knowing, batches, negatives, torch.full((40,), -1))
    assert found["video.rank1"] == pytest.approx(first)
    assert found["video.rank1.other"] == pytest.approx(first_of_clips)
    ladder = {name: found[f"energy.ladder.{name}"] for name in ("other", *negatives)}
    expected = {1.0: 1.0, -1.0: 0.0, 0.0: 0.5}[knowing.sign]
    for name, value in ladder.items():
        told = knowing.orders or name in ("other", "shifted")
        assert value == pytest.approx(expected if told else 0.5)
