"""Claims about groups: whitened descriptions, labels of all samples, equal shares, and a memory instead of a pass."""

import pytest
import torch
from torch.nn.functional import normalize

from mmssl.losses.memory import last_of_each
from mmssl.models.groups import Groups, HierarchicalGroups, RememberedGroups

GENERATOR = torch.Generator().manual_seed(0)
CENTRES = 3 * torch.randn(4, 6, generator=GENERATOR)
TRUTH = torch.arange(200) % 4
X = CENTRES[TRUTH] + 0.1 * torch.randn(200, 6, generator=GENERATOR)


def made(**options) -> Groups:
    """Groups of four clusters that have seen X."""
    groups = Groups(features=6, width=3, num_clusters=4, **options)
    groups.remember(200)
    groups.regroup(X)
    return groups


def agreement(label: torch.Tensor) -> float:
    """The share of samples in the commonest true class of their cluster."""
    return sum(int(TRUTH[label == one].bincount().max()) for one in label.unique()) / len(label)


def test_descriptions_are_white_and_of_length_one():
    groups = Groups(features=6, width=6, num_clusters=2)
    x = torch.randn(500, 6, generator=GENERATOR) @ torch.randn(6, 6, generator=GENERATOR) + 7
    groups.fit(x)
    white = (x - groups.mean) @ groups.matrix
    torch.testing.assert_close(white.T @ white / 500, torch.eye(6), atol=1e-2, rtol=0)
    torch.testing.assert_close(groups.described(x).norm(dim=1), torch.ones(500))


def test_what_lies_apart_is_told_apart_and_unseen_samples_go_to_the_nearest():
    groups = made()
    assert agreement(groups.label[0]) == 1
    assert groups.nearest(X).tolist() == groups.label.tolist()
    assert groups.nearest(CENTRES)[0].tolist() == groups.label[0, :4].tolist()
    assert agreement(torch.arange(200) // 50) < 0.5  # the control


def test_each_cluster_weighs_the_same_whatever_its_size():
    groups = made()
    groups.label = torch.cat([torch.zeros(1, 150), torch.ones(1, 50)], 1).long()
    weight = groups.weight(groups.label)
    assert weight.mean().item() == pytest.approx(1)
    assert weight[0, :150].sum().item() == pytest.approx(weight[0, 150:].sum().item())
    groups.balanced = False
    assert groups.weight(groups.label).unique().tolist() == [1]


def test_who_is_not_present_is_in_no_group_and_moves_no_centre():
    present = torch.arange(200) % 5 != 0
    groups, others = made(), made()
    groups.regroup(torch.where(present[:, None], X, 9.0), present)
    assert ((groups.label[0] == -1) == ~present).all()
    others.remember(160)
    others.regroup(X[present])
    assert torch.equal(groups.centres, others.centres)
    assert torch.equal(groups.label[:, present], others.label)
    # nor does it count for the weight of a group
    assert torch.equal(groups.weight(groups.label[:, present]), others.weight(others.label))


def test_a_hierarchy_groups_within_groups():
    groups = HierarchicalGroups(features=6, width=3, num_top=2, num_within=3)
    groups.remember(200)
    groups.regroup(X)
    assert int(groups.label.max()) <= 5
    assert groups.nearest(X).tolist() == groups.label.tolist()
    top = groups.label[0] // 3
    assert top.unique().numel() == 2
    # all of a true class lie within one top cluster
    assert all(top[one == TRUTH].unique().numel() == 1 for one in range(4))


def test_remembered_groups_need_one_pass_and_then_what_the_steps_left():
    groups = RememberedGroups(features=6, num_clusters=4, num_groupings=3)
    groups.remember(200)
    assert not groups.remembers
    groups.regroup(X)
    assert groups.remembers
    torch.testing.assert_close(groups.memory[0], normalize(X, dim=1))
    assert groups.label.shape == (3, 200)
    before = groups.memory.clone()
    seen = torch.randn(2, 3, 6, generator=GENERATOR)
    groups.note(torch.tensor([5, 7, 5]), seen)
    assert torch.equal(groups.memory, before)  # only after the step
    groups.settle()
    torch.testing.assert_close(groups.memory[:, [7, 5]], normalize(seen[:, [1, 2]], dim=-1))
    changed = (groups.memory != before).flatten(2).any(2).any(0).nonzero()[:, 0]
    assert changed.tolist() == [5, 7]
    groups.regroup(torch.zeros(0, 6))
    torch.testing.assert_close(groups.centres.norm(dim=2), torch.ones(3, 4))


def test_the_last_of_equal_entries_is_kept():
    assert last_of_each(torch.tensor([3, 1, 3, 2, 1])).tolist() == [False, False, True, True, True]


def test_a_grouping_is_a_function_of_what_it_sees_and_of_its_number():
    one, other = made(), made()
    assert torch.equal(one.label, other.label)
    fresh = Groups(features=6, width=3, num_clusters=4)
    fresh.remember(200)
    assert fresh.label.unique().tolist() == [-1]
    fresh.load_state_dict(one.state_dict())
    assert torch.equal(fresh.centres, one.centres)
