"""Predicted frames of held-out clips are measured beside guesses, by samplers that know what can come and by models."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from media_runs import SMALL, media_config, parts_of
from scripted_networks import Brightness, Difference, saved

from mmssl.augment import normalise, to_unit
from mmssl.evaluate import futures as module
from mmssl.evaluate.completion import Completed, completed
from mmssl.evaluate.frames import quality
from mmssl.evaluate.futures import future_results, nearest_seen
from mmssl.evaluate.media import is_baseline
from mmssl.random import hashed
from mmssl.savanna import digits

SEEN, COUNT = 2, 16


def config_of(folder, *overrides):
    """Clips of digits of 2 seconds, of which the first half is seen."""
    return media_config(
        folder, "video_prediction", "data.source=digits", "video.frames=4", "data.samples=40",
        f"evaluate.documents={COUNT}", *overrides,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A task with an untrained model with a latent variable."""
    config = config_of(tmp_path_factory.mktemp("futures"))
    _, data, inputs, objective = parts_of(config)
    return config, data, inputs, objective


@cache
def known(seed, index):
    """The futures of a held-out clip."""
    return digits.futures(hashed(seed, "heldout"), index, 16, 4, SEEN, 2.0)


def oracle(config, sampler):
    """Instead of `completed`: whatever `sampler(futures, index, number of the sample)` says of each clip."""

    def completed(part, batch, *, samples, first=0):
        whole = batch.views["video"][0]
        is_hidden = torch.zeros_like(whole, dtype=torch.bool)
        is_hidden[:, SEEN:] = True
        found = []
        for number in range(first, first + max(1, samples)):
            found.append(whole.clone())
            for row, index in enumerate(batch.draw.index.tolist()):
                guess = sampler(known(config.seed, index), index, number)
                found[-1][row, SEEN:] = normalise(to_unit(torch.from_numpy(guess)))
        return {"video": Completed(None, whole, whole, is_hidden, found)}

    return completed


def from_the_truth(known, index, number):
    choice = np.random.default_rng([index, number]).choice(len(known.video), p=known.probability)
    return known.video[choice]


def the_mean(known, index, number):
    return np.rint(np.tensordot(known.probability, known.video.astype(float), 1)).astype(np.uint8)


def the_likeliest(known, index, number):
    return known.video[known.probability.argmax()]


def results_of(clips, monkeypatch, sampler, **changes):
    config, data, inputs, objective = clips
    config = config.model_copy(update={"evaluate": config.evaluate.model_copy(update=changes)})
    monkeypatch.setattr("mmssl.evaluate.futures.completed", oracle(config, sampler))
    return future_results(objective, inputs, config, data.heldout)


def test_samples_of_the_truth_score_as_the_truth(clips, monkeypatch):
    found = results_of(clips, monkeypatch, from_the_truth)
    assert found["video.best_of.20.psnr"] == 100.0  # the truth is among 20
    assert found["video.best_of.20.ssim"] == pytest.approx(1.0)
    assert found["video.diversity"] == pytest.approx(found["video.diversity.of_the_truth"], rel=0.1)
    assert found["video.energy_score"] == pytest.approx(found["video.energy_score.of_the_truth"], abs=0.01)
    assert found["video.mean_of_samples.psnr"] == pytest.approx(found["video.mean_of_futures.psnr"], abs=1.0)


def test_the_mean_has_the_best_psnr_and_the_truth_the_best_energy_score(clips, monkeypatch):
    truth, mean, likeliest = (
        results_of(clips, monkeypatch, each) for each in (from_the_truth, the_mean, the_likeliest)
    )
    assert mean["video.psnr"] == pytest.approx(mean["video.mean_of_futures.psnr"], abs=0.05)
    assert mean["video.best_of.20.psnr"] == pytest.approx(mean["video.psnr"])  # it has one guess only
    assert mean["video.diversity"] == pytest.approx(0.0, abs=1e-6)
    assert truth["video.energy_score"] < min(mean["video.energy_score"], likeliest["video.energy_score"])
    assert truth["video.crps"] < likeliest["video.crps"]
    assert truth["video.frechet"] >= 0
    assert truth["video.best_of.1.psnr"] < truth["video.best_of.5.psnr"] <= truth["video.best_of.20.psnr"]


def test_every_figure_is_that_of_the_clips_one_by_one(clips):
    """PSNR and SSIM of the untrained model's own predictions, per frame and together."""
    config, data, inputs, objective = clips
    found = future_results(objective, inputs, config, data.heldout)
    psnr, last, best = [], [], []
    for batch in module.heldout_batches(data.heldout, config.seed, COUNT, torch.device("cpu"), 1):
        given = inputs(batch)
        truth = batch.views["video"][0][0].float() / 255
        likely = bytes_of(completed(objective, given, samples=0)["video"].samples[0][0])
        drawn = [bytes_of(one[0]) for one in completed(objective, given, samples=5)["video"].samples]
        psnr.append(quality(likely[None, SEEN:], truth[SEEN:]))
        last.append(quality(truth[SEEN - 1].expand_as(truth[SEEN:])[None], truth[SEEN:]))
        best.append(max(float(quality(one[None, SEEN:], truth[SEEN:]).psnr) for one in drawn))
    for key, parts in (("video", psnr), ("video.copy_last", last)):
        assert found[f"{key}.psnr"] == pytest.approx(np.mean([float(one.psnr) for one in parts]), abs=1e-4)
        assert found[f"{key}.ssim"] == pytest.approx(np.mean([float(one.ssim) for one in parts]), abs=1e-4)
        for name in ("psnr_per_frame", "ssim_per_frame"):
            expected = torch.cat([getattr(one, name) for one in parts]).mean(0)
            assert found[f"{key}.{name}"] == pytest.approx(expected.tolist(), abs=1e-4)
    assert found["video.best_of.5.psnr"] == pytest.approx(np.mean(best), abs=1e-4)
    assert found == future_results(objective, inputs, config, data.heldout)


def bytes_of(clip: torch.Tensor) -> torch.Tensor:
    """A clip in the encoder's units as pixels of 8 bits in [0, 1]."""
    return ((clip * 0.25 + 0.5) * 255).round().clamp(0, 255) / 255


def test_neither_the_portions_nor_the_clips_at_once_change_anything(clips, monkeypatch):
    config, data, inputs, objective = clips
    whole = future_results(objective, inputs, config, data.heldout)
    monkeypatch.setattr(module, "PORTION", 3)
    monkeypatch.setattr(module, "KEPT_BYTES", 20 * 3 * 4 * 16 * 16 * 2)  # two clips at a time
    parts = future_results(objective, inputs, config, data.heldout)
    for key, value in whole.items():
        assert parts[key] == pytest.approx(value, abs=2e-3), key


def test_best_of_is_of_as_many_samples_as_are_drawn(clips, monkeypatch):
    for count, expected in ((3, {1, 3}), (20, {1, 5, 20})):
        found = results_of(clips, monkeypatch, from_the_truth, futures=count)
        assert {int(key.split(".")[2]) for key in found if key.startswith("video.best_of")} == expected
    # of one sample nothing is known of the distance of two: no score
    one = results_of(clips, monkeypatch, from_the_truth, futures=1)
    assert not {"video.energy_score", "video.crps", "video.diversity"} & one.keys()


def test_a_model_with_one_answer_is_a_distribution_without_spread(clips, tmp_path):
    config = config_of(tmp_path, f"method={{name: frame_prediction, seen_frames: 2, {SMALL}}}")
    _, data, inputs, objective = parts_of(config)
    found = future_results(objective, inputs, config, data.heldout)
    assert found["video.diversity"] == 0.0
    assert found["video.best_of.1.psnr"] == found["video.best_of.20.psnr"] == found["video.psnr"]


def test_the_nearest_seen_frame_is_the_last_before_a_future_and_the_first_after_a_past():
    whole = torch.arange(5.0)[:, None, None, None].expand(5, 3, 2, 2)
    hidden = torch.tensor([False, False, True, True, True])
    assert nearest_seen(whole, hidden)[:, 0, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert nearest_seen(whole, hidden.flip(0))[:, 0, 0, 0].tolist() == [3.0, 3.0, 3.0]
    between = torch.tensor([False, True, True, True, False])
    assert nearest_seen(whole, between)[:, 0, 0, 0].tolist() == [0.0, 0.0, 4.0]


def test_only_a_world_knows_the_mean_of_all_futures(clips):
    config, data, inputs, objective = clips
    of_world = {"video.mean_of_futures.psnr", "video.energy_score.of_the_truth", "video.diversity.of_the_truth"}
    assert of_world <= future_results(objective, inputs, config, data.heldout).keys()
    for section in ({"source": "elsewhere"}, {"heldout": "elsewhere"}):
        other = config.model_copy(update={"data": config.data.model_copy(update=section)})
        found = future_results(objective, inputs, other, data.heldout)
        assert not of_world & found.keys()
        assert "video.mean_of_samples.psnr" in found


def test_a_method_that_continues_no_clip_has_no_figures(clips, tmp_path):
    config, data, inputs, objective = clips
    masked = config_of(tmp_path, f"method={{name: vjepa, {SMALL}}}")
    assert future_results(objective, inputs, masked, data.heldout) == {}
    sounds = media_config(tmp_path, "audio_pretraining")
    assert future_results(parts_of(sounds)[3], inputs, config, data.heldout) == {}


def test_guesses_without_a_model_and_facts_of_the_data_have_no_random_weights(clips):
    config, data, inputs, objective = clips
    kept = {key for key in future_results(objective, inputs, config, data.heldout) if is_baseline(key)}
    assert {"video.psnr", "video.frechet", "video.mean_of_samples.ssim_per_frame", "video.best_of.5.psnr"} <= kept
    names = ("copy_last", "mean_of_futures", "of_the_truth")
    assert not [key for key, name in itertools.product(kept, names) if name in key]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_with_the_users_networks_lpips_and_fvd_are_measured_and_not_without(clips, tmp_path):
    config, data, inputs, objective = clips
    networks = {"lpips": Difference(), "fvd": Brightness()}
    weights = {f"{name}_weights": saved(network, tmp_path / name) for name, network in networks.items()}
    with_networks = config.model_copy(update={"evaluate": config.evaluate.model_copy(update=weights)})
    found = future_results(objective, inputs, with_networks, data.heldout)
    plain = future_results(objective, inputs, config, data.heldout)
    added = {"video.lpips", "video.lpips_per_frame", "video.fvd"}
    assert found.keys() - plain.keys() == added
    assert len(found["video.lpips_per_frame"]) == 2
    assert found["video.lpips"] == pytest.approx(np.mean(found["video.lpips_per_frame"]))
