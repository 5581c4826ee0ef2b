"""Features of views, compared vectors and the verdict on both are what a loop over samples says."""

import pytest
import torch
from media_runs import media_config, parts_of

from mmssl.augment import View
from mmssl.distributed import IS_ALONE
from mmssl.evaluate.collapse import lidar, panel
from mmssl.evaluate.media_features import (
    VIEWS,
    collapse_of,
    collapse_results,
    compared_vectors,
    features,
    features_of_views,
    joined,
    prepared,
    trainable_features,
)

CPU = torch.device("cpu")
SIMCLR = "method={name: simclr, projector_width: 16, embedding_width: 8}"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures, and an untrained contrast of two views of them."""
    config = media_config(tmp_path_factory.mktemp("pictures"), "image_pretraining", SIMCLR)
    return config, *parts_of(config)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Clips with their sounds, and an untrained contrast of them."""
    config = media_config(tmp_path_factory.mktemp("both"), "audio_visual")
    return config, *parts_of(config)


def gaussian(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_features_of_views_are_those_of_each_augmented_view_of_each_picture(pictures):
    config, _, data, inputs, objective = pictures
    found = features_of_views(objective.encoder, data.heldout, inputs, config)["image"]
    assert found.shape == (12, VIEWS, 32)
    batch = next(prepared(data.heldout, inputs, config, 12, CPU, (View(),) * VIEWS, at_once=12))
    for view in (0, 3, VIEWS - 1):
        tokens = objective.encoder.cuts["image"].tokenize([batch.views["image"][view]])
        with torch.no_grad():
            expected = objective.encoder({"image": tokens})["image"].value.mean(1)
        torch.testing.assert_close(found[:, view], expected, rtol=0, atol=1e-5)
    assert (found[:, 0] - found[:, 1]).norm() > 0.01  # the control: they are augmented, each in its own way


def test_without_pictures_and_sounds_there_are_no_views(both):
    config, _, data, inputs, objective = both
    found = features_of_views(objective.encoder, data.heldout, inputs, config)
    assert {name: value.shape for name, value in found.items()} == {"audio": (12, VIEWS, 32)}
    assert (found["audio"][:, 0] - found["audio"][:, 1]).norm() > 0.01
    assert features_of_views(objective.encoder, data.heldout, inputs.only("video"), config) == {}


def test_views_of_sounds_that_are_not_there_are_left_out(both, monkeypatch):
    config, _, data, inputs, objective = both
    has = torch.arange(12) % 3 == 0

    def lacking(*arguments, **options):
        for batch in prepared(*arguments, **options):
            yield batch._replace(views={**batch.views, "audio.present": [has[batch.draw.index]]})

    whole = features_of_views(objective.encoder, data.heldout, inputs, config)["audio"]
    monkeypatch.setattr("mmssl.evaluate.media_features.prepared", lacking)
    found = features_of_views(objective.encoder, data.heldout, inputs, config)["audio"]
    torch.testing.assert_close(found, whole[has])
    has[1:] = False
    assert features_of_views(objective.encoder, data.heldout, inputs, config) == {}


def test_compared_vectors_are_those_of_the_forward_and_a_single_sample_is_left_out(pictures):
    config, _, data, inputs, objective = pictures
    batches = list(prepared(data.heldout, inputs, config, 11, CPU, objective.views, at_once=5))  # 5, 5 and 1
    found = compared_vectors(objective.train(), iter(batches))
    assert not objective.training
    with torch.no_grad():
        expected = torch.cat([objective(batch).compared for batch in batches[:2]])
    assert found is not None
    torch.testing.assert_close(found, expected)
    assert compared_vectors(objective, iter(batches[2:])) is None


def test_the_criterion_waits_for_no_other_process(pictures, monkeypatch):
    config, _, data, inputs, objective = pictures
    forward, seen = objective.forward, []
    monkeypatch.setattr(objective, "forward", lambda batch: seen.append(IS_ALONE.get()) or forward(batch))
    compared_vectors(objective, prepared(data.heldout, inputs, config, 4, CPU, objective.views))
    assert seen == [True]


def test_a_method_that_compares_no_vectors_is_asked_once(tmp_path, monkeypatch):
    config = media_config(tmp_path, "image_pretraining")
    _, data, inputs, objective = parts_of(config)
    forward, calls = objective.forward, []
    monkeypatch.setattr(objective, "forward", lambda batch: calls.append(1) or forward(batch))
    assert compared_vectors(objective, prepared(data.heldout, inputs, config, 12, CPU, at_once=4)) is None
    assert len(calls) == 1


def test_collapse_of_each_modality_is_seen_beside_that_of_all():
    healthy, views = gaussian(200, 16), gaussian(20, 4, 16)
    results = collapse_results({"image": healthy, "audio": torch.ones(200, 16)}, {"image": views}, {})
    assert results["image.collapse.verdict"] == "healthy"
    assert results["audio.collapse.verdict"] == "complete"
    assert results["collapse.effective_rank"] == pytest.approx(results["image.collapse.effective_rank"], rel=1e-6)
    assert results["image.collapse.lidar"] == lidar(views)
    assert not {"collapse.lidar", "audio.collapse.lidar"} & results.keys()
    alone = collapse_results({"image": healthy}, {"image": views}, {})
    assert alone == panel(healthy, views)


@pytest.mark.parametrize("name, key", [("", "collapse.compared"), ("contrast", "contrast.collapse.compared")])
def test_the_verdict_is_the_worst_of_features_and_of_what_each_part_compares(name: str, key: str):
    healthy = gaussian(200, 16)
    for compared, verdict in ((healthy, "healthy"), (torch.ones(200, 8), "complete")):
        results = collapse_results({"image": healthy}, {}, {name: compared})
        assert results["collapse.verdict"] == results[f"{key}.verdict"] == verdict
        assert results["collapse.effective_rank"] == panel(healthy)["collapse.effective_rank"]


def test_a_contrast_of_pictures_has_the_whole_panel(pictures):
    config, _, data, inputs, objective = pictures
    found = collapse_of(objective, data.heldout, inputs, config)
    parts = features(objective.encoder, data.heldout, inputs, config, 12)
    assert found["collapse.effective_rank"] == panel(joined(parts))["collapse.effective_rank"]
    names = ("lidar", "alignment", "uniformity", "mean_ratio", "compared.verdict", "compared.effective_rank")
    assert found.keys() >= {f"collapse.{name}" for name in (*names, "compared.std", "verdict", "std")}


def test_trainable_features_are_the_same_with_gradient(both):
    config, _, data, inputs, objective = both
    embed, numbers = trainable_features(data.heldout, inputs, config), [7, 0, 3]
    found = embed(objective.encoder, numbers)
    expected = joined(features(objective.encoder, data.heldout, inputs, config, 12))[numbers]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    found.sum().backward()
    assert any(weight.grad is not None for weight in objective.encoder.parameters())
    objective.zero_grad()
