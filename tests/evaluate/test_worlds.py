"""What is asked of clips whose futures are known: of methods that predict pixels, embeddings, or something else."""

from itertools import count

import numpy as np
import pytest
import torch
from media_runs import SMALL, media_config, parts_of

from mmssl.batch import Batch
from mmssl.evaluate.uncertainty import uncertainty_results
from mmssl.evaluate.worlds import FUTURES, futures_of, known_clips, times_seen
from mmssl.objectives import Objective
from mmssl.random import Draw, hashed
from mmssl.savanna import digits
from mmssl.tokens import at

COUNT = 16


def config_of(folder, *overrides):
    return media_config(
        folder, "video_prediction", "data.source=digits", "data.samples=40", f"evaluate.documents={COUNT}", *overrides
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A task of digits with an untrained model that has a latent variable."""
    config = config_of(tmp_path_factory.mktemp("worlds"))
    _, data, inputs, objective = parts_of(config)
    return config, data, inputs, objective


@pytest.fixture(scope="module")
def answers(world):
    """The hidden patches of the futures of each held-out clip, and how likely they are."""
    config, _, inputs, objective = world
    found = []
    for index in range(COUNT):
        known = digits.futures(hashed(config.seed, "heldout"), index, 16, 4, 2, 2.0)
        possible = torch.from_numpy(known.video)
        whole = torch.cat([torch.zeros(len(possible), 2, *possible.shape[2:], dtype=torch.uint8), possible], 1)
        tokens = objective.tokens(inputs(batch_of(whole)))["video"]
        found.append((tokens.value[:, tokens.value.shape[1] // 2 :], known.probability))
    return found


def answering(world, answers, monkeypatch, sampler):
    """The results of a model whose k-th answer to a clip is futures weighted by `sampler(probability, index, k)`."""
    config, data, inputs, objective = world
    numbers = count()

    def predict(seen, hidden, noise=None):
        number = next(numbers)
        rows = enumerate(answers)
        weighted = [torch.einsum("k,kmd->md", sampler(share, row, number), patches) for row, (patches, share) in rows]
        return {"video": torch.stack(weighted)}  # all clips are one batch

    monkeypatch.setattr(objective, "predict", predict)
    found = uncertainty_results(objective, inputs, config, data.heldout)
    return {key.removeprefix("uncertainty."): value for key, value in found.items()}


def batch_of(pixels):
    """Clips as a batch."""
    zero = torch.zeros(len(pixels), dtype=torch.long)
    return Batch({"video": [pixels]}, Draw(0, zero, zero))


def from_the_truth(probability, index, number):
    return torch.eye(len(probability))[np.random.default_rng([index, number]).choice(len(probability), p=probability)]


def test_draws_from_the_truth_cover_what_20_draws_cover_and_nothing_else(world, answers, monkeypatch):
    found = answering(world, answers, monkeypatch, from_the_truth)
    assert found["precision"] == 1.0
    assert found["distance"] == pytest.approx(0.0, abs=1e-6)
    assert found["coverage"] == pytest.approx(found["coverage_of_the_truth"], abs=0.05)
    assert found["coverage_of_the_truth"] > 0.98
    assert found["total_variation"] < 0.2
    assert found["futures"] == 3
    assert found["true_bits"] == pytest.approx(1.4855, abs=1e-4)  # of 0.5, 0.3, 0.2


def test_the_mean_of_all_futures_shows_none_and_the_likeliest_one(world, answers, monkeypatch):
    mean = answering(
        world, answers, monkeypatch, lambda probability, index, number: torch.from_numpy(probability).float()
    )
    assert (mean["coverage"], mean["precision"], mean["total_variation"]) == (0.0, 0.0, pytest.approx(1.0))
    likeliest = answering(world, answers, monkeypatch, lambda *_: torch.eye(3)[0])
    assert (likeliest["coverage"], likeliest["precision"]) == (pytest.approx(1 / 3), 1.0)
    assert likeliest["total_variation"] == pytest.approx(0.5)


def test_clips_of_savanna_are_asked_about_as_well(tmp_path):
    config = config_of(tmp_path, "data.source=savanna")
    _, data, inputs, objective = parts_of(config)
    found = uncertainty_results(objective, inputs, config, data.heldout)
    assert {"uncertainty.coverage", "uncertainty.bits"} <= found.keys()
    assert found["uncertainty.futures"] >= 2


def test_embeddings_are_compared_with_the_targets_of_the_possible_clips(tmp_path, monkeypatch):
    """A model that says the target's embeddings of the first future shows it; of masks the future is asked for."""
    config = config_of(tmp_path, f"method={{name: vjepa, {SMALL}}}")
    _, data, inputs, objective = parts_of(config)
    asked = []
    true = objective.target

    def predict(seen, hidden, noise=None):
        asked.append(hidden["video"].position[0].tolist())
        whole = torch.stack([data.heldout(np.array([row]))["video"][0][0] for row in range(COUNT)])
        for row in range(COUNT):
            first = digits.futures(hashed(config.seed, "heldout"), row, 16, 4, 2, 2.0).video[0]
            whole[row, 2:] = torch.from_numpy(first)
        tokens = objective.tokens(inputs(batch_of(whole)))
        return {"video": at(true(tokens)["video"], hidden["video"])}

    monkeypatch.setattr(objective, "predict", predict)
    found = uncertainty_results(objective, inputs, config, data.heldout)
    assert asked == [[4, 5, 6, 7]]  # the second half of 2 x 2 x 2 patches
    assert found["uncertainty.precision"] == 1.0
    assert found["uncertainty.coverage"] == pytest.approx(1 / 3)


def test_known_clips_begin_with_the_seen_frames(world):
    config, _, _, objective = world
    cut = objective.encoder.cuts["video"]
    sample = digits.videos(hashed(config.seed, "heldout"), np.array([3]), 16, 4)[0]
    found = known_clips(3, config, cut, sample)
    assert times_seen(cut, config) == 1
    assert (found.view[:, :2] == sample[:2]).all()
    assert (found.view == sample).all((1, 2, 3, 4)).sum() == 1
    assert found.impossible is None


def test_only_the_future_of_a_worlds_own_held_out_clips_is_known(world):
    config, data, inputs, objective = world
    assert set(FUTURES) == {"savanna", "digits"}
    known = futures_of(0, config, 2)
    assert known is not None
    for section in ({"source": "elsewhere"}, {"heldout": "elsewhere"}, {"source": ["digits", "savanna"]}):
        other = config.model_copy(update={"data": config.data.model_copy(update=section)})
        assert futures_of(0, other, 2) is None
        assert uncertainty_results(objective, inputs, other, data.heldout) == {}


def test_a_clip_that_is_one_patch_in_time_is_not_asked_about(tmp_path, capsys):
    config = config_of(tmp_path, f"method={{name: vjepa, {SMALL}}}", "encoder.frames=4")
    _, data, inputs, objective = parts_of(config)
    assert isinstance(objective, Objective)
    assert uncertainty_results(objective, inputs, config, data.heldout) == {}
    assert "note: no uncertainty: 1 x 2 x 2 patches; expected a future of whole patches" in capsys.readouterr().err
