"""Claims about synchrony: what is moved by how much, what chance is, and which model has which figure."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from making_flashes import flashes
from media_runs import media_config, parts_of

from mmssl import savanna
from mmssl.config import Config
from mmssl.evaluate.heldout import batch_of
from mmssl.evaluate.media import evaluate_media
from mmssl.evaluate.sync import REACH, moved_sounds, offset_errors, sync_results
from mmssl.inputs import Inputs
from mmssl.modalities.audio import decode_audio
from mmssl.modalities.media_data import MediaData, prepare_media
from mmssl.modalities.sounds_around import sounds_around
from mmssl.objectives import Objective, heard_around
from mmssl.random import hashed

STEPS = 2 * REACH + 1
HOP_SECONDS = 0.0125
FILES = (
    "audio={rate_hz: 8000, bands: 8, hop_seconds: 0.0125}", "video={size: 16, frames: 72}", "data.seconds=1.8",
    "data.heldout=0.0",
)  # fmt: skip


def moment(values: torch.Tensor) -> torch.Tensor:
    """When in the window most happens, as a ratio."""
    return (values.argmax(1) + 0.5) / values.shape[1]


class Listener(Objective):
    """F = the time from the flash to the click; `late` is by how much of the window it errs, and without `looks` it
    takes any flash to be in the middle.
    """

    def __init__(self, *, late: float = 0.0, looks: bool = True, hears: bool = True) -> None:
        super().__init__()
        self.encoder, self.late, self.looks, self.hears = torch.nn.Linear(1, 1), late, looks, hears

    def compares(self, x: str, y: str) -> bool:
        return {x, y} == {"video", "audio"}

    def energies_between(self, x, y, batch, answers=None):
        assert (x, y) == ("video", "audio")
        sound = (batch if answers is None else answers).views[y][0]
        flash = moment(batch.views[x][0].mean((2, 3, 4))) if self.looks else torch.full((len(batch.views[x][0]),), 0.5)
        found = (flash[:, None] + self.late - moment(sound.amax(2))).abs()
        return found.round(decimals=2) if self.hears else torch.zeros_like(found)


def films(folder: Path, seconds: float) -> Path:
    """Three films that flash and click once in each window, in the middle of it or a little beside."""
    for number in range(3):
        times = [frame / 40 for frame in range(round(seconds * 40))]
        flashed = [round((start + 0.7 + 0.2 * number) * 40) for start in np.arange(0.0, seconds - 1.7, 1.8)]
        flashes(folder / f"{number}.mp4", times, flashed, seconds)
    return folder


def read(folder: Path, source: Path) -> tuple[Config, MediaData, Inputs]:
    """The films, all to train on."""
    config = media_config(folder, "audio_visual", f"data.source={source}", *FILES)
    data = prepare_media(config, Path(config.run), print, ("video", "audio"))
    return config, data, Inputs(config, ("video", "audio"))


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Films of three windows."""
    folder = tmp_path_factory.mktemp("long")
    return read(folder, films(folder / "source", 5.4))


def results(found, objective: Objective) -> dict[str, float]:
    """What is said of an objective."""
    config, data, inputs = found
    return sync_results(objective, inputs, config, data.train, 100)


def test_who_looks_and_listens_finds_the_time(long):
    found = results(long, Listener())
    assert found["sync.auroc"] == 1.0
    assert (found["sync.offset_seconds"], found["sync.offset_accuracy"]) == (0.0, 1.0)
    assert found["sync.clips"] == 9
    # the first and the last window of each file have no sound on one of their sides
    assert found["sync.rolled_ratio"] == pytest.approx(6 * REACH / (9 * 2 * REACH))


def test_who_errs_by_a_step_is_told_so(long):
    for late in (-1, 1):
        found = results(long, Listener(late=late / STEPS))
        assert found["sync.offset_seconds"] == pytest.approx(1.8 / STEPS)
        assert found["sync.offset_accuracy"] == 1.0
    found = results(long, Listener(late=2 / STEPS))
    assert found["sync.offset_seconds"] == pytest.approx(2 * 1.8 / STEPS)
    assert found["sync.offset_accuracy"] == 0.0


def test_who_does_not_listen_has_what_chance_has(long):
    found = results(long, Listener(hears=False))
    assert found["sync.auroc"] == found["sync.chance_auroc"] == 0.5
    expected = np.abs(np.arange(-REACH, REACH + 1)).mean() * 1.8 / STEPS  # any offset as likely
    assert found["sync.offset_seconds"] == pytest.approx(expected)
    assert found["sync.chance_offset_seconds"] == pytest.approx(expected)
    assert found["sync.offset_accuracy"] == found["sync.chance_offset_accuracy"] == pytest.approx(3 / STEPS)


def test_who_does_not_look_has_no_more_than_with_another_clips_picture(long):
    found = results(long, Listener(looks=False))
    assert found["sync.auroc"] == found["sync.chance_auroc"] > 0.8  # all click near the middle: the clock tells it
    looks = results(long, Listener())
    assert looks["sync.auroc"] > looks["sync.chance_auroc"]


def test_a_moved_sound_is_cut_from_the_file_where_it_goes_on(long):
    _, data, _ = long
    paths = data.train.paths()
    sounds, rolled = moved_sounds(data.train, np.arange(3))  # the windows of the first film
    assert rolled == 2 * REACH
    step = round(1.8 * 8000 / STEPS) / 8000
    for window, steps in ((0, range(-REACH, 1)), (1, range(-REACH, REACH + 1)), (2, range(REACH + 1))):
        for late in steps:
            expected = decode_audio(Path(paths[0]), 8000, 1.8 * window - late * step, 1.8)
            np.testing.assert_allclose(sounds[late + REACH, window], expected, atol=2e-3)
    own = sounds[REACH, 2]
    assert torch.equal(sounds[0, 2], own.roll(round(-REACH * 14400 / STEPS)))


def test_a_file_of_one_window_is_rolled(tmp_path):
    found = results(read(tmp_path, films(tmp_path / "source", 1.8)), Listener())
    assert found["sync.rolled_ratio"] == 1.0
    assert found["sync.auroc"] == 1.0


def test_clips_without_sound_do_not_count_and_one_is_too_few(tmp_path):
    films(tmp_path / "source", 1.8)
    for name in "01":
        (tmp_path / "source" / f"{name}.mp4").unlink()
    assert results(read(tmp_path, tmp_path / "source"), Listener()) == {}


def test_ties_are_any_of_them():
    energies = torch.ones(2, STEPS)
    energies[0, REACH] = energies[0, REACH + 2] = 0.0
    energies[1, REACH - 1] = 0.0
    found = offset_errors(energies, 9.0)
    assert found == {"offset_seconds": pytest.approx((1.0 + 1.0) / 2), "offset_accuracy": pytest.approx(0.75)}


def test_what_is_heard_around_a_clip_of_the_world_is_drawn(tmp_path):
    config = media_config(tmp_path, "audio_visual", "data.seconds=1.0", "audio.rate_hz=2000")
    _, data, _, _ = parts_of(config)
    index = np.array([3, 0, 5])
    around, before, after = sounds_around(data.heldout, index)
    assert before.all()
    assert after.all()
    assert around.shape == (3, 6000)
    np.testing.assert_array_equal(around[:, 2000:4000], data.heldout(index)["audio"][0])
    scenes = savanna.scenes(hashed(config.seed, "heldout"), data.heldout.order[index])
    whole = savanna.sounds(scenes, 2000, 2.0).mean(axis=1)
    np.testing.assert_allclose(around[:, 2000:], whole, atol=1e-4)
    assert around[:, :2000].abs().max() < 0.1  # the habitat alone: nobody calls before the event
    assert whole.max() > 0.15


@pytest.mark.parametrize("weight, share", [(1.0, 0.25), (0.0, 0.0)])
def test_a_method_that_compares_moments_is_trained_with_what_is_heard_around(tmp_path, weight, share):
    config = media_config(
        tmp_path, "audio_visual", "video.frames=8", "encoder.frames=2", f"method.same_clip_weight={weight}"
    )
    _, data, inputs, objective = parts_of(config)
    assert heard_around(objective) == share
    index = np.array([3, 0, 5])
    heard, plain = data.hearing(share), data.train(index)
    found = pickle.loads(pickle.dumps(heard.train))(index)  # as workers get it
    for name, (value,) in plain.items():
        assert torch.equal(found[name][0], value)
    more = {"audio.around", "audio.before.present", "audio.after.present"}
    assert found.keys() - plain.keys() == (more if share else set())
    if share:
        length = plain["audio"][0].shape[-1]
        around, before, after = sounds_around(data.train, index)
        assert torch.equal(found["audio.around"][0], around[:, length * 3 // 4 : length * 9 // 4])
        assert torch.equal(found["audio.before.present"][0], before)
        assert torch.equal(found["audio.after.present"][0], after)
        # and what is trained hears it: other sounds around a clip cost something else, those of the clip alike
        batch = batch_of(heard.train, 0, index, torch.device("cpu"))
        raw = batch.views["audio.around"][0].clone()
        raw[:, length // 4 : length * 5 // 4] *= -1  # decibels know no sign
        raw[:, : length // 8], raw[:, -length // 8 :] = 0.1, 0.1
        other = batch._replace(views={**batch.views, "audio.around": [raw]})
        terms, others = (objective(inputs(each)).terms for each in (batch, other))
        assert torch.equal(terms["video_audio"], others["video_audio"])
        assert not torch.equal(terms["video_to_audio.moment"], others["video_to_audio.moment"])


def test_it_stands_beside_random_weights_in_what_is_measured(tmp_path):
    config = media_config(tmp_path, "audio_visual")
    task, data, inputs, objective = parts_of(config)
    build = lambda: task.build(config, inputs, data.train.size)  # noqa: E731
    found = evaluate_media(objective, build, inputs, config, data, None, {})
    names = {key for key in found if "sync." in key}
    per_model = {"sync.auroc", "sync.offset_seconds", "sync.offset_accuracy"}
    of_data = {"chance_auroc", "chance_offset_seconds", "chance_offset_accuracy", "clips", "rolled_ratio"}
    assert names == per_model | {f"random_init.{key}" for key in per_model} | {f"sync.{key}" for key in of_data}
    assert found["sync.rolled_ratio"] == 0.0
    assert 0.0 <= found["sync.auroc"] <= 1.0
