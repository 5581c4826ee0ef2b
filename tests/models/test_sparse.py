"""Claims about sparse codes: the minimum is found, hidden numbers do not count, and a network learns to find it."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from mmssl.models.sparse import Dictionary, Lista, curvature, fista, ista, sampled, soft_threshold, sparse_energy

NUM_SAMPLES, WIDTH, NUM_ATOMS, L1_WEIGHT = 12, 20, 30, 0.2


def dictionary(seed: int = 0) -> torch.Tensor:
    """Unit atoms, more than numbers in y."""
    torch.manual_seed(seed)
    return Dictionary(WIDTH, NUM_ATOMS).weight.detach()


def samples(count: int = NUM_SAMPLES, seed: int = 1) -> torch.Tensor:
    """Sums of three atoms each, with noise."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.randint(NUM_ATOMS, (count, 3), generator=generator)
    weights = 1 + torch.rand(count, 3, generator=generator)
    return (dictionary().T[atoms] * weights[..., None]).sum(1) + 0.05 * torch.randn(count, WIDTH, generator=generator)


def lasso(matrix: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The minimum by coordinate descent; scikit-learn's objective is ours over the numbers of y."""
    model = Lasso(alpha=L1_WEIGHT / len(y), fit_intercept=False, max_iter=100_000, tol=1e-10)
    return model.fit(matrix, y).coef_


def test_the_threshold_is_worked_by_hand():
    found = soft_threshold(torch.tensor([-3.0, -0.5, 0.0, 0.5, 2.0]), 1.0)
    assert found.tolist() == [-2.0, 0.0, 0.0, 0.0, 1.0]


def test_the_energy_is_worked_by_hand():
    y, z, matrix = torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, -1.0]]), torch.eye(2)
    assert sparse_energy(y, z, matrix, 0.5).tolist() == [0.5 * (1 + 4) + 0.5 * 3]
    assert sparse_energy(y, z, matrix, 0.5, torch.tensor([[True, False]])).tolist() == [0.5 * 1 + 0.5 * 3]


def test_fista_finds_the_codes_of_scikit_learns_lasso():
    y, matrix = samples(), dictionary()
    expected = np.stack([lasso(matrix.double().numpy(), row) for row in y.double().numpy()])
    found = fista(y.double(), matrix.double(), L1_WEIGHT, 1500)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert 0 < (found != 0).double().mean() < 0.5
    # the controls: plain ISTA of as few steps and another weight are elsewhere
    assert (ista(y.double(), matrix.double(), L1_WEIGHT, 20) - found).abs().max() > 1e-2
    assert (fista(y.double(), matrix.double(), 2 * L1_WEIGHT, 1500) - found).abs().max() > 1e-2


def test_the_codes_of_what_is_seen_are_those_of_the_rows_that_are_seen():
    y, matrix, seen = samples().double(), dictionary().double(), torch.arange(WIDTH).expand(NUM_SAMPLES, WIDTH) < 12
    found = fista(y, matrix, L1_WEIGHT, 1500, seen)
    expected = np.stack([lasso(matrix[:12].numpy(), row) for row in y[:, :12].numpy()])
    energies = [sparse_energy(y, z, matrix, L1_WEIGHT, seen) for z in (found, torch.from_numpy(expected))]
    torch.testing.assert_close(energies[0], energies[1], atol=1e-6, rtol=0)
    changed = torch.where(seen, y, 100.0)
    torch.testing.assert_close(fista(changed, matrix, L1_WEIGHT, 50, seen), fista(y, matrix, L1_WEIGHT, 50, seen))


def test_each_step_of_ista_lowers_the_energy_and_fista_is_faster():
    y, matrix = samples(), dictionary()

    def energy(infer, steps):
        return sparse_energy(y, infer(y, matrix, L1_WEIGHT, steps), matrix, L1_WEIGHT)

    path = torch.stack([energy(ista, steps) for steps in range(0, 30, 3)])
    assert (path[1:] <= path[:-1] + 1e-6).all()
    assert path[-1].mean() < 0.5 * path[0].mean()
    least = energy(fista, 500).mean()
    assert energy(fista, 30).mean() - least < 0.2 * (energy(ista, 30).mean() - least)


def test_the_curvature_is_the_largest_squared_singular_value_of_either_shape():
    torch.testing.assert_close(curvature(dictionary()), torch.linalg.matrix_norm(dictionary(), 2).square())
    torch.testing.assert_close(curvature(dictionary().T), curvature(dictionary()))


def test_the_gradient_of_the_least_energy_is_that_at_its_codes():
    y, matrix = samples(3).double(), dictionary().double().requires_grad_()

    def least(weight):
        return sparse_energy(y, fista(y, weight, L1_WEIGHT, 500), weight, L1_WEIGHT).sum()

    (slope,) = torch.autograd.grad(least(matrix), matrix)
    direction = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        difference = (least(matrix + 1e-5 * direction) - least(matrix - 1e-5 * direction)) / 2e-5
    torch.testing.assert_close((slope * direction).sum(), difference, rtol=1e-4, atol=0)


def test_atoms_keep_norm_one():
    made = Dictionary(WIDTH, NUM_ATOMS)
    with torch.no_grad():
        made.weight.mul_(7)
    made.project()
    torch.testing.assert_close(made.weight.norm(dim=0), torch.ones(NUM_ATOMS))


@pytest.mark.parametrize("layers", [1, 2, 7])
def test_a_network_begins_as_so_many_steps_of_ista(layers):
    y, matrix = samples(), dictionary()
    network = Lista(matrix, L1_WEIGHT, layers)
    torch.testing.assert_close(network(y), ista(y, matrix, L1_WEIGHT, layers))
    seen = torch.arange(WIDTH).expand(NUM_SAMPLES, WIDTH) % 2 == 0
    torch.testing.assert_close(network(y, seen), ista(y, matrix, L1_WEIGHT, layers, seen))
    assert not torch.allclose(network(y), ista(y, matrix, L1_WEIGHT, layers + 1), atol=1e-3)


def test_a_network_of_few_layers_learns_what_many_steps_find():
    y, others, matrix = samples(256), samples(128, seed=2), dictionary()
    network = Lista(matrix, L1_WEIGHT, 4)
    target, expected = (fista(given, matrix, L1_WEIGHT, 500) for given in (y, others))
    before = (network(others) - expected).square().mean()
    stepper = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(100):
        (network(y) - target).square().mean().backward()
        stepper.step()
        stepper.zero_grad()
    assert (network(others) - expected).square().mean() < 0.3 * before


def density(y: float, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(-E / temperature) of one number of y and one atom, on a grid, as probabilities."""
    grid = torch.linspace(-4, 6, 20001, dtype=torch.float64)
    energy = 0.5 * (y - grid).square() + L1_WEIGHT * grid.abs()
    return grid, torch.softmax(-energy / temperature, 0)


@pytest.mark.parametrize("y", [0.0, 0.3, 2.0])
def test_what_is_sampled_has_the_moments_of_the_distribution_of_its_energy(y):
    temperature, count = 0.3, 20_000
    noise = torch.randn(100, count, 1, generator=torch.Generator().manual_seed(0))
    start = torch.zeros(count, 1)
    found = sampled(torch.full((count, 1), y), start, torch.ones(1, 1), L1_WEIGHT, temperature, noise)
    grid, probability = density(y, temperature)
    mean = (grid * probability).sum()
    deviation = ((grid - mean).square() * probability).sum().sqrt()
    assert abs(found.mean() - mean) < 0.03
    assert abs(found.std() / deviation - 1) < 0.12  # a step of 0.2 alone adds 5 %
    # the control: at another temperature it is another one
    _, other = density(y, 2 * temperature)
    assert abs(found.std() / ((grid - mean).square() * other).sum().sqrt() - 1) > 0.2


def test_an_atom_of_which_nothing_is_seen_is_drawn_from_the_laplace_prior():
    noise = torch.randn(2000, 2000, 2, generator=torch.Generator().manual_seed(0))
    y, seen = torch.zeros(2000, 2), torch.tensor([[True, False]]).expand(2000, 2)
    found = sampled(y, torch.zeros(2000, 2), torch.eye(2), L1_WEIGHT, 0.1, noise, seen)[:, 1]
    assert abs(found.abs().mean() / (0.1 / L1_WEIGHT) - 1) < 0.15  # mean |z| is temperature / weight
    assert found.sign().mean().abs() < 0.1
