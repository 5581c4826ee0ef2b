"""Claims about the right moment: moved sounds cost by their likeness, absent ones nothing, weight 0 changes nothing."""

import math

import pytest
import torch
from tiny import tiny_batch, tiny_objective
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.losses.views import Views
from mmssl.modalities.grids import Cut
from mmssl.objectives import Branch, JointEmbedding, SameClip
from mmssl.objectives.joint_embedding import Embedder
from mmssl.objectives.moments import NEAREST, shifted
from mmssl.random import Draw

METHOD = "audio_visual_contrastive"
HAS_SOUND = [True, False, True, True]
KEY = "video_to_audio.moment"


def draw_of(count: int) -> Draw:
    """Draws of so many samples."""
    return Draw(3, torch.zeros(count, dtype=torch.long), torch.arange(count))


class Given(Branch):
    """Stands for the branch of sounds: the embeddings of moved ones are given."""

    def __init__(self, value: Tensor) -> None:
        super().__init__(name="audio", tokenize=Cut("audio", (4, 4), (2, 2), 1).tokenize, projector=nn.Identity())
        self.value = value

    def forward(self, encoder: nn.Module, views: list[Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
        return self.value[: len(views)], self.value[: len(views)]


def cost(picture: list[float], sound: list[float], moved: list[list[float]], present: bool = True) -> float:
    """What one clip costs at temperature 0.5 and weight 2."""
    part = SameClip(temperature=0.5, weight=2.0, num_shifted=len(moved))
    branches: dict = {"video": Given(torch.empty(0)), "audio": Given(torch.tensor(moved)[:, None])}
    views = {"video": [torch.zeros(1, 2)], "audio": [torch.zeros(1, 4)], "audio.present": [torch.tensor([present])]}
    batch = Batch(views, draw_of(1))
    value = torch.tensor([[picture], [sound]])
    here = torch.stack([batch.present("video"), batch.present("audio")])
    return float(part(Embedder(nn.Identity(), branches), Views(value, here, (0, 1)), batch)[KEY])


def test_the_cost_worked_by_hand():
    # cosines 1, 0 and -1 over a temperature of 1/2
    expected = -2 * math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-2)))
    assert cost([3.0, 0.0], [1.0, 0.0], [[0.0, 5.0], [-1.0, 0.0]]) == pytest.approx(expected)
    assert cost([3.0, 0.0], [1.0, 0.0], [[0.0, 5.0]]) < expected


def test_a_picture_that_does_not_tell_when_costs_as_chance():
    same = [1.0, 1.0]
    assert cost([1.0, 0.0], same, [same, same]) == pytest.approx(2 * math.log(3))
    assert cost([1.0, 1.0], same, [[-1.0, -1.0]] * 2) < 0.2  # the control


def test_a_clip_without_sound_costs_nothing():
    assert cost([1.0, 0.0], [0.0, 1.0], [[1.0, 0.0]], present=False) == 0.0
    assert cost([1.0, 0.0], [0.0, 1.0], [[1.0, 0.0]]) > 1  # the control


@pytest.mark.parametrize("shape", [(50, 64), (50, 64, 3), (50, 2, 64, 3)])
def test_sounds_are_moved_in_a_circle_by_an_eighth_at_least_each_by_its_own_draw(shape):
    axis = 1 if len(shape) == 2 else len(shape) - 2
    sound = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = shifted(sound, draw_of(50), 2)
    assert len(found) == 2
    steps = []
    for view in found:
        for one, whole in zip(view, sound, strict=True):
            fits = [step for step in range(64) if torch.equal(one, whole.roll(step, axis - 1))]
            assert len(fits) == 1
            steps += fits
    assert NEAREST * 64 <= min(steps) < 16
    assert 48 < max(steps) <= 64 - NEAREST * 64
    assert steps[:50] != steps[50:]
    # a sample's draw does not depend on its batch
    alone = shifted(sound[7:8], Draw(3, torch.zeros(1, dtype=torch.long), torch.tensor([7])), 2)
    assert all(torch.equal(one[0], whole[7]) for one, whole in zip(alone, found, strict=True))


def made(**options) -> JointEmbedding:
    """A tiny objective."""
    found = tiny_objective(METHOD, **options)
    assert isinstance(found, JointEmbedding)
    return found


@pytest.mark.parametrize("options", [{"same_clip_weight": 0.0}, {"num_shifted": 0}])
def test_without_weight_or_number_the_method_is_that_of_other_clips(options):
    batch, plain = tiny_batch(METHOD), made(**options)
    assert plain(batch).terms.keys() == {"video_audio"}
    terms = made()(batch).terms
    assert terms.keys() == {"video_audio", KEY}
    assert torch.equal(terms["video_audio"], plain(batch).terms["video_audio"])


def test_a_clip_without_sound_gets_no_gradient_whatever_lies_there():
    found = []
    for filling in (0.0, 7.0):
        objective, batch = made(), tiny_batch(METHOD, 4)
        sound = batch.views["audio"][0].clone()
        sound[1] = filling
        sound.requires_grad_()
        views = {"video": batch.views["video"], "audio": [sound], "audio.present": [torch.tensor(HAS_SOUND)]}
        terms = objective(batch._replace(views=views)).terms
        torch.stack([*terms.values()]).sum().backward()
        assert sound.grad is not None
        assert sound.grad.flatten(1).any(1).tolist() == HAS_SOUND
        found.append([*(term.detach() for term in terms.values()), *(one.grad for one in objective.parameters())])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
