"""Claims about k-means: its steps are scikit-learn's, empty clusters are repaired, unit vectors stay unit vectors."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from mmssl.kmeans import kmeans, nearest, split_into_empty

X = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))


def start_of(seed: int, k: int) -> np.ndarray:
    """The samples that k-means begins from."""
    return X[torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))[:k]].numpy()


@pytest.mark.parametrize("seed", [0, 1])
def test_it_ends_where_scikit_learn_does_from_the_same_start(seed):
    found = kmeans(X, 7, seed=seed, iterations=100)
    other = KMeans(7, init=start_of(seed, 7), n_init=1, max_iter=100, tol=0).fit(X.numpy())
    torch.testing.assert_close(found.centres, torch.from_numpy(other.cluster_centers_), atol=1e-4, rtol=1e-4)
    assert found.label.tolist() == other.labels_.tolist()
    assert kmeans(X, 7, seed=seed + 2, iterations=1).label.tolist() != found.label.tolist()  # the control


def test_the_nearest_centre_is_that_of_all_distances():
    centres = torch.randn(11, 5, generator=torch.Generator().manual_seed(3))
    assert nearest(X, centres).tolist() == torch.cdist(X, centres).argmin(1).tolist()
    assert nearest(torch.zeros(1, 2), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).tolist() == [0]  # a tie


@pytest.mark.parametrize("repair", [True, False])
def test_an_empty_cluster_takes_a_half_of_another_one(repair):
    # half of the samples are one and the same: as centres they are equal, and only the first of equals gets samples
    x = torch.cat([torch.zeros(150, 2), torch.randn(150, 2, generator=torch.Generator().manual_seed(1)) + 5])
    count = kmeans(x, 20, seed=0, iterations=10, repair=repair).label.bincount(minlength=20)
    assert bool(count[count > 0].numel() > 14) is repair


def test_a_repaired_centre_lies_beside_its_donor():
    centres = torch.tensor([[1.0, 1.0], [9.0, 9.0]])
    split_into_empty(centres, torch.tensor([4, 0]), torch.Generator().manual_seed(0))
    torch.testing.assert_close(centres.mean(0), torch.ones(2))
    assert 0 < float((centres[0] - centres[1]).norm()) < 0.01


def test_spherical_centres_have_length_one_and_are_mean_directions():
    x = torch.nn.functional.normalize(X, dim=1)
    found = kmeans(x, 4, seed=0, spherical=True)
    torch.testing.assert_close(found.centres.norm(dim=1), torch.ones(4))
    means = torch.stack([x[found.label == number].mean(0) for number in range(4)])
    direction = torch.nn.functional.cosine_similarity(means, found.centres)
    assert float(direction.min()) > 0.99


def test_fewer_samples_than_clusters_are_no_error_and_the_seed_decides():
    assert kmeans(X[:3], 5, seed=0).label.unique().numel() == 3
    one, other = (kmeans(X, 6, seed=seed, iterations=1).centres for seed in (0, 1))
    assert torch.equal(one, kmeans(X, 6, seed=0, iterations=1).centres)
    assert not torch.allclose(one, other)
