"""Samples of futures are compared with all that can happen: by hand, and with the built-in world."""

import numpy as np
import pytest
import torch
from media_runs import SMALL, media_config, parts_of
from torchmetrics.functional.image import peak_signal_noise_ratio

from mmssl import savanna
from mmssl.augment import normalise, to_unit
from mmssl.evaluate.completion import Completed
from mmssl.evaluate.futures import expected_coverage, future_results, matched, psnr, scored
from mmssl.random import hashed

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


def test_draws_from_the_truth_reach_the_expected_coverage():
    futures, probability = apart(6), torch.tensor([0.5, 0.3, 0.1, 0.05, 0.03, 0.02])
    found = [scored(drawn(futures, probability, 16, seed), futures, probability).coverage for seed in range(300)]
    error = np.std(found) / len(found) ** 0.5
    assert np.mean(found) == pytest.approx(expected_coverage(probability, 16), abs=4 * error)
    assert error < 0.01


def test_psnr_by_hand_and_by_torchmetrics():
    truth = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert psnr(torch.zeros(3), torch.full((3,), 0.1)) == pytest.approx(20.0)
    assert psnr(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0])) == pytest.approx(3.0103, abs=1e-4)
    assert psnr(truth, truth) == pytest.approx(100.0)  # where the error is below 1e-10
    noisy = truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    assert psnr(noisy, truth) == pytest.approx(float(peak_signal_noise_ratio(noisy, truth, data_range=1.0)), abs=1e-4)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A task of clips of 2 seconds, of which a quarter second is seen, so that several things can happen."""
    config = media_config(
        tmp_path_factory.mktemp("futures"), "video_prediction", "video.frames=8", "method.seen_frames=2",
        "data.samples=24", "evaluate.documents=16",
    )  # fmt: skip
    _, data, inputs, objective = parts_of(config)
    return config, data, inputs, objective


def oracle(config, sampler):
    """Instead of `completed`: whatever `sampler(futures, count)` says of each clip."""

    def completed(part, batch, *, samples):
        whole = batch.views["video"][0]
        found = []
        for _ in range(max(1, samples)):
            found.append(whole.clone())
        for row, index in enumerate(batch.draw.index.tolist()):
            seed = hashed(config.seed, "heldout")
            known = savanna.futures(seed, index, config.video.size, config.video.frames, 2, config.data.seconds)
            for number, guess in enumerate(sampler(known, len(found), index)):
                found[number][row, 2:] = normalise(to_unit(torch.from_numpy(guess)))
        return {"video": Completed(None, whole, whole, torch.zeros_like(whole, dtype=torch.bool), found)}

    return completed


def from_the_truth(known, count, index):
    choice = np.random.default_rng(index).choice(len(known.video), count, p=known.probability)
    return known.video[choice]


def the_mean(known, count, index):
    mean = np.tensordot(known.probability, known.video.astype(float), 1)
    return np.repeat(np.rint(mean).astype(np.uint8)[None], count, 0)


def results_of(clips, monkeypatch, sampler):
    config, data, inputs, objective = clips
    monkeypatch.setattr("mmssl.evaluate.futures.completed", oracle(config, sampler))
    return future_results(objective, inputs, config, data.heldout)


def test_samples_of_the_truth_score_as_the_truth_on_held_out_clips_of_the_world(clips, monkeypatch):
    found = results_of(clips, monkeypatch, from_the_truth)
    assert found["uncertainty.precision"] == 1.0
    assert found["uncertainty.coverage"] == pytest.approx(found["uncertainty.coverage_of_the_truth"], abs=0.1)
    assert found["uncertainty.total_variation"] < 0.35  # 16 samples are few
    assert found["uncertainty.futures"] >= 2
    assert found["video.best_of.16.psnr"] > 60  # the truth is mostly among 16


def test_the_mean_of_all_futures_has_a_higher_psnr_than_a_sample_but_shows_no_future(clips, monkeypatch):
    mean = results_of(clips, monkeypatch, the_mean)
    truth = results_of(clips, monkeypatch, from_the_truth)
    assert mean["uncertainty.coverage"] < 0.2 < truth["uncertainty.coverage"]
    assert mean["uncertainty.precision"] < 0.3
    assert mean["uncertainty.total_variation"] > truth["uncertainty.total_variation"] + 0.3
    assert mean["video.best_of.16.psnr"] == pytest.approx(mean["video.psnr"])  # it has one guess only
    assert truth["video.best_of.16.psnr"] > mean["video.best_of.16.psnr"]


def test_copying_the_last_frame_is_measured_beside_the_model(clips):
    config, data, inputs, objective = clips
    found = future_results(objective, inputs, config, data.heldout)
    count = data.heldout.size
    pixels = torch.stack([data.heldout(np.array([row]))["video"][0][0] for row in range(count)]).double() / 255
    expected = []
    for clip in pixels:
        error = np.mean([float((clip[1] - clip[frame]).square().mean()) for frame in range(2, 8)])
        expected.append(-10 * np.log10(error))
    assert found["video.copy_last.psnr"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert found["video.best_of.16.psnr"] >= found["video.psnr"] - 0.5
    assert found["video.copy_last.psnr"] > found["video.psnr"]  # the model has not learnt yet
    assert found == future_results(objective, inputs, config, data.heldout)


def test_futures_are_compared_where_the_held_out_clips_are_the_worlds(clips):
    config, data, inputs, objective = clips
    for section in ({"source": "elsewhere"}, {"heldout": "elsewhere"}):
        other = config.model_copy(update={"data": config.data.model_copy(update=section)})
        found = future_results(objective, inputs, other, data.heldout)
        assert {key.split(".")[0] for key in found} == {"video"}


def test_a_method_that_continues_no_clip_has_no_futures(clips, tmp_path):
    config, data, inputs, objective = clips
    masked = media_config(tmp_path, "video_prediction", f"method={{name: vjepa, {SMALL}}}")
    assert future_results(objective, inputs, masked, data.heldout) == {}
    sounds = media_config(tmp_path, "audio_pretraining")
    assert future_results(parts_of(sounds)[3], inputs, config, data.heldout) == {}
