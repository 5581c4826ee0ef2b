"""The energy's AUROC and gap agree with hand values and with scikit-learn."""

import json
from math import inf

import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmssl.errors import DataError, NumericError
from mmssl.evaluate.energy import auroc, gap, of_matrix, of_same_class, summary


def energies(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_auroc_counts_the_pairs_that_are_ordered_rightly():
    # Of the six pairs, 1 < 2, 1 < 3, 1 < 0.5 (no), 2.5 < 2 (no), 2.5 < 3, 2.5 < 0.5 (no): three are right.
    assert auroc(energies(1.0, 2.5), energies(2.0, 3.0, 0.5)) == 3 / 6


def test_auroc_counts_a_tie_as_one_half():
    assert auroc(energies(1.0, 2.0), energies(2.0, 3.0)) == (2 + 1.5) / 4


def test_auroc_of_equal_energies_is_exactly_chance():
    assert auroc(torch.full((7,), 0.1), torch.full((11,), 0.1)) == 0.5


def test_auroc_is_one_where_compatible_energies_are_lower_and_zero_where_they_are_higher():
    low, high = torch.arange(5.0), torch.arange(5.0, 12.0)
    assert auroc(low, high) == 1.0
    assert auroc(high, low) == 0.0


@pytest.mark.parametrize("num_levels", [5, 10**6])
def test_auroc_equals_that_of_scikit_learn(num_levels: int):
    generator = torch.Generator().manual_seed(3)
    compatible = torch.randint(num_levels, (200,), generator=generator) / num_levels
    incompatible = torch.randint(num_levels, (300,), generator=generator) / num_levels + 0.1
    label = [0] * 200 + [1] * 300
    oracle = roc_auc_score(label, torch.cat([compatible, incompatible]).double())
    assert auroc(compatible, incompatible) == pytest.approx(oracle, abs=1e-12)


def test_auroc_ignores_the_order_of_pairs_and_a_rising_change_of_units():
    generator = torch.Generator().manual_seed(4)
    compatible, incompatible = torch.randn(50, generator=generator), torch.randn(80, generator=generator)
    reference = auroc(compatible, incompatible)
    assert auroc(compatible.flip(0), incompatible.roll(7)) == reference
    assert auroc(compatible.double().exp(), incompatible.double().exp()) == reference


def test_gap_is_measured_in_sample_deviations_of_the_compatible():
    # Deviation of (1, 2, 3) is 1; the means are 2 and 7.
    assert gap(energies(1.0, 2.0, 3.0), energies(6.0, 8.0)) == pytest.approx(5.0)
    assert gap(energies(10.0, 20.0, 30.0), energies(60.0, 80.0)) == pytest.approx(5.0)


def test_gap_without_deviation_is_zero_or_infinite_and_never_nan():
    constant = torch.full((9,), 0.1)
    assert gap(constant, torch.full((5,), 0.1)) == 0.0
    assert gap(constant, torch.full((5,), 0.2)) == inf
    assert gap(constant, torch.full((5,), 0.05)) == -inf


def test_gap_of_one_compatible_pair_is_refused():
    with pytest.raises(DataError, match="got 1, expected at least 2"):
        gap(energies(1.0), energies(2.0))


def test_of_matrix_takes_the_diagonal_as_compatible():
    compatible, incompatible = of_matrix(torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]))
    assert compatible.tolist() == [0.0, 4.0, 8.0]
    assert incompatible.tolist() == [1.0, 2.0, 3.0, 5.0, 6.0, 7.0]


def test_summary_takes_the_headline_from_other_samples_and_each_kind_into_the_ladder():
    compatible = energies(1.0, 2.0, 3.0)
    values = summary(compatible, {"one word replaced": energies(0.0, 4.0), "other": energies(6.0, 8.0)})
    assert values == {
        "energy.auroc": 1.0,
        "energy.gap": pytest.approx(5.0),
        "energy.ladder.one word replaced": 0.5,
        "energy.ladder.other": 1.0,
    }


def test_summary_without_other_samples_takes_the_headline_from_the_first_kind():
    values = summary(energies(1.0, 2.0, 3.0), {"word": energies(0.0, 4.0), "order": energies(6.0, 8.0)})
    assert values["energy.auroc"] == 0.5
    assert values["energy.gap"] == pytest.approx(0.0)


def test_summary_of_an_infinite_gap_is_valid_json_without_it():
    values = summary(torch.zeros(4), {"other": torch.ones(3)})
    assert values == {"energy.auroc": 1.0, "energy.ladder.other": 1.0}
    json.dumps(values, allow_nan=False)
    with pytest.raises(ValueError):  # the check can fail
        json.dumps(gap(torch.zeros(4), torch.ones(3)), allow_nan=False)


def test_energies_that_are_missing_or_not_finite_are_refused_with_what_came():
    with pytest.raises(NumericError, match="incompatible pairs: 1 of 2 values are not finite"):
        auroc(energies(1.0), energies(1.0, float("nan")))
    with pytest.raises(DataError, match="compatible pairs: got an empty tensor"):
        auroc(torch.empty(0), energies(1.0))
    with pytest.raises(DataError, match="no kind of negative"):
        summary(energies(1.0, 2.0), {})


def test_energies_that_carry_a_graph_are_accepted():
    matrix = torch.eye(3).requires_grad_()
    assert auroc(*of_matrix(-matrix)) == 1.0


def test_pairs_of_one_class_are_other_samples_with_the_same_label():
    matrix = torch.arange(16.0).reshape(4, 4)
    assert of_same_class(matrix, torch.tensor([2, 0, 2, 2])).tolist() == [2.0, 3.0, 8.0, 11.0, 12.0, 14.0]
    assert of_same_class(matrix, torch.tensor([0, 1, 2, 3])).tolist() == []
    assert of_same_class(matrix, torch.tensor([-1, -1, 0, 0])).tolist() == [11.0, 14.0]  # -1 is no label
