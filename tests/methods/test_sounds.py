"""Claims about methods on two views that read sounds: they need no code, and what makes no sense there says so."""

from unittest.mock import patch

import pytest
import torch
from tiny import MEDIA, PICTURES, REMEMBERED, begin, patterns, tiny_encoder
from torch import Tensor

from mmssl.batch import Batch
from mmssl.checkpoint import restore, save
from mmssl.errors import ConfigError
from mmssl.methods import METHODS
from mmssl.modalities.grids import Grid
from mmssl.objectives import Clustering, JointEmbedding, Objective
from mmssl.optimizer import optimizer, set_state, state_of
from mmssl.random import Draw
from mmssl.sections import TrainConfig
from mmssl.train import restore_weights, tensors_of

SOUND, STEREO, PICTURE = Grid("audio", (16, 16), 1), Grid("audio", (16, 16), 2), Grid("image", (16, 16), 3)
ON_VIEWS = [  # of pictures and sounds alike
    "siamese", "npid", "simclr", "moco", "moco_v2", "moco_v3", "deepcluster", "clusterfit", "deepcluster_v2", "swav",
    "seer", "byol", "simsiam", "dino", "barlow_twins", "w_mse", "vicreg", "lejepa",
]  # fmt: skip
OF_PICTURES = {"pirl": "cuts pictures into a jigsaw", "deepercluster": "turns pictures by quarters"}
STEPS = 25
# random features tell the patterns apart before any training; what they tell soon comes near to all there is to tell
APART = ("siamese", "npid", "moco", "moco_v2", "clusterfit", "dino")


def on_sounds(method: str, grid: Grid = SOUND, **options) -> Objective:
    """A method on a tiny encoder of sounds."""
    modalities = {grid.name: grid}
    with patch("mmssl.methods.clusters.encoder_of_run", lambda folder, modalities: tiny_encoder(modalities)):
        objective = METHODS[method](tiny_encoder(modalities), modalities, **{**MEDIA[method][1], **options})
    objective.remember(REMEMBERED)
    return objective


def sounds(objective: Objective, count: int = 8) -> Batch:
    """Each sound has a pattern of its own, each view its own noise upon it; small views are shorter."""
    views = patterns("audio", count, len(objective.views))
    sizes = [None if isinstance(view.size, int) else view.size[0] for view in objective.views]
    draw = Draw(5, torch.full((count,), 2), torch.arange(count))
    return Batch({"audio": [view[:, :size] for view, size in zip(views, sizes, strict=True)]}, draw)


def steps(objective: Objective, stepper: torch.optim.Optimizer, batch: Batch, numbers: range) -> None:
    """Some steps of the training loop."""
    objective.train()
    for step in numbers:
        torch.stack([*objective(batch).terms.values()]).sum().backward()
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        objective.after_step((step + 1) / STEPS)


@torch.no_grad()
def gap(objective: Objective, batch: Batch) -> float:
    """How much higher mismatched pairs lie than matched ones."""
    values = objective.eval().energies(batch)
    assert values.shape == (8, 8)
    assert torch.isfinite(values).all()
    others = values[~torch.eye(8, dtype=torch.bool)]
    return float(others.mean() - values.diagonal().mean())


@pytest.mark.parametrize("method", ON_VIEWS)
def test_steps_on_sounds_move_apart_what_does_not_belong_together(method):
    objective = on_sounds(method)
    stepper, batch = optimizer(objective, TrainConfig(learning_rate=3e-3)), sounds(objective)
    begin(objective, batch)
    before = gap(objective, batch)
    steps(objective, stepper, batch, range(STEPS))
    after = gap(objective, batch)
    assert after > 0.1
    assert after > before + 0.05 or method in APART
    assert objective.answered == ("audio",)
    assert objective.compares("audio", "audio")
    assert not objective.compares("image", "image")


def test_these_are_all_the_methods_on_views():
    joint = {
        name for name, (reads, _) in MEDIA.items()
        if reads == PICTURES and name not in OF_PICTURES
        and isinstance(on_pictures_or_none(name), (JointEmbedding, Clustering))
    }  # fmt: skip
    assert joint == set(ON_VIEWS)


def on_pictures_or_none(method: str) -> Objective | None:
    """A method on pictures; None where it needs another run."""
    if "pretrained" in MEDIA[method][1] and method != "clusterfit":
        return None
    return on_sounds(method, PICTURE)


@pytest.mark.parametrize("method", ["swav", "deepcluster_v2"])
def test_a_restored_run_on_sounds_takes_the_same_steps_to_the_bit(method, tmp_path):
    def after(objective: Objective, stepper: torch.optim.Optimizer) -> dict[str, Tensor]:
        steps(objective, stepper, batch, range(3, 5))
        return {name: value.clone() for name, value in tensors_of(objective).items()}

    objective = on_sounds(method)
    stepper, batch = optimizer(objective, TrainConfig(learning_rate=3e-3)), sounds(objective)
    begin(objective, batch)
    steps(objective, stepper, batch, range(3))
    names = {id(weight): name for name, weight in objective.named_parameters()}
    save(tmp_path, 3, {"model": tensors_of(objective), "optimizer": state_of(stepper, names)}, {}, keep=2)
    whole = after(objective, stepper)
    found = restore(tmp_path)
    assert found is not None
    for with_optimizer in (True, False):  # the control: without the optimizer's state the steps are others
        other = on_sounds(method)
        stepper = optimizer(other, TrainConfig(learning_rate=3e-3))
        restore_weights(other, found.tensors["model"])
        if with_optimizer:
            set_state(stepper, {id(w): name for name, w in other.named_parameters()}, found.tensors["optimizer"])
        again = after(other, stepper)
        assert all(torch.equal(again[name], whole[name]) for name in whole) is with_optimizer


@pytest.mark.parametrize("method", OF_PICTURES)
def test_what_makes_no_sense_of_a_sound_says_so(method):
    expected = (
        f"method {method}: {OF_PICTURES[method]}, which makes no sense of a sound; expected task image_pretraining"
    )
    with pytest.raises(ConfigError, match=expected):
        on_sounds(method)
    on_sounds(method, PICTURE)  # the control


def test_small_views_of_sounds_are_windows_of_so_many_columns():
    objective = on_sounds("swav")
    assert [view.size for view in objective.views] == [0, 0, (8, 16), (8, 16)]
    assert [view.area for view in objective.views] == [None] * 4  # as the config says
    assert [view.size for view in on_sounds("swav", PICTURE).views] == [0, 0, 8, 8]
    with pytest.raises(ConfigError, match="small_size: got 17, sounds have 16 columns of the spectrogram; expected no"):
        on_sounds("swav", small_size=17)
    with pytest.raises(ConfigError, match="audio of 6 x 16 cannot be cut into patches of 4 x 4; expected divisors"):
        on_sounds("swav", small_size=6)
    on_sounds("swav", small_size=17, num_small=0)


def test_where_pictures_are_read_too_the_views_are_theirs():
    modalities = {"audio": SOUND, "image": PICTURE}
    objective = METHODS["simclr"](tiny_encoder(modalities), modalities, **MEDIA["simclr"][1])
    assert objective.answered == ("image",)


def test_a_task_of_neither_is_named():
    modalities = {"video": Grid("video", (8, 12, 12), 3)}
    with pytest.raises(ConfigError, match="needs pictures or sounds, the task reads video; expected task image_pre"):
        METHODS["simclr"](tiny_encoder(modalities), modalities, **MEDIA["simclr"][1])


def test_a_stereo_sound_is_cut_with_both_channels_and_pasted_together_again():
    cut = STEREO.cut((4, 4))
    assert (cut.width, cut.grid) == (2 * 4 * 4, (4, 4))
    view = torch.randn(3, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    tokens = cut.tokenize([view])
    # by hand: the patch of columns 4 to 7 and bands 8 to 11, left before right
    assert torch.equal(tokens.value[:, 6], view[:, :, 4:8, 8:12].flatten(1))
    assert torch.equal(cut.paste(tokens.value), view)
    mono = SOUND.cut((4, 4)).tokenize([view[:, 0]]).value
    assert torch.equal(tokens.value[..., :16], mono)
    encoder = on_sounds("simclr", STEREO).encoder
    before = encoder({"audio": tokens})["audio"].value
    view[:, 1] += 1  # the right channel is heard, too
    assert not torch.allclose(encoder({"audio": cut.tokenize([view])})["audio"].value, before)
