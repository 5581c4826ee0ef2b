"""The nearest neighbours vote as Wu et al. say, with ties that do not depend on the machine."""

import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

import mmssl.evaluate.knn as knn
from mmssl.errors import ConfigError, DataError, NumericError
from mmssl.evaluate.knn import knn_accuracy, nearest


def at_angles(*degrees: float) -> torch.Tensor:
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def clusters(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(6, (samples,), generator=generator)
    centres = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    return centres[y] + torch.randn(samples, 10, generator=generator), y


def test_knn_weighs_votes_by_similarity_over_temperature():
    # From 0 degrees: class 0 at 10, class 1 at 40 and -40. Temperature 0.07: exp(0.985/0.07) against 2 exp(0.766/0.07),
    # so 0 wins by a factor of 11; at temperature 10 the two weigh nearly as much as two, so 1 wins.
    train, labels = at_angles(10, 40, -40), torch.tensor([0, 1, 1])
    ratio = math.exp((math.cos(math.radians(10)) - math.cos(math.radians(40))) / 0.07) / 2
    assert ratio == pytest.approx(11.4, abs=0.3)
    assert knn_accuracy(train, labels, at_angles(0), torch.tensor([0]), k=3) == 1.0
    assert knn_accuracy(train, labels, at_angles(0), torch.tensor([1]), k=3, temperature=10.0) == 1.0


def test_knn_counts_only_the_k_nearest():
    train, labels = at_angles(1, 20, 21, 22), torch.tensor([0, 1, 1, 1])
    assert knn_accuracy(train, labels, at_angles(0), torch.tensor([0]), k=1, temperature=10.0) == 1.0
    assert knn_accuracy(train, labels, at_angles(0), torch.tensor([0]), k=3, temperature=10.0) == 0.0


def test_knn_with_one_neighbour_equals_scikit_learn():
    (train_x, train_y), (test_x, test_y) = clusters(300, 1), clusters(200, 2)
    oracle = KNeighborsClassifier(n_neighbors=1, metric="cosine").fit(train_x.numpy(), train_y.numpy())
    expected = oracle.score(test_x.numpy(), test_y.numpy())
    assert 0.3 < expected < 0.95
    assert knn_accuracy(train_x, train_y, test_x, test_y, k=1) == pytest.approx(expected)


def test_knn_equals_scikit_learn_with_the_same_weights():
    (train_x, train_y), (test_x, test_y) = clusters(300, 1), clusters(200, 2)
    oracle = KNeighborsClassifier(n_neighbors=15, metric="cosine")
    oracle.set_params(weights=lambda distance: math.e ** (-distance / 0.3))
    expected = oracle.fit(train_x.numpy(), train_y.numpy()).score(test_x.numpy(), test_y.numpy())
    assert knn_accuracy(train_x, train_y, test_x, test_y, k=15, temperature=0.3) == pytest.approx(expected)


def test_knn_ignores_the_length_of_embeddings_and_the_names_of_classes():
    (train_x, train_y), (test_x, test_y) = clusters(100, 1), clusters(80, 2)
    reference = knn_accuracy(train_x, train_y, test_x, test_y)
    assert knn_accuracy(8 * train_x, train_y, test_x / 4, test_y) == reference
    assert knn_accuracy(train_x, 1000 * train_y - 7, test_x, 1000 * test_y - 7) == reference


def test_knn_lets_all_vote_where_k_is_larger_than_the_training_part():
    train, labels = at_angles(0, 30, 60), torch.tensor([0, 1, 1])
    assert knn_accuracy(train, labels, at_angles(0), torch.tensor([1]), k=100, temperature=10.0) == 1.0


def test_knn_gives_a_tied_vote_to_the_smaller_label():
    train, labels = at_angles(30, -30), torch.tensor([5, 2])
    assert knn_accuracy(train, labels, at_angles(0), torch.tensor([2]), k=2) == 1.0


def test_knn_gives_a_tied_place_to_the_earlier_training_sample():
    similarity = torch.tensor([[0.5, 0.9, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
    assert nearest(similarity, 2).tolist() == [[0, 1], [0, 1], [0, 1]]
    assert nearest(similarity, 3).tolist() == [[0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert nearest(similarity.flip(1), 1).tolist() == [[2], [0], [3]]


def test_knn_does_not_depend_on_the_size_of_its_chunks(monkeypatch: pytest.MonkeyPatch):
    (train_x, train_y), (test_x, test_y) = clusters(100, 1), clusters(83, 2)
    reference = knn_accuracy(train_x, train_y, test_x, test_y)
    monkeypatch.setattr(knn, "CHUNK_ELEMENTS", 7 * 100)
    assert knn_accuracy(train_x, train_y, test_x, test_y) == reference


def test_knn_counts_a_class_of_the_test_part_only_as_an_error():
    train, labels = at_angles(0, 90), torch.tensor([0, 1])
    assert knn_accuracy(train, labels, at_angles(1, 2), torch.tensor([0, 7]), k=1) == 0.5


def test_knn_on_collapsed_embeddings_is_chance():
    labels = torch.arange(40) % 4
    assert knn_accuracy(torch.ones(40, 8), labels, torch.ones(40, 8), labels) == 0.25


def test_knn_refuses_what_it_cannot_use():
    x, y = at_angles(0, 90), torch.tensor([0, 1])
    with pytest.raises(ConfigError, match="got k=0"):
        knn_accuracy(x, y, x, y, k=0)
    with pytest.raises(ConfigError, match=r"temperature=0\.0"):
        knn_accuracy(x, y, x, y, temperature=0.0)
    with pytest.raises(DataError, match="training part: got an empty tensor"):
        knn_accuracy(x[:0], y[:0], x, y)
    with pytest.raises(NumericError, match="test part: 1 of 4"):
        knn_accuracy(x, y, torch.tensor([[0.0, 1.0], [1.0, float("nan")]]), y)
