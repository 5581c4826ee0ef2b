"""Claims about the baseline of sounds: what bands say tells tones apart, and loudness between sounds that are alike."""

import pytest
import torch
from media_runs import media_config, parts_of
from torch import Tensor

from mmssl.evaluate.finetune import tuned_accuracy
from mmssl.evaluate.logmel import logmel_results, statistics
from mmssl.evaluate.media import evaluate_media, is_baseline
from mmssl.evaluate.media_features import trainable_features
from mmssl.modalities.labelled_media import LabelledMedia, labelled_media


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """The sounds of the built-in world, labelled by what is heard."""
    config = media_config(tmp_path_factory.mktemp("sounds"), "audio_pretraining", "evaluate.documents=48")
    task, data, inputs, objective = parts_of(config)
    labelled = labelled_media(config, tmp_path_factory.mktemp("labels"), lambda entry: None, task.modalities)
    assert labelled is not None
    return config, data, inputs, objective, labelled


def test_the_statistics_are_the_mean_and_the_deviation_of_each_band_over_time(sounds):
    config, _, inputs, _, labelled = sounds
    found = statistics(labelled.test, inputs, config)
    assert found.shape == (len(labelled.test_labels), 2 * config.audio.bands)
    columns = first_spectrogram(sounds)
    torch.testing.assert_close(found[0, :16], columns.mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[0, 16:], columns.std(0, correction=0), atol=1e-5, rtol=0)


def first_spectrogram(sounds) -> Tensor:
    from mmssl.evaluate.media_features import prepared

    config, _, inputs, _, labelled = sounds
    return next(prepared(labelled.test, inputs, config, 1, torch.device("cpu"))).views["audio"][0][0]


def test_they_tell_classes_apart_and_shuffled_labels_not(sounds):
    config, _, inputs, _, labelled = sounds
    found = logmel_results(labelled, inputs, config)
    assert found.keys() == {"logmel.knn.accuracy", "logmel.probe.accuracy"}
    chance = float(labelled.test_labels.bincount().max() / len(labelled.test_labels))
    assert found["logmel.probe.accuracy"] > chance + 0.2
    order = torch.randperm(len(labelled.train_labels), generator=torch.Generator().manual_seed(0))
    shuffled: LabelledMedia = labelled._replace(train_labels=labelled.train_labels[order])
    assert logmel_results(shuffled, inputs, config)["logmel.probe.accuracy"] < found["logmel.probe.accuracy"] - 0.1


def test_fine_tuning_on_sounds_learns_their_labels_on_a_copy(sounds, monkeypatch):
    config, _, inputs, objective, labelled = sounds
    monkeypatch.setattr("mmssl.evaluate.finetune.LEARNING_RATE", 1e-2)
    embed, labels = trainable_features(labelled.train, inputs, config), labelled.train_labels
    before = {name: weight.clone() for name, weight in objective.encoder.state_dict().items()}
    accuracy = {}
    for epochs in (0, 20):
        monkeypatch.setattr("mmssl.evaluate.finetune.MOST_EPOCHS", epochs)
        accuracy[epochs] = tuned_accuracy(objective.encoder, embed, labels, embed, labels, seconds=600.0, seed=0)
    majority = float(labels.bincount().max() / len(labels))
    assert accuracy[20] > max(majority, accuracy[0]) + 0.1
    assert all(torch.equal(weight, before[name]) for name, weight in objective.encoder.state_dict().items())


def test_an_evaluation_of_sounds_has_the_baselines_once_and_the_frames_of_random_weights_too(sounds):
    config, data, inputs, objective, labelled = sounds
    found = evaluate_media(objective, lambda: objective, inputs, config, data, labelled, {})
    assert {"logmel.knn.accuracy", "logmel.probe.accuracy"} <= found.keys()
    assert not [key for key in found if key.startswith("random_init.logmel")]
    assert found["random_init.collapse.temporal_rank"] == pytest.approx(found["collapse.temporal_rank"])
    assert is_baseline("collapse.temporal_rank")
