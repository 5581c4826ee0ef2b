"""What is said of a model of pictures, sounds and videos agrees with loops over single pairs and samples."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest
import torch
from accelerate import Accelerator
from media_runs import media_config, parts_of
from torch import nn

from mmssl.batch import Batch
from mmssl.errors import CheckpointError
from mmssl.evaluate import media_features
from mmssl.evaluate.across import retrieval_results
from mmssl.evaluate.heldout import batch_of, heldout_metrics
from mmssl.evaluate.media import (
    energy_results,
    evaluate_media,
    labelled_results,
    model_results,
    numbered,
    write_media_features,
)
from mmssl.evaluate.media_features import features, joined, prepared
from mmssl.modalities.labelled_media import labelled_media
from mmssl.objectives import Objective
from mmssl.random import Draw

CPU = torch.device("cpu")
LABELLED = ("knn.accuracy", "probe.accuracy")
NO_LABELS = torch.full((5,), -1)


class Distance(Objective):
    """F(x, y) = |x - y| of a number each: energies that one can work out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Identity()

    def energies(self, batch, answers=None):
        return (batch.views["x"][0][:, None] - (answers or batch).views["y"][0]).abs()


def numbers(x: list[float], y: list[float]) -> Batch:
    """A batch of pairs."""
    index = torch.arange(len(x))
    return Batch({"x": [torch.tensor(x)], "y": [torch.tensor(y)]}, Draw(0, index, index))


def moved(batch: Batch) -> Batch:
    """Each y by 1."""
    return batch._replace(views=batch.views | {"y": [batch.views["y"][0] + 1]})


def share_below(low: list[float], high: list[float]) -> float:
    """AUROC by a loop."""
    return sum((a < b) + (a == b) / 2 for a in low for b in high) / (len(low) * len(high))


def test_energies_of_pairs_are_those_of_a_loop():
    batches = [numbers([0.0, 1.0, 5.0], [0.5, 1.0, 2.0]), numbers([3.0, 4.0], [3.0, 7.0])]
    own, other, shifted = [], [], []
    for batch in batches:  # only samples of one batch are compared
        x, y = (batch.views[name][0].tolist() for name in "xy")
        own += [abs(a - b) for a, b in zip(x, y, strict=True)]
        other += [abs(a - b) for i, a in enumerate(x) for j, b in enumerate(y) if i != j]
        shifted += [abs(a - b - 1) for a, b in zip(x, y, strict=True)]
    labels = torch.tensor([0, -1, 0, 1, 0])  # of all samples, whose numbers are 0, 1, 2 and 0, 1
    negatives = {"moved": ("y", moved), "itself": ("y", lambda batch: batch)}
    found = energy_results(Distance(), iter(batches), negatives, labels)
    x, y = (batches[0].views[name][0] for name in "xy")
    alike = [float(abs(x[0] - y[2])), float(abs(x[2] - y[0]))]  # 0 and 2 of the first batch; the second has no pair
    assert found["energy.ladder.same_class"] == pytest.approx(share_below(own, alike))
    assert found["energy.auroc"] == found["energy.ladder.other"] == pytest.approx(share_below(own, other))
    assert found["energy.gap"] == pytest.approx((np.mean(other) - np.mean(own)) / np.std(own, ddof=1), rel=1e-6)
    assert found["energy.ladder.moved"] == pytest.approx(share_below(own, shifted))
    assert found["energy.ladder.itself"] == 0.5
    assert sum(found["energy_histogram"]["compatible"]) == 5
    assert sum(found["energy_histogram"]["incompatible"]) == 8


def test_one_pair_alone_says_nothing():
    assert energy_results(Distance(), iter([]), {}, NO_LABELS) == {}
    assert energy_results(Distance(), iter([numbers([1.0], [1.0])]), {"moved": ("y", moved)}, NO_LABELS) == {}


def test_without_labels_there_is_no_class():
    batch = numbers([0.0, 1.0], [0.5, 1.0])
    assert "energy.ladder.same_class" not in energy_results(Distance(), iter([batch]), {}, NO_LABELS)
    assert numbered(["", "b", "a", "b", ""]).tolist() == [-1, 1, 0, 1, -1]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Clips with their sounds, an untrained contrast of them, and labelled samples."""
    config = media_config(tmp_path_factory.mktemp("both"), "audio_visual")
    task, data, inputs, objective = parts_of(config)
    return config, task, data, inputs, objective


def test_features_are_the_mean_of_the_encoders_tokens_of_each_modality_alone(both):
    config, _, data, inputs, objective = both
    found = features(objective.encoder, data.heldout, inputs, config, 7)
    assert {name: tuple(value.shape) for name, value in found.items()} == {"video": (7, 32), "audio": (7, 32)}
    batch = next(prepared(data.heldout, inputs, config, 7, CPU))
    for name in found:
        for row in range(7):
            tokens = objective.encoder.cuts[name].tokenize([batch.views[name][0][row : row + 1]])
            with torch.no_grad():
                expected = objective.encoder({name: tokens})[name].value.mean(1)[0]
            torch.testing.assert_close(found[name][row], expected, rtol=0, atol=1e-5)
    assert torch.equal(joined(found), torch.cat([found["video"], found["audio"]], 1))


def lacking(data, inputs, config, monkeypatch, **absent: list[int]) -> Batch:
    """Let the first 6 held-out samples lack some modalities."""
    index = torch.arange(6)
    views = data.heldout(index.numpy())
    for name, rows in absent.items():
        views[name][0][rows] = 0
        views[f"{name}.present"] = [~torch.isin(index, torch.tensor(rows))]
    batch = inputs(Batch(views, Draw(config.seed, 0 * index, index)))
    monkeypatch.setattr(media_features, "prepared", lambda *arguments, **options: iter([batch]))
    return batch


def test_features_of_an_absent_modality_are_zeros_and_change_no_other(both, monkeypatch):
    config, _, data, inputs, objective = both
    whole = features(objective.encoder, data.heldout, inputs, config, 6)
    lacking(data, inputs, config, monkeypatch, audio=[1, 4])
    found = features(objective.encoder, data.heldout, inputs, config, 6)
    assert not found["audio"][[1, 4]].any()
    torch.testing.assert_close(found["audio"][[0, 2, 3, 5]], whole["audio"][[0, 2, 3, 5]], rtol=0, atol=1e-5)
    torch.testing.assert_close(found["video"], whole["video"], rtol=0, atol=1e-5)


def test_retrieval_is_measured_where_modalities_are_compared_among_samples_that_have_both(both, monkeypatch):
    config, _, data, inputs, objective = both
    batch = lacking(data, inputs, config, monkeypatch, audio=[1, 4], video=[2])
    found = retrieval_results(objective, batch, ["video", "audio"])
    pairs = ("video_to_audio", "audio_to_video")
    assert found.keys() == {"retrieval.candidates"} | {f"retrieval.{pair}.r{k}" for pair in pairs for k in (1, 5, 10)}
    assert found["retrieval.candidates"] == 3
    # by hand: the rank of each clip's own sound among those of clips 0, 3 and 5
    with torch.no_grad():
        energies = objective.energies_between("video", "audio", batch)[[0, 3, 5]][:, [0, 3, 5]]
    first = (energies.argmin(1) == torch.arange(3)).double().mean()
    assert found["retrieval.video_to_audio.r1"] == pytest.approx(float(first))
    assert found["retrieval.video_to_audio.r5"] == 1.0


def test_energies_are_of_samples_that_have_both(both, monkeypatch):
    config, _, data, inputs, objective = both
    labels = torch.full((6,), -1)
    batch = lacking(data, inputs, config, monkeypatch, audio=[1, 4], video=[2])
    found = energy_results(objective, iter([batch]), {}, labels)
    expected = energy_results(objective, iter([batch.chosen(torch.tensor([0, 3, 5]))]), {}, labels)
    assert found == expected
    whole = energy_results(
        objective, iter([inputs(batch_of(data.heldout, config.seed, np.arange(6), CPU))]), {}, labels
    )
    assert found["energy.gap"] != whole["energy.gap"]
    # where nobody has both there is none
    nobody = batch.chosen(torch.tensor([1, 2, 4]))
    assert energy_results(objective, iter([nobody]), {}, labels) == {}
    run = SimpleNamespace(objective=objective, accelerator=Accelerator(cpu=True))
    trained = heldout_metrics(run, batches=lambda device: iter([batch, nobody]))
    assert trained["energy.gap"] == pytest.approx(expected["energy.gap"], rel=1e-4)
    assert not {key for key in heldout_metrics(run, batches=lambda device: iter([nobody])) if "energy" in key}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips alone, and a model that continues them."""
    config = media_config(tmp_path_factory.mktemp("clips"), "video_prediction")
    return config, *parts_of(config)


def ladder(results: dict) -> set[str]:
    """The kinds of negatives that were measured."""
    return {key.removeprefix("energy.ladder.") for key in results if key.startswith("energy.ladder.")}


def test_fine_tuning_is_measured_where_it_is_asked_for(both, monkeypatch):
    monkeypatch.setattr("mmssl.evaluate.probe.STRENGTHS", (1.0,))
    config, task, _, inputs, objective = both
    section = config.evaluate.model_copy(update={"finetune": True, "finetune_seconds": 0.2})
    labelled = labelled_media(config, Path(config.run), [].append, task.modalities)
    assert labelled is not None
    before = {name: value.clone() for name, value in objective.encoder.state_dict().items()}
    asked = config.model_copy(update={"evaluate": section})
    found = labelled_results(objective.encoder, inputs, asked, labelled)
    assert 0 <= found["finetune.accuracy"] <= 1
    assert all(torch.equal(value, before[name]) for name, value in objective.encoder.state_dict().items())


def test_results_of_a_model_name_no_measure_that_it_has_not(both, clips):
    config, task, data, inputs, objective = both
    found = model_results(objective, inputs, config, data.heldout, task.negatives(config))
    assert found["retrieval.candidates"] == data.heldout.size == 12
    # y is the sound, the frames are x
    assert ladder(found) == {"other", "same_class", "sound_shifted"}
    config, task, data, inputs, objective = clips
    found = model_results(objective, inputs, config, data.heldout, task.negatives(config))
    assert not [key for key in found if key.startswith(("retrieval", "video."))]  # 12 clips have no 15 others
    assert ladder(found) == {"other", "same_class", "time_reversed", "frames_shuffled", "time_shifted"}


def test_time_reversed_compares_the_true_future_with_the_same_frames_backwards(clips):
    config, task, data, inputs, objective = clips
    batch = next(prepared(data.heldout, inputs, config, 12, CPU))
    clip = batch.views["video"][0]
    backwards = batch._replace(views=batch.views | {"video": [clip[:, [0, 1, 3, 2]]]})
    with torch.no_grad():
        own, other = (objective.energies(batch, each).diagonal().tolist() for each in (batch, backwards))
    found = model_results(objective, inputs, config, data.heldout, task.negatives(config))
    assert found["energy.ladder.time_reversed"] == pytest.approx(share_below(own, other))


@pytest.fixture(scope="module")
def evaluated(both):
    """All that is said of a model with other weights than the random ones."""
    config, task, data, inputs, _ = both
    objective = task.build(config.model_copy(update={"seed": 5}), inputs, data.train.size)
    reports: list[dict] = []
    labelled = labelled_media(config, Path(config.run), reports.append, task.modalities)
    build = partial(task.build, config, inputs, data.train.size)
    assert not reports
    return evaluate_media(objective, build, inputs, config, data, labelled, task.negatives(config)), objective, labelled


def test_every_measure_stands_beside_that_of_random_weights(both, evaluated):
    config, task, data, inputs, _ = both
    results, objective, _ = evaluated
    names = {key for key in results if not key.startswith(("random_init.", "labelled.", "data.", "logmel."))}
    only_trained = {
        "energy_histogram", "retrieval.candidates", "retrieval.distinct_candidates", "sync.clips", "sync.rolled_ratio",
        "sync.chance_auroc", "sync.chance_offset_seconds", "sync.chance_offset_accuracy",
    }  # fmt: skip
    assert {key.removeprefix("random_init.") for key in results if key.startswith("random_init.")} == (
        names - only_trained
    )
    assert names >= {*LABELLED, *(f"{name}.{key}" for name in ("video", "audio") for key in LABELLED)}
    for prefix, one in (("", objective), ("random_init.", task.build(config, inputs, data.train.size).eval())):
        alone = model_results(one, inputs, config, data.heldout, task.negatives(config))
        for key, value in alone.items():
            if not prefix or key not in only_trained:
                assert results[prefix + key] == value
    assert results["energy.auroc"] != results["random_init.energy.auroc"]


def test_labelled_results_stand_beside_the_most_frequent_class(evaluated):
    results, _, labelled = evaluated
    assert results["labelled.train"] == results["labelled.test"] == 16
    assert results["labelled.classes"] == len(labelled.names) > 1
    assert "finetune.accuracy" not in results  # which takes time, so only where it is asked for
    majority = float((labelled.test_labels == labelled.train_labels.bincount().argmax()).double().mean())
    assert results["labelled.majority_accuracy"] == pytest.approx(majority)
    for key in LABELLED:
        for prefix in ("", "video.", "audio.", "random_init.", "random_init.video."):
            assert 0 <= results[prefix + key] <= 1


def test_without_labels_nothing_is_said_of_probes(both):
    config, task, data, inputs, objective = both
    results = evaluate_media(
        objective, partial(task.build, config, inputs, data.train.size), inputs, config, data, None, {}
    )
    assert not [key for key in results if "knn" in key or "probe" in key or "labelled" in key]
    assert results["energy.auroc"] == results["random_init.energy.auroc"]  # the same weights


def test_missing_modalities_are_counted(both):
    config, task, data, inputs, objective = both
    lacking = data._replace(missing={"video": 0, "audio": 7})
    results = evaluate_media(
        objective, partial(task.build, config, inputs, data.train.size), inputs, config, lacking, None, {}
    )
    assert {key: value for key, value in results.items() if key.startswith("data.")} == {"data.missing.audio": 7}


def test_written_features_have_path_label_and_feature(both, tmp_path, capsys):
    config, _, data, inputs, objective = both
    out = tmp_path / "deep" / "features.parquet"
    write_media_features(objective.encoder, data.heldout, inputs, config, out)
    table = pyarrow.parquet.read_table(out).to_pydict()
    assert list(table) == ["path", "label", "feature"]
    assert table["path"] == [f"savanna:{number}" for number in range(12)]
    assert table["label"] == data.heldout.labels()
    expected = joined(features(objective.encoder, data.heldout, inputs, config, 12))
    torch.testing.assert_close(torch.tensor(table["feature"]), expected)
    assert "12 samples x 64 features" in capsys.readouterr().out
    (tmp_path / "file").write_text("here")
    with pytest.raises(CheckpointError, match="expected a file that can be written"):
        write_media_features(objective.encoder, data.heldout, inputs, config, tmp_path / "file" / "out.parquet")
