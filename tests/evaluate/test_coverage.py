"""Samples of answers are compared with all that there can be: by hand."""

import numpy as np
import pytest
import torch

from mmssl.evaluate.coverage import expected_coverage, expected_total_variation, matched, scored

# Two futures that differ in their first pixel only, by 2: squared distance 4, so a sample is near below 0.8.
TWO = torch.tensor([[0.0, 3.0, 5.0], [2.0, 3.0, 5.0]])


def drawn(futures: torch.Tensor, probability: torch.Tensor, count: int, seed: int = 0) -> torch.Tensor:
    """Samples of the true distribution."""
    generator = torch.Generator().manual_seed(seed)
    return futures[torch.multinomial(probability, count, replacement=True, generator=generator)]


def apart(count: int) -> torch.Tensor:
    """Different futures of 30 pixels."""
    return torch.rand(count, 30, generator=torch.Generator().manual_seed(count))


def test_a_sample_shows_the_future_that_it_is_near_to():
    # squared distances 0, 0, 0.64, 0.81 (too far), 0.25 on the far side
    first = torch.tensor([0.0, 2.0, 2.8, 2.9, -0.5])
    samples = torch.stack([first, torch.full((5,), 3.0), torch.full((5,), 5.0)], 1)
    assert matched(samples, TWO).tolist() == [0, 1, 1, -1, 0]


def test_the_mean_of_two_futures_shows_neither():
    assert matched(TWO.mean(0, keepdim=True), TWO).tolist() == [-1]
    many = apart(4)
    assert matched((many[:1] + many[1:2]) / 2, many).tolist() == [-1]
    assert matched(many.mean(0, keepdim=True), many).tolist() == [-1]


def test_only_pixels_in_which_futures_differ_count():
    spoilt = TWO + torch.tensor([0.0, 100.0, -70.0])
    assert matched(spoilt, TWO).tolist() == [0, 1]
    assert matched(TWO + torch.tensor([1.0, 0.0, 0.0]), TWO).tolist() == [-1, -1]


def test_how_near_is_measured_by_the_nearest_other_future_of_each():
    # 0 and 1 are 1 apart, 2 is 9 from 1: within 0.2 of 1 around the first two, of 81 around the third
    futures = torch.tensor([[0.0], [1.0], [10.0]])
    assert matched(torch.tensor([[0.44], [0.5], [1.46], [6.5], [5.9]]), futures).tolist() == [0, -1, -1, 2, -1]


def test_what_is_nearer_to_a_given_mean_shows_no_future():
    # three times in four the second one comes: the mean lies a quarter of the way from it
    mean = torch.tensor([1.5, 3.0, 5.0])
    samples = torch.stack([torch.tensor([1.5, 1.7, 1.8, 0.0]), torch.full((4,), 3.0), torch.full((4,), 5.0)], 1)
    assert matched(samples, TWO).tolist() == [1, 1, 1, 0]
    assert matched(samples, TWO, mean).tolist() == [-1, -1, 1, 0]


def test_coverage_precision_and_total_variation_of_a_worked_example():
    futures, probability = torch.tensor([[0.0], [10.0], [20.0]]), torch.tensor([0.5, 0.25, 0.25])
    found = scored(torch.tensor([[0.0], [0.1], [10.0], [5.0]]), futures, probability)
    # shown: the first twice, the second once, none once; |0.25 - 0| + |0.5 - 0.5| + |0.25 - 0.25| + |0 - 0.25|, halved
    assert found.coverage == pytest.approx(2 / 3)
    assert found.precision == pytest.approx(3 / 4)
    assert found.total_variation == pytest.approx(0.25)


def test_a_sampler_that_is_perfect_covers_all_with_a_small_total_variation():
    futures, probability = apart(5), torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    found = scored(drawn(futures, probability, 5000), futures, probability)
    assert (found.coverage, found.precision) == (1.0, 1.0)
    assert found.total_variation < 0.02
    # the control: all futures, but as often as each other
    equal = scored(drawn(futures, torch.full((5,), 0.2), 5000), futures, probability)
    assert equal.total_variation == pytest.approx(0.3, abs=0.02)


def test_a_model_without_a_latent_variable_covers_at_most_one_future():
    futures, probability = apart(4), torch.tensor([0.4, 0.3, 0.2, 0.1])
    one = scored(futures[:1].expand(16, -1), futures, probability)
    assert (one.coverage, one.precision) == (0.25, 1.0)
    assert one.total_variation == pytest.approx(0.6)
    mean = scored((probability @ futures).expand(16, -1), futures, probability)
    assert (mean.coverage, mean.precision, mean.total_variation) == (0.0, 0.0, pytest.approx(1.0))


def test_expected_coverage_of_a_worked_example():
    # two equal futures, two draws: both are drawn half of the time
    assert expected_coverage(torch.tensor([0.5, 0.5]), 2) == pytest.approx(0.75)
    assert expected_coverage(torch.tensor([0.9, 0.1]), 1) == pytest.approx(0.5)
    assert expected_coverage(torch.tensor([1.0]), 1) == 1.0


def test_expected_total_variation_of_a_worked_example():
    # two equal futures, two draws: 0.5 where both are the same, which half of them are, else 0
    assert expected_total_variation(torch.tensor([0.5, 0.5]), 2) == pytest.approx(0.25)
    assert expected_total_variation(torch.tensor([0.9, 0.1]), 1) == pytest.approx(0.9 * 0.1 + 0.1 * 0.9)
    assert expected_total_variation(torch.tensor([1.0]), 3) == 0.0


@pytest.mark.parametrize("samples", [16, 20])
def test_draws_from_the_truth_have_the_expected_total_variation(samples):
    futures, probability = apart(6), torch.tensor([0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    found = [
        scored(drawn(futures, probability, samples, seed), futures, probability).total_variation for seed in range(300)
    ]
    error = np.std(found) / len(found) ** 0.5
    assert np.mean(found) == pytest.approx(expected_total_variation(probability, samples), abs=4 * error)
    assert error < 0.01


def test_draws_from_the_truth_reach_the_expected_coverage():
    futures, probability = apart(6), torch.tensor([0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    found = [scored(drawn(futures, probability, 16, seed), futures, probability).coverage for seed in range(300)]
    error = np.std(found) / len(found) ** 0.5
    assert np.mean(found) == pytest.approx(expected_coverage(probability, 16), abs=4 * error)
    assert error < 0.01
