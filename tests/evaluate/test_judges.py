"""Distances in the features of a network: Fréchet's in closed form, and networks that a user supplies."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scripted_networks import Brightness, Difference, saved
from torch import Tensor, nn

from mmssl.errors import ConfigError
from mmssl.evaluate.judges import clip_features, frechet, hash_of_weights, load_network, lpips


def normal(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(sample: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The sample moved and stretched until it has exactly this mean and covariance."""
    centred = sample - sample.mean(0)
    root = torch.linalg.cholesky(centred.T @ centred / (len(sample) - 1))
    white = torch.linalg.solve_triangular(root, centred.T, upper=False).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def test_the_frechet_distance_of_two_gaussians_is_the_closed_form():
    # diagonal: sum of (m1 - m2)^2 + (s1 - s2)^2 = 1 + 4 + (1 - 2)^2 + (3 - 1)^2
    first = with_moments(normal(50, 2), torch.tensor([0.0, 1.0]).double(), torch.tensor([1.0, 9.0]).diag().double())
    second = with_moments(normal(60, 2, 1), torch.tensor([1.0, 3.0]).double(), torch.tensor([4.0, 1.0]).diag().double())
    assert frechet(first, second) == pytest.approx(10.0, abs=1e-8)
    assert frechet(second, first) == pytest.approx(10.0, abs=1e-8)


def test_the_frechet_distance_is_that_by_scipys_root_of_a_matrix():
    first, second = normal(40, 5) @ normal(5, 5, 7), normal(30, 5, 1) + 0.5
    covariances = [np.cov(part.numpy().T) for part in (first, second)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = float((first.mean(0) - second.mean(0)).square().sum()) + np.trace(sum(covariances) - 2 * root)
    assert frechet(first, second) == pytest.approx(expected, rel=1e-8)


def test_a_set_has_no_distance_to_itself_and_one_point_only_that_of_the_means():
    few = normal(6, 30)  # of fewer samples than numbers: the covariance is singular
    assert frechet(few, few) == pytest.approx(0.0, abs=1e-9)
    assert frechet(torch.zeros(5, 3), torch.ones(5, 3)) == pytest.approx(3.0)
    # the control: collapsed samples are far from ones that are spread
    assert frechet(few, few[:1].expand(6, -1)) > 20


def test_the_hash_tells_weights_apart_and_nothing_else():
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    second = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert hash_of_weights(first) != hash_of_weights(second)
    second.load_state_dict(first.state_dict())
    assert hash_of_weights(first) == hash_of_weights(second)
    with torch.no_grad():
        next(second.parameters())[0, 0] += 1e-6
    assert hash_of_weights(first) != hash_of_weights(second)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_users_networks_see_pixels_from_minus_one_to_one(tmp_path):
    cpu = torch.device("cpu")
    distance = load_network(saved(Difference(), tmp_path / "lpips.pt"), "evaluate.lpips_weights", cpu)
    black, white = torch.zeros(4, 3, 8, 8), torch.ones(4, 3, 8, 8)
    assert lpips(distance, black, white).tolist() == [2.0] * 4
    features = load_network(saved(Brightness(), tmp_path / "fvd.pt"), "evaluate.fvd_weights", cpu)
    clips = torch.zeros(2, 5, 3, 8, 8)
    clips[1, :, 0] = 1.0
    assert clip_features(features, clips).tolist() == [[-1, -1, -1], [1, -1, -1]]
    with pytest.raises(ConfigError, match=r"lpips_weights: \(4, 3\) for 4 pairs of pictures; expected one number each"):
        lpips(lambda x, y: x.mean((2, 3)), black, white)
    with pytest.raises(ConfigError, match=r"the network failed: .*forward"):
        lpips(features, black, white)
    with pytest.raises(ConfigError, match="answers with list; expected a tensor"):
        clip_features(lambda found: [found], clips)
    with pytest.raises(ConfigError, match="expected 2 rows of features"):
        clip_features(lambda found: found, clips)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("content", [b"", b"not a network", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_network_is_refused(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"evaluate.fvd_weights .*weights.pt: .*expected a TorchScript file"):
        load_network(str(path), "evaluate.fvd_weights", torch.device("cpu"))
    with pytest.raises(ConfigError, match="expected a TorchScript file"):
        load_network(str(tmp_path / "nothing.pt"), "evaluate.fvd_weights", torch.device("cpu"))
