"""Recall at k agrees with worked examples and with sorting one row after the other."""

import pytest
import torch

from mmssl.errors import NumericError
from mmssl.evaluate.retrieval import recalls


def ranked(*ranks: int) -> torch.Tensor:
    """Energies of which row i has exactly ranks[i] columns before its own."""
    energies = torch.ones(len(ranks), len(ranks))
    for row, rank in enumerate(ranks):
        others = [column for column in range(len(ranks)) if column != row]
        energies[row, row] = 0.0
        energies[row, others[:rank]] = -1.0
    return energies


def by_sorting(energies: torch.Tensor, k: int) -> float:
    """The share of rows whose own column is among the first k, worst among equals."""
    found = 0
    for row, values in enumerate(energies.tolist()):
        order = sorted(range(len(values)), key=lambda column: (values[column], column == row))
        found += row in order[:k]
    return found / len(energies)


def test_recalls_of_a_worked_example():
    # Ranks 0 to 11: one of twelve is first, five are among the first five, ten among the first ten.
    assert recalls(ranked(*range(12))) == {"r1": 1 / 12, "r5": 5 / 12, "r10": 10 / 12}
    assert recalls(ranked(0, 0, 1, 3)) == {"r1": 2 / 4, "r5": 1.0, "r10": 1.0}


def test_ties_count_as_worse_so_equal_energies_find_nothing():
    assert recalls(torch.zeros(12, 12)) == {"r1": 0.0, "r5": 0.0, "r10": 0.0}
    # one tie pushes the own column to the second place, wherever it stands
    assert recalls(torch.tensor([[1.0, 1.0], [2.0, 1.0]]))["r1"] == 0.5
    assert recalls(torch.tensor([[1.0, 2.0], [1.0, 1.0]]))["r1"] == 0.5


def test_recalls_equal_those_of_sorting_each_row_with_ties():
    energies = torch.randint(0, 9, (40, 40), generator=torch.Generator().manual_seed(0)).float()
    found = recalls(energies)
    assert found == {f"r{k}": pytest.approx(by_sorting(energies, k)) for k in (1, 5, 10)}
    assert 0 < found["r5"] < found["r10"] < 1


def test_the_lowest_energy_is_found_and_the_highest_is_not():
    apart = 1 - torch.eye(12)
    assert recalls(apart) == {"r1": 1.0, "r5": 1.0, "r10": 1.0}
    assert recalls(-apart) == {"r1": 0.0, "r5": 0.0, "r10": 0.0}


def test_recalls_ignore_the_order_of_samples_and_any_rising_function():
    energies = torch.randn(30, 30, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    assert recalls(energies[order][:, order]) == recalls(energies)
    assert recalls(energies.exp()) == recalls(energies)


def test_recalls_of_meaningless_energies_are_chance():
    energies = torch.rand(1000, 1000, generator=torch.Generator().manual_seed(3))
    assert recalls(energies)["r10"] == pytest.approx(10 / 1000, abs=4 * (0.01 / 1000) ** 0.5)


def test_energies_that_are_not_finite_are_refused():
    with pytest.raises(NumericError, match="retrieval: energies"):
        recalls(torch.full((3, 3), float("nan")))
