"""Claims about clusters of other modalities: costs and energies, what the absent are spared, and constant answers."""

import math

import pytest
import torch
from tiny import tiny_batch, tiny_objective
from torch.nn.functional import cross_entropy, linear

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.objectives import Asked, CrossClustering

METHODS = ("xdc", "av_cluster")
LABEL = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])
PRESENT = torch.tensor([True, True, False, True, True, False, True, True])


def made(method: str, **options) -> CrossClustering:
    """A tiny objective whose clusters are given: those of a second grouping the other way round."""
    objective = tiny_objective(method, **options)
    assert isinstance(objective, CrossClustering)
    for number, groups in enumerate(objective.by_name.values()):
        groups.label = (LABEL.flip(0) if number else LABEL)[None].clone()
    return objective


def lacking(filling: float, count: int = 8) -> Batch:
    """Clips of which some lack their sound, in whose place lies something."""
    batch = tiny_batch("xdc", count)
    sound = batch.views["audio"][0].clone()
    sound[~PRESENT] = filling
    return batch._replace(views={**batch.views, "audio": [sound], "audio.present": [PRESENT]})


def expected(objective: CrossClustering, one: Asked, batch: Batch, weight: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each sample, by torch, times its weight."""
    head = objective.heads[one].linear
    scores = linear(objective.features(batch)[one.x], head.weight, head.bias)
    return cross_entropy(scores, objective.by_name[one.grouping].label[0], reduction="none") * weight


@pytest.mark.parametrize("method", METHODS)
def test_each_modality_is_asked_for_the_cluster_of_the_other_or_of_both(method):
    objective, batch = made(method, balanced=False), tiny_batch(method)
    terms = objective(batch).terms
    names = {"xdc": {"video_to_audio", "audio_to_video"}, "av_cluster": {"video_to_clip", "audio_to_clip"}}[method]
    assert terms.keys() == names
    for one in objective.asked:
        found = expected(objective, one, batch, torch.ones(8)).mean() / 2
        torch.testing.assert_close(terms[f"{one.x}_to_{one.grouping}"], found)


def test_a_cluster_weighs_the_same_whatever_its_size():
    objective, batch = made("xdc"), tiny_batch("xdc")
    # six, one and one of eight samples: each of three clusters weighs 8 / 3 in all
    weight = torch.tensor([8 / 18] * 6 + [8 / 3] * 2)
    one = next(one for one in objective.asked if one.grouping == next(iter(objective.by_name)))
    torch.testing.assert_close(
        objective(batch).terms[f"{one.x}_to_{one.grouping}"], expected(objective, one, batch, weight).mean() / 2
    )


@pytest.mark.parametrize("balanced", [True, False])
def test_a_constant_answer_is_no_better_than_chance_where_clusters_are_balanced(balanced):
    objective, batch = made("av_cluster", balanced=balanced), tiny_batch("av_cluster")
    for head in objective.heads.values():  # says the share of each cluster whatever it is shown
        torch.nn.init.zeros_(head.linear.weight)
        with torch.no_grad():
            head.linear.bias.copy_(torch.tensor([6 / 8, 1 / 8, 1 / 8, 1e-9]).log())
    cost = float(torch.stack([*objective(batch).terms.values()]).sum().detach())
    assert (cost >= math.log(3) - 1e-5) is balanced  # three clusters have members


@pytest.mark.parametrize("method", METHODS)
def test_a_clip_without_sound_is_in_no_cluster_of_it_and_costs_nothing(method):
    found = []
    for filling in (0.0, 7.0):
        objective, batch = made(method), lacking(filling)
        objective.regroup(iter([batch]))
        groups = objective.by_name["audio" if method == "xdc" else "clip"]
        assert ((groups.label[0] == -1) == ~PRESENT).all()
        objective.train()
        batch.views["audio"][0].requires_grad_()
        output = objective(batch)
        torch.stack([*output.terms.values()]).sum().backward()
        gradient = batch.views["audio"][0].grad
        assert gradient is not None
        assert not gradient[~PRESENT].any()
        assert gradient[PRESENT].flatten(1).any(1).all()
        if method == "av_cluster":
            assert output.energy[~PRESENT].tolist() == [0, 0]
        assert objective.eval()(batch).energy[~PRESENT].tolist() == [0, 0]
        found.append([*(term.detach() for term in output.terms.values()), *objective.state_dict().values()])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_the_picture_of_a_clip_without_sound_is_still_a_cluster_that_nobody_is_asked_for():
    objective, batch = made("xdc"), lacking(0.0)
    objective.regroup(iter([batch]))
    assert (objective.by_name["video"].label >= 0).all()


@torch.no_grad()
def test_the_energy_of_xdc_is_that_of_the_cluster_of_y():
    objective, batch = made("xdc"), tiny_batch("xdc")
    objective.regroup(iter([batch]))
    objective.eval()
    features = objective.features(batch)
    head, groups = objective.heads[Asked("video", "audio")].linear, objective.by_name["audio"]
    log_probability = linear(features["video"], head.weight, head.bias).log_softmax(-1)
    nearest = groups.nearest(features["audio"])[0]
    torch.testing.assert_close(objective.energies(batch), -log_probability[:, nearest])
    back = objective.energies_between("audio", "video", batch)
    assert not torch.allclose(back, objective.energies(batch).T)  # the other way has another classifier


@torch.no_grad()
def test_the_energy_of_joint_clusters_is_that_both_name_the_same():
    objective, batch = made("av_cluster"), tiny_batch("av_cluster")
    objective.regroup(iter([batch]))
    objective.eval()
    shares = []
    for name in ("video", "audio"):
        head = objective.heads[Asked(name, "clip")].linear
        shares.append(linear(objective.features(batch)[name], head.weight, head.bias).softmax(-1))
    torch.testing.assert_close(objective.energies(batch), -(shares[0] @ shares[1].T).log())
    torch.testing.assert_close(objective.energies_between("audio", "video", batch), -(shares[1] @ shares[0].T).log())


def test_a_modality_is_not_compared_with_itself():
    objective = made("xdc")
    assert not objective.compares("video", "video")
    with pytest.raises(ConfigError, match="CrossClustering does not compare video with video"):
        objective.energies_between("video", "video", tiny_batch("xdc"))


@pytest.mark.parametrize("method", METHODS)
def test_two_modalities_are_compared_by_batches_that_hold_one_each(method):
    objective, batch = made(method), tiny_batch(method)
    pictures, sounds = (batch._replace(views={name: batch.views[name]}) for name in ("video", "audio"))
    found = objective.energies_between("video", "audio", pictures, sounds)
    torch.testing.assert_close(found, objective.energies_between("video", "audio", batch))
