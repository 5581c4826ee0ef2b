"""Of a picture with a predator at the left, the right half is one of a few that are known with their probabilities."""

from math import log2

import numpy as np
import pytest

from mmssl.savanna import PREY, event
from mmssl.savanna.encounters import (
    FEET,
    IMPOSSIBLE,
    WIDTH,
    chased,
    completions,
    never_chased,
    pictures,
    prey_names,
    prior_entropy,
)
from mmssl.savanna.habitats import landscape
from mmssl.savanna.tables import PREDATORS, event_numbers, events

SIZE = 32
HALF = SIZE // 2


def test_a_picture_is_a_function_of_the_seed_and_the_number_alone(monkeypatch):
    together = pictures(0, np.arange(30), SIZE)
    assert (pictures(0, np.arange(30)[::-1], SIZE)[::-1] == together).all()
    assert (pictures(0, np.array([17]), SIZE)[0] == together[17]).all()
    monkeypatch.setattr("mmssl.savanna.encounters.CHUNK", 7)
    assert (pictures(0, np.arange(30), SIZE) == together).all()
    assert (pictures(1, np.arange(30), SIZE) != together).any(axis=(1, 2, 3)).all()


def test_the_true_completion_is_the_picture():
    together = pictures(0, np.arange(40), SIZE)
    for index in range(0, 40, 3):
        found = completions(0, index, SIZE)
        assert (found.picture[found.true] == together[index]).all()


@pytest.mark.parametrize("size", [16, 32])
def test_all_completions_share_the_left_half_and_no_two_the_right_half(size):
    half = size // 2
    for index in range(20):
        found = completions(0, index, size)
        whole = np.concatenate([found.picture, found.impossible])
        assert (whole[..., :half] == whole[:1, ..., :half]).all()
        assert len(np.unique(whole[..., half:].reshape(len(whole), -1), axis=0)) == len(whole)


def test_the_predator_lies_in_the_left_half_and_the_prey_in_the_right_half(monkeypatch):
    # every event in front of nothing: whatever is drawn is animal or shadow
    black = np.zeros((3, SIZE, SIZE), np.uint8)
    monkeypatch.setattr("mmssl.savanna.encounters.backgrounds", lambda stage, size: black[None].repeat(
        len(stage.event), 0))  # fmt: skip
    seen: dict[str, set[bytes]] = {}
    for index, whole in enumerate(pictures(0, np.arange(300), SIZE)):
        happened = event(0, index)
        left, right = whole[..., :HALF], whole[..., HALF:]
        assert left.any()
        assert right.any()
        seen.setdefault(happened.habitat + happened.predator, set()).add(left.tobytes())
        below = round(FEET * SIZE) + 1
        assert not whole[:, below:].any()
    assert len(seen) == 17
    assert all(len(views) == 1 for views in seen.values())  # nothing of a predator tells its prey


def test_every_prey_is_large_enough_to_be_seen(monkeypatch):
    black = np.zeros((1, 3, SIZE, SIZE), np.uint8)
    monkeypatch.setattr("mmssl.savanna.encounters.backgrounds", lambda stage, size: black.repeat(len(stage.event), 0))
    for prey in pictures(0, np.arange(100), SIZE)[..., HALF:]:
        columns = prey.any(axis=(0, 1)).sum()
        assert WIDTH * SIZE * 0.6 < columns <= HALF
        assert prey.any(axis=0).sum() >= 20


def test_no_landscape_tells_the_prey_and_the_light_hardly_changes():
    for index, picture in enumerate(pictures(0, np.arange(60), SIZE)):
        shown = landscape(event(0, index).habitat, SIZE)
        assert abs(picture[:, :6].mean() / shown[:, :6].mean() - 1) < 0.25


def test_the_frequencies_of_preys_are_the_probabilities_that_completions_tell():
    # 5,000 samples: the share of each prey within four standard errors
    numbers = event_numbers(0, np.arange(5000))
    names = np.array([" ".join(each) for each, _ in events()])[numbers]
    counted = 0
    for habitat, predators in PREDATORS.items():
        for predator in predators:
            count = sum(name.startswith(f"{habitat} {predator} ") for name in names)
            first = next(index for index, name in enumerate(names) if name.startswith(f"{habitat} {predator} "))
            told = completions(0, first, 16).probability
            assert told.sum() == pytest.approx(1)
            for prey, probability in zip(PREY[habitat][predator], told, strict=True):
                share = (names == f"{habitat} {predator} {prey}").sum() / count
                assert abs(share - probability) < 4 * (probability * (1 - probability) / count) ** 0.5
                counted += 1
    assert counted == len(events())


def test_impossible_preys_are_never_chased_there_and_some_live_in_the_same_habitat():
    are_neighbours = []
    for index in range(40):
        happened = event(0, index)
        found = never_chased(0, index)
        assert len({*found}) == len(found) == IMPOSSIBLE
        assert not {*found} & {*PREY[happened.habitat][happened.predator], happened.predator}
        assert found == never_chased(0, index)
        here = {prey for table in PREY[happened.habitat].values() for prey in table}
        are_neighbours.append(len(here & {*found}))
    assert min(are_neighbours) >= 1
    assert len({tuple(never_chased(0, index)) for index in range(40)}) > 15


def test_the_label_is_the_prey():
    assert prey_names(3, np.arange(50)) == [event(3, index).prey for index in range(50)]


def test_the_prior_entropy_is_the_mean_of_that_of_the_completions():
    found = [chased(event(0, index)).values() for index in range(1000)]
    bits = [-sum(p * log2(p) for p in probability) for probability in found]
    assert prior_entropy() == pytest.approx(np.mean(bits), abs=4 * np.std(bits) / 1000**0.5)
    # of the cat alone, by hand: 0.7 log2(1/0.7) + 0.2 log2(5) + 0.1 log2(10) = 0.3602 + 0.4644 + 0.3322
    cat = next(bits[index] for index in range(1000) if event(0, index).predator == "cat")
    assert cat == pytest.approx(1.1568, abs=1e-4)


@pytest.mark.parametrize("size", [14, 33])
def test_a_picture_without_a_half_is_refused(size):
    with pytest.raises(ValueError, match=f"and even, not {size}"):
        pictures(0, np.arange(2), size)
