"""Claims about the methods that predict frames: what they hide, that samples differ, and that order is learnt."""

from typing import Any

import pytest
import torch
from tiny import part, tiny_batch, tiny_objective
from torch import Tensor

from mmssl.batch import Batch
from mmssl.drop import shuffled_times
from mmssl.errors import ConfigError
from mmssl.evaluate.completion import noise_of
from mmssl.evaluate.negatives import reversed_time
from mmssl.methods.hiding import seen_patches
from mmssl.modalities.grids import Grid
from mmssl.optimizer import optimizer
from mmssl.random import Draw
from mmssl.sections import TrainConfig
from mmssl.tokens import at

CUT = Grid("video", (8, 12, 12), 3).cut((2, 4, 4))
PAINTS = ("frame_prediction", "frame_prediction_latent")
SEVERAL = ("frame_prediction_latent", "frame_prediction_gan", "video_diffusion")


@pytest.mark.parametrize(
    "predicts, seen_frames, expected",
    [("future", 4, [0, 1]), ("past", 4, [2, 3]), ("past", 2, [3]), ("between", 4, [0, 3])],
)
def test_seen_frames_lie_before_after_or_around_what_is_hidden(predicts, seen_frames, expected):
    assert seen_patches(predicts, seen_frames, CUT) == expected


@pytest.mark.parametrize(
    "predicts, seen_frames, step", [("future", 3, 2), ("past", 8, 2), ("between", 2, 4), ("between", 6, 4)]
)
def test_seen_frames_that_split_a_patch_or_leave_nothing_are_refused(predicts, seen_frames, step):
    message = f"seen_frames {seen_frames}: a clip has 8 frames in patches of 2; expected a multiple of {step} below 8"
    with pytest.raises(ConfigError, match=message):
        seen_patches(predicts, seen_frames, CUT)


@pytest.mark.parametrize(
    "method, copies", [*((name, None) for name in ("frame_prediction", *SEVERAL)), *((name, 2) for name in PAINTS)]
)
@pytest.mark.parametrize("predicts", ["past", "between"])
@torch.no_grad()
def test_every_method_predicts_the_past_and_what_lies_between(method, copies, predicts):
    options = {} if copies is None else {"moved_copies": copies}
    objective, batch = tiny_objective(method, predicts=predicts, **options).eval(), tiny_batch(method, 3)
    _, seen, hidden = objective.corrupted(batch)
    times = (hidden["video"].position // 9).unique().tolist()
    assert times == {"past": [0, 1], "between": [1, 2]}[predicts]
    assert objective.predict(seen, hidden, noise_of(batch, 0))["video"].shape == (3, 18, CUT.width)
    assert torch.isfinite(objective.energies(batch)).all()


@pytest.mark.parametrize(
    "method, predictor",
    [("frame_prediction_latent", "streams.video.predictor.predictor"), ("video_diffusion", "denoiser.predictor")],
)
def test_the_head_of_a_predictor_of_frames_is_what_its_config_says(method, predictor):
    heads = {
        name: tiny_objective(method, predictor_head=name).get_parameter(f"{predictor}.answer.weight")
        for name in ("linear", "perceptron")
    }
    assert heads["perceptron"].shape[1] == 4 * heads["linear"].shape[1]


@pytest.mark.parametrize("method", SEVERAL)
@torch.no_grad()
def test_each_noise_makes_a_future_of_its_own_and_always_the_same(method):
    objective, batch = tiny_objective(method).eval(), tiny_batch(method, 3)
    for weight in objective.parameters():  # at first none says anything
        weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))
    assert objective.has_latent
    _, seen, hidden = objective.corrupted(batch)
    one, again, other = (objective.predict(seen, hidden, noise_of(batch, k))["video"] for k in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-3)
    alone = part(batch, [1])
    _, seen, hidden = objective.corrupted(alone)
    torch.testing.assert_close(objective.predict(seen, hidden, noise_of(alone, 0))["video"], one[1:2])


def clips(count: int, seed: int) -> Batch:
    """A square that moves on from left to right, from row to row of its own."""
    video = torch.zeros(count, 8, 3, 12, 12)
    start = torch.randint(0, 9, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    for clip, top in zip(video, start, strict=True):
        for frame in range(8):
            clip[frame, :, top : top + 4, frame : frame + 4] = 1.0
    return Batch({"video": [video]}, Draw(seed, torch.zeros(count).long(), torch.arange(count)))


def learn(objective: Any, *, steps: int, learning_rate: float) -> None:
    """Train on fresh clips in each step."""
    stepper = optimizer(objective, TrainConfig(learning_rate=learning_rate))
    objective.train()
    for step in range(steps):
        objective(clips(16, step)).terms["video"].backward()
        stepper.step()
        stepper.zero_grad(set_to_none=True)


def order_gap(objective: Any, batch: Batch) -> Tensor:
    """How much higher the energy is of each clip whose frames from the third on are reversed."""
    with torch.no_grad():
        found = [
            objective.eval().energies(batch, other).diagonal()
            for other in (batch, reversed_time(slice(2, None))(batch))
        ]
    return found[1] - found[0]


def test_frames_in_order_come_to_have_less_energy_than_others_whose_clip_was_never_seen():
    objective, fresh = tiny_objective("frame_order"), clips(16, 1000)
    before = order_gap(objective, fresh)
    learn(objective, steps=60, learning_rate=3e-3)
    after = order_gap(objective, fresh)
    assert (after > 0.5).all()
    assert before.abs().max() < 0.2  # the control: it knew no order


@pytest.mark.parametrize("method", PAINTS)
def test_what_moves_is_learnt_sooner_where_seen_frames_are_moved(method):
    """Of clips that were never seen; the last seen frame repeated has an error of 1."""
    error = {}
    for copies in (0, 1):
        objective = tiny_objective(method, moved_copies=copies, reach=5)
        learn(objective, steps=50, learning_rate=1e-2)
        fresh = clips(16, 1000)
        tokens, seen, hidden = objective.eval().corrupted(fresh)
        with torch.no_grad():
            found, answer = objective.predict(seen, hidden)["video"], at(tokens["video"], hidden["video"])
        still = objective.by_name["video"].base(seen["video"], hidden["video"])
        error[copies] = float((found - answer).square().mean() / (still - answer).square().mean())
    assert error[1] < 0.1
    assert error[0] > 0.5  # the control


def test_the_frames_of_a_negative_are_the_same_in_another_order():
    count, times = 600, 3
    hidden = torch.arange(count * times * 2).reshape(count, times * 2, 1).float()
    draw = Draw(0, torch.zeros(count).long(), torch.arange(count))
    found = shuffled_times(times)(draw, hidden)
    assert torch.equal(found.sort(1).values, hidden)
    order = (found[:, ::2, 0] - hidden[:, :1, 0]).long() // 2
    assert torch.equal(found[:, 1::2], found[:, ::2] + 1)  # a time keeps its cells together
    kinds, often = order.unique(dim=0, return_counts=True)
    assert kinds.tolist() == [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    assert (often > count / 6 * 0.7).all()
    assert torch.equal(shuffled_times(2)(draw, hidden[:, :4]), hidden[:, [2, 3, 0, 1]])


def test_a_single_hidden_time_has_no_other_order():
    with pytest.raises(ConfigError, match=r"seen_frames 6: 1 patch of 2 frames is left; expected at least 2"):
        tiny_objective("frame_order", seen_frames=6)
