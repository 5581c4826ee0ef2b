from collections import Counter

import numpy as np
import pytest

from mmssl.savanna import FORKS, PREY, SPECIES
from mmssl.savanna.scenes import (
    CALL_SECONDS,
    FORK_SECONDS,
    SECONDS,
    calling,
    extents,
    positions,
    rows,
    scenes,
)
from mmssl.savanna.tables import events

TIMES = np.linspace(0, SECONDS, 41)


def over_time(found):
    """The positions at many times."""
    return positions(found, np.broadcast_to(TIMES, (len(found.event), len(TIMES))))


def deviation(count, total, probability):
    """How far a count is from its expectation, in standard deviations."""
    return abs(count - total * probability) / np.sqrt(total * probability * (1 - probability))


def test_every_prey_has_its_own_chance_to_fork_left():
    assert set(FORKS) == {prey for of_habitat in PREY.values() for table in of_habitat.values() for prey in table}
    assert all(0.2 <= left <= 0.8 for left in FORKS.values())
    assert len(set(FORKS.values())) > 5


def test_a_prey_forks_left_as_often_as_the_table_says():
    found = scenes(0, np.arange(2_000))
    prey = np.array([events()[number][0].prey for number in found.event])
    for name, left in FORKS.items():
        here = found.fork[prey == name]
        assert deviation(np.sum(here == 1), len(here), left) < 3.5
    expected = np.array([FORKS[name] for name in prey])
    assert abs((found.fork == 1).sum() - expected.sum()) < 3 * np.sqrt((expected * (1 - expected)).sum())


def test_a_fair_coin_does_not_explain_the_forks():
    found = scenes(0, np.arange(2_000))
    is_zebra = np.array([events()[number][0].prey == "zebra" for number in found.event])
    assert deviation(np.sum(found.fork[is_zebra] == 1), is_zebra.sum(), 0.5) > 4


def test_forks_come_at_their_times_as_often_as_the_table_says():
    counts = Counter(scenes(1, np.arange(2_000)).fork_seconds.tolist())
    assert set(counts) == set(FORK_SECONDS)
    assert abs(sum(FORK_SECONDS.values()) - 1) < 1e-12
    assert all(deviation(counts[time], 2_000, probability) < 3.5 for time, probability in FORK_SECONDS.items())


def test_a_scene_does_not_depend_on_the_batch():
    together = scenes(3, np.arange(100))
    alone = scenes(3, np.array([42]))
    for whole, single in zip(together, alone):
        assert (whole[42] == single[0]).all()


def test_nobody_leaves_the_picture():
    found = scenes(0, np.arange(2_000))
    half = extents()[found.event][:, None] / 2
    centre = over_time(found)
    assert (centre - half).min() >= 0
    assert (centre + half).max() <= 1


def test_the_predator_follows_the_prey():
    found = scenes(0, np.arange(500))
    x = over_time(found)[..., 0] * found.heading[:, None, None]
    assert (x[:, :, 1] > x[:, :, 0]).all()
    assert (np.diff(x, axis=1) > 0).all()


def test_the_left_of_a_prey_that_runs_to_the_right_is_up():
    found = scenes(0, np.arange(500))
    y = over_time(found)[:, :, 1, 1]
    is_up = found.heading * found.fork > 0
    assert (np.where(is_up, -1, 1) * (y[:, -1] - y[:, 0]) > 0.25).all()


def test_all_futures_begin_alike_until_the_fork_and_then_differ():
    found = scenes(0, np.arange(300))
    y, other = over_time(found), over_time(found._replace(fork=-found.fork))
    before = np.searchsorted(TIMES, min(FORK_SECONDS))
    assert (y[:, :before] == other[:, :before]).all()
    assert (np.abs(y - other)[:, -1, 1, 1] > 0.5).all()


def test_every_call_is_over_before_the_first_fork():
    found = scenes(0, np.arange(2_000))
    assert (found.call_seconds + CALL_SECONDS).max() < 1 < min(FORK_SECONDS)
    assert not calling(found, np.full((2_000, 1), 1.0)).any()
    assert calling(found, found.call_seconds + 0.1).any(axis=2).all()


def test_rows_are_the_scenes_of_some_samples():
    found = scenes(0, np.arange(10))
    assert all((some == whole[2:4]).all() for some, whole in zip(rows(found, slice(2, 4)), found))


def test_a_larger_species_is_drawn_larger():
    from mmssl.savanna.bodies import extent

    assert extent("lion") > extent("cat")
    assert all(0.15 < extent(name)[1] < 0.35 for name in SPECIES)


@pytest.mark.parametrize("seed", [0, 1])
def test_animals_head_both_ways(seed):
    heading = scenes(seed, np.arange(1_000)).heading
    assert deviation((heading == 1).sum(), 1_000, 0.5) < 3.5
