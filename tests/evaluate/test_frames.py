"""Measures of predicted frames: by hand, by torchmetrics, and by sums over all pairs."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from mmssl.evaluate.frames import apart, crps, decibels, diversity, energy_score, of_distribution, quality


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_decibels_of_worked_errors():
    # an error of 0.1 everywhere is 20 dB, of 0.5 half of the time 9.03 dB; none at all counts as 1e-10
    found = decibels(torch.tensor([0.01, 0.125, 0.0]))
    assert found.tolist() == pytest.approx([20.0, 9.0309, 100.0], abs=1e-4)


def test_psnr_and_ssim_are_those_of_torchmetrics():
    truth = noise(4, 3, 16, 24)
    predictions = (truth + 0.1 * torch.randn(2, *truth.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    found = quality(predictions, truth)
    assert found.ssim is not None
    assert found.ssim_per_frame is not None
    for row in range(2):
        expected = float(peak_signal_noise_ratio(predictions[row], truth, data_range=1.0))
        assert float(found.psnr[row]) == pytest.approx(expected, abs=1e-4)
        for frame in range(4):
            one, other = predictions[row, frame : frame + 1], truth[frame : frame + 1]
            expected = float(peak_signal_noise_ratio(one, other, data_range=1.0))
            assert float(found.psnr_per_frame[row, frame]) == pytest.approx(expected, abs=1e-4)
            expected = float(structural_similarity_index_measure(one, other, data_range=1.0))  # type: ignore[arg-type]
            assert float(found.ssim_per_frame[row, frame]) == pytest.approx(expected, abs=1e-5)
        assert float(found.ssim[row]) == pytest.approx(float(found.ssim_per_frame[row].mean()))


def test_many_frames_are_compared_as_few_are(monkeypatch):
    truth, predictions = noise(3, 3, 16, 16), noise(4, 3, 3, 16, 16, seed=1)
    whole = quality(predictions, truth).ssim_per_frame
    monkeypatch.setattr("mmssl.evaluate.frames.AT_ONCE", 5)
    parts = quality(predictions, truth).ssim_per_frame
    assert whole is not None
    assert parts is not None
    torch.testing.assert_close(parts, whole)


def test_of_equal_frames_ssim_is_one_and_frames_below_the_window_have_none():
    truth = noise(2, 3, 11, 11)
    same = quality(truth[None], truth)
    assert same.ssim is not None
    assert float(same.ssim[0]) == pytest.approx(1.0)
    assert float(same.psnr[0]) == 100.0
    assert quality(truth[None, ..., :10], truth[..., :10]).ssim is None


def test_the_energy_score_is_that_of_all_pairs():
    samples, truth = noise(7, 30), noise(30, seed=5)
    first = np.mean([np.sqrt(np.mean((samples[i] - truth).numpy() ** 2)) for i in range(7)])
    pairs = [np.sqrt(np.mean((samples[i] - samples[j]).numpy() ** 2)) for i in range(7) for j in range(7) if i != j]
    assert energy_score(samples, truth) == pytest.approx(first - 0.5 * np.mean(pairs), rel=1e-6)
    assert diversity(samples) == pytest.approx(np.mean(pairs), rel=1e-6)
    # by hand: samples 0 and 2 of a truth 1 in one pixel: mean distance 1, distance of the two 2
    assert energy_score(torch.tensor([[0.0], [2.0]]), torch.tensor([1.0])) == pytest.approx(0.0)


def test_crps_is_the_energy_score_of_each_pixel():
    samples, truth = noise(9, 12), noise(12, seed=5)
    each = [energy_score(samples[:, [pixel]], truth[[pixel]]) for pixel in range(12)]
    assert crps(samples, truth) == pytest.approx(np.mean(each), rel=1e-6)


def test_crps_of_a_normal_distribution_is_the_known_one():
    """Gneiting & Raftery 2007, eq. 20: sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), here at z = 0.7."""
    samples = torch.randn(2000, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = 0.7
    expected = z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)
    assert crps(samples, torch.full((200,), z, dtype=torch.float64)) == pytest.approx(expected, abs=2e-3)


def test_the_estimate_of_the_energy_score_has_no_bias_at_two_samples():
    """Two values alike often, the truth is one of them: E|X - y| - E|X - X'| / 2 = 1/2 - 1/4."""
    flips = (noise(3000, 2, 1) < 0.5).float()
    found = [energy_score(pair, torch.zeros(1)) for pair in flips]
    assert np.mean(found) == pytest.approx(0.25, abs=4 * np.std(found) / 3000**0.5)
    # the control: dividing by S^2, pairs of a sample with itself included, would give 0.375
    biased = [float(pair.mean() - 0.5 * apart(pair).mean()) for pair in flips]
    assert np.mean(biased) > 0.35


def test_the_truth_has_the_lowest_score_and_one_sharp_or_blurred_answer_a_higher_one():
    futures, share = noise(3, 40), torch.tensor([0.5, 0.3, 0.2])
    generator = torch.Generator().manual_seed(3)

    def drawn(probability: torch.Tensor, count: int) -> torch.Tensor:
        return futures[torch.multinomial(probability, count, replacement=True, generator=generator)]

    scores: dict[str, list[float]] = {name: [] for name in ("truth", "equal", "one", "mean")}
    for truth in drawn(share, 400):
        scores["truth"].append(energy_score(drawn(share, 20), truth))
        scores["equal"].append(energy_score(drawn(torch.tensor([0.05, 0.05, 0.9]), 20), truth))
        scores["one"].append(energy_score(futures[:1].expand(20, -1), truth))
        scores["mean"].append(energy_score((share @ futures)[None], truth))
    means = {name: np.mean(found) for name, found in scores.items()}
    assert means["truth"] < min(means["equal"], means["one"], means["mean"]) - 0.01
    expected = np.mean([of_distribution(futures, share, truth)[0] for truth in drawn(share, 400)])
    assert means["truth"] == pytest.approx(float(expected), abs=0.02)


def test_of_a_distribution_over_few_values_by_hand():
    # 0 three times in four, else 2; the truth is 0: mean distance 0.5, of two draws 2 * 3/4 * 1/4 * 2 = 0.75
    score, spread = of_distribution(torch.tensor([[0.0], [2.0]]), torch.tensor([0.75, 0.25]), torch.zeros(1))
    assert (score, spread) == (pytest.approx(0.125), pytest.approx(0.75))


def test_samples_that_are_all_the_same_have_no_diversity_and_the_score_of_one():
    one = noise(1, 3000)
    assert diversity(one) == 0.0
    assert diversity(one.expand(100, -1)) == pytest.approx(0.0, abs=1e-6)
    truth = noise(3000, seed=2)
    assert energy_score(one.expand(100, -1), truth) == pytest.approx(energy_score(one, truth), abs=1e-6)
    assert crps(one.expand(100, -1), truth) == pytest.approx(float((one - truth).abs().mean()), rel=1e-5)
