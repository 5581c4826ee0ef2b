"""The linear probe learns what is linear, and chooses its penalty without the test part."""

import numpy as np
import pytest
import torch

import mmssl.evaluate.probe as probe
from mmssl.errors import DataError, NumericError
from mmssl.evaluate.probe import linear_probe, split


def clusters(samples: int, seed: int, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(samples) % 3
    centres = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    return centres[y] + noise * torch.randn(samples, 8, generator=generator), y


def test_probe_is_perfect_on_separable_classes():
    result = linear_probe(*clusters(90, 1, noise=0.05), *clusters(60, 2, noise=0.05))
    assert result.accuracy == result.validation_accuracy == 1.0
    assert result.converged


def test_probe_is_near_chance_on_shuffled_labels():
    (train_x, train_y), (test_x, test_y) = clusters(300, 1), clusters(300, 2)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(5)) % 300
    # Chance is 1/3, and 300 independent test labels leave a standard deviation of sqrt(2/9/300) = 0.027.
    accuracy = linear_probe(train_x, train_y[order[:300]], test_x, test_y[order[300:]]).accuracy
    assert accuracy == pytest.approx(1 / 3, abs=3 * 0.027)
    assert linear_probe(train_x, train_y, test_x, test_y).accuracy > 0.7  # the check can fail


def test_probe_chooses_its_penalty_without_the_test_part():
    (train_x, train_y), (test_x, test_y) = clusters(120, 1), clusters(90, 2)
    reference = linear_probe(train_x, train_y, test_x, test_y)
    for other_x, other_y in [(test_x, test_y.roll(1)), (-9 * test_x, test_y), (test_x[:3], test_y[:3])]:
        result = linear_probe(train_x, train_y, other_x, other_y)
        assert result.regularization == reference.regularization
        assert result.validation_accuracy == reference.validation_accuracy
    assert linear_probe(train_x, train_y, test_x, test_y.roll(1)).accuracy < 0.5 < reference.accuracy


def test_probe_chooses_its_penalty_by_the_training_labels():
    # Many features of noise beside one that tells: strong and weak penalties differ, so the choice is one.
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(100) % 2
    x = torch.randn(100, 60, generator=generator)
    x[:, 0] = 4.0 * y + 0.5 * torch.randn(100, generator=generator)
    informative = linear_probe(x, y, x, y)
    noise = linear_probe(x, y[torch.randperm(100, generator=generator)], x, y)
    assert informative.validation_accuracy > noise.validation_accuracy + 0.2
    assert informative.regularization in probe.STRENGTHS


def test_probe_of_equals_takes_the_strongest_penalty():
    result = linear_probe(*clusters(90, 1, noise=0.0), *clusters(60, 2, noise=0.0))
    assert result.regularization == min(probe.STRENGTHS)


def test_probe_ignores_the_scale_and_offset_of_each_feature():
    (train_x, train_y), (test_x, test_y) = clusters(120, 1), clusters(90, 2)
    scale, offset = torch.logspace(-3, 3, 8, dtype=torch.float64), torch.linspace(-50, 50, 8, dtype=torch.float64)
    reference = linear_probe(train_x.double(), train_y, test_x.double(), test_y)
    moved = linear_probe(train_x.double() * scale + offset, train_y, test_x.double() * scale + offset, test_y)
    assert moved == reference


def test_probe_gives_the_same_numbers_again_and_others_for_another_seed():
    x, y = clusters(120, 1)
    assert linear_probe(x, y, x, y, seed=3) == linear_probe(x, y, x, y, seed=3)
    assert split(y.numpy(), 3)[1].tolist() != split(y.numpy(), 4)[1].tolist()


def test_split_validates_on_a_fifth_of_each_class():
    y = np.array([4] * 50 + [9] * 25 + [2] * 10)
    fit, validation = split(y, seed=0)
    assert sorted([*fit, *validation]) == list(range(85))
    assert [int((y[validation] == label).sum()) for label in (4, 9, 2)] == [10, 5, 2]


def test_split_leaves_a_sample_to_fit_on_of_each_class_that_has_two():
    for seed in range(20):
        y = np.repeat(np.arange(11), 2)
        fit, _ = split(y, seed)
        assert set(y[fit]) == set(range(11))


def test_probe_counts_a_class_of_the_test_part_only_as_an_error():
    (train_x, train_y), (test_x, _) = clusters(90, 1), clusters(60, 2)
    assert linear_probe(train_x, train_y, test_x, torch.full((60,), 8)).accuracy == 0.0


def test_probe_says_where_it_did_not_converge(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "MAXIMAL_ITERATIONS", 2)
    assert not linear_probe(*clusters(90, 1), *clusters(60, 2)).converged


def test_probe_of_collapsed_embeddings_is_chance():
    y = torch.arange(60) % 3
    assert linear_probe(torch.full((60, 8), 0.1), y, torch.full((60, 8), 0.1), y).accuracy == pytest.approx(1 / 3)


def test_probe_refuses_what_it_cannot_use():
    x, y = clusters(30, 1)
    with pytest.raises(DataError, match="got 30 training samples of 1 classes, expected at least 5"):
        linear_probe(x, torch.zeros_like(y), x, y)
    with pytest.raises(DataError, match="got 4 training samples of 3 classes"):
        linear_probe(x[:4], y[:4], x, y)
    with pytest.raises(DataError, match="test part: got an empty tensor"):
        linear_probe(x, y, x[:0], y[:0])
    with pytest.raises(NumericError, match="training part: 240 of 240"):
        linear_probe(x * float("nan"), y, x, y)
