from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from mmssl.savanna.tables import HABITATS, PREDATORS, PREY, SPECIES, Event, event, event_numbers, events, labels


def every_table():
    yield HABITATS
    yield from PREDATORS.values()
    for of_habitat in PREY.values():
        yield from of_habitat.values()


@pytest.mark.parametrize("table", list(every_table()))
def test_a_table_sums_to_one_and_is_not_uniform(table):
    assert abs(sum(table.values()) - 1) < 1e-12
    assert min(table.values()) > 0
    assert len(set(table.values())) > 1


def test_the_events_sum_to_one_and_differ_from_each_other():
    assert abs(sum(probability for _, probability in events()) - 1) < 1e-12
    assert len({each for each, _ in events()}) == len(events())


def test_an_event_has_the_product_of_its_three_probabilities():
    probability = dict(events())
    assert probability[Event("savanna", "lion", "zebra")] == pytest.approx(0.30 * 0.50 * 0.60, abs=1e-15)
    assert probability[Event("kitchen", "cat", "mouse")] == pytest.approx(0.20 * 0.75 * 0.70, abs=1e-15)


def test_the_tables_name_the_same_habitats_and_predators():
    assert list(PREDATORS) == list(PREY)
    assert set(PREDATORS) == set(HABITATS)
    assert {habitat: list(table) for habitat, table in PREDATORS.items()} == {
        habitat: list(table) for habitat, table in PREY.items()
    }


def test_a_predator_lives_in_one_or_two_habitats():
    homes = Counter(predator for table in PREDATORS.values() for predator in table)
    assert set(homes.values()) == {1, 2}


def test_every_habitat_leaves_both_animals_uncertain():
    for habitat in HABITATS:
        assert len({each.predator for each, _ in events() if each.habitat == habitat}) >= 2
        assert len({each.prey for each, _ in events() if each.habitat == habitat}) >= 2


def test_every_animal_is_a_species_that_can_be_told_from_the_others():
    animals = {name for each, _ in events() for name in (each.predator, each.prey)}
    assert animals == set(SPECIES)
    assert len({species.colour for species in SPECIES.values()}) == len(SPECIES)
    pitches = sorted(species.call_hz for species in SPECIES.values())
    assert all(higher / lower > 1.1 for lower, higher in pairwise(pitches))


def test_looks_and_calls_are_in_range():
    for species in SPECIES.values():
        assert all(0 <= channel <= 255 for channel in species.colour)
        assert 0 < species.height_ratio <= 0.5
        assert 50 <= species.call_hz <= 4000


def test_an_event_does_not_depend_on_the_order_or_the_batch():
    indices = np.arange(200)
    shuffled = np.random.default_rng(0).permutation(indices)
    together = event_numbers(3, indices)
    assert (event_numbers(3, shuffled) == together[shuffled]).all()
    assert [event(3, index) for index in range(20)] == [events()[number][0] for number in together[:20]]


def test_another_seed_gives_other_events():
    indices = np.arange(200)
    assert (event_numbers(0, indices) != event_numbers(1, indices)).any()


def test_a_label_is_the_number_of_the_habitat_of_the_event():
    numbers = labels(5, np.arange(50))
    assert [list(HABITATS)[number] for number in numbers] == [event(5, index).habitat for index in range(50)]


def frequency_deviation(seed, probabilities, count=40_000):
    """The largest distance of an event's count from its expectation, in standard deviations."""
    counts = np.bincount(event_numbers(seed, np.arange(count)), minlength=len(probabilities))
    return np.max(np.abs(counts - count * probabilities) / np.sqrt(count * probabilities * (1 - probabilities)))


def test_events_come_as_often_as_the_tables_say():
    assert frequency_deviation(0, np.array([probability for _, probability in events()])) < 4


def test_events_do_not_come_as_often_as_a_uniform_table_says():
    assert frequency_deviation(0, np.full(len(events()), 1 / len(events()))) > 20
