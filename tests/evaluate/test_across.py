"""Energies, retrieval and features across modalities are what a loop over pairs of samples says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from media_runs import media_config, parts_of
from torch import Tensor

from mmssl.batch import Batch
from mmssl.evaluate.across import couples, pair_results, retrieval_results, without_each
from mmssl.evaluate.energy import auroc
from mmssl.evaluate.media import labelled_results, model_results
from mmssl.evaluate.media_features import collapse_results
from mmssl.evaluate.probe import linear_probe
from mmssl.evaluate.worlds import events_of
from mmssl.modalities.labelled_media import labelled_media
from mmssl.modalities.media_reader import Reader
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.savanna import scenes

BOTH = ["video", "audio"]


class Distance(Objective):
    """F = the distance of two numbers, each the first of its view: a frame's, or a column's."""

    def compares(self, x: str, y: str) -> bool:
        return x != y

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Tensor:
        other = batch if answers is None else answers
        return (batch.views[x][0][:, :1] - other.views[y][0][:, :1].T).abs()


def sequences(**first: list[float]) -> Batch:
    """Samples whose views are two numbers in time: the given one, and 10 more."""
    views = {name: [torch.tensor([[value, value + 10] for value in values])] for name, values in first.items()}
    count = len(next(iter(first.values())))
    return Batch(views, Draw(0, torch.zeros(count, dtype=torch.long), torch.arange(count)))


def test_the_ladder_of_a_pair_of_modalities_is_that_of_a_loop():
    batch = sequences(video=[0.0, 1.0, 2.0, 9.0], audio=[0.1, 1.4, 2.2, 5.0])
    batch.views["audio.present"] = [torch.tensor([True, True, True, False])]
    labels = torch.tensor([0, 0, 1, 1])
    found = pair_results(Distance(), iter([batch]), BOTH, labels)
    x, y = [0.0, 1.0, 2.0], [0.1, 1.4, 2.2]
    own = torch.tensor([abs(a - b) for a, b in zip(x, y)])
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    kinds = {
        "other": [abs(x[i] - y[j]) for i, j in pairs],
        "same_class": [abs(x[i] - y[j]) for i, j in pairs if labels[i] == labels[j]],
        "other_class": [abs(x[i] - y[j]) for i, j in pairs if labels[i] != labels[j]],
        "shifted": [abs(a - (b + 10)) for a, b in zip(x, y)],  # its second number comes first
    }
    for kind, values in kinds.items():
        assert found[f"energy.video_to_audio.ladder.{kind}"] == auroc(own, torch.tensor(values)), kind
    assert found["energy.video_to_audio.auroc"] == found["energy.video_to_audio.ladder.other"]
    assert found["energy.video_to_audio.ladder.shifted"] == 1.0
    assert {key.split(".")[1] for key in found} == {"video_to_audio", "audio_to_video"}


def test_what_is_not_compared_or_has_no_pair_is_not_measured():
    labels = torch.full((3,), -1)
    assert pair_results(Objective(), iter([sequences(video=[0.0, 1.0], audio=[0.0, 1.0])]), BOTH, labels) == {}
    assert couples(Objective(), BOTH) == []
    alone = sequences(video=[0.0, 1.0, 2.0], audio=[0.0, 1.0, 2.0])
    alone.views["audio.present"] = [torch.tensor([True, False, False])]
    assert pair_results(Distance(), iter([alone]), BOTH, labels) == {}
    whole = sequences(video=[0.0, 1.0, 2.0], audio=[0.0, 1.0, 2.0])
    found = pair_results(Distance(), iter([whole]), BOTH, labels)
    assert {key.rpartition(".")[2] for key in found if "ladder" in key} == {"other", "shifted"}  # without labels


def test_among_other_kinds_a_sample_of_the_same_kind_is_no_rival():
    # the sound of the second clip is nearer to the first clip than its own, and of the same kind
    batch = sequences(video=[0.0, 1.0, 5.0], audio=[0.6, 0.5, 5.0])
    found = retrieval_results(Distance(), batch, BOTH, torch.tensor([3, 3, 4]))
    assert found["retrieval.video_to_audio.r1"] == pytest.approx(1 / 3)
    assert found["retrieval.video_to_audio.distinct.r1"] == 1.0
    assert found["retrieval.distinct_candidates"] == pytest.approx(1 + (1 + 1 + 2) / 3)
    # the control: of kinds that all differ it is a rival
    apart = retrieval_results(Distance(), batch, BOTH, torch.tensor([1, 2, 3]))
    assert apart["retrieval.video_to_audio.distinct.r1"] == pytest.approx(1 / 3)
    for unknown in (torch.tensor([-1, 0, 1]), torch.tensor([0, 0, 0]), None):
        assert not [key for key in retrieval_results(Distance(), batch, BOTH, unknown) if "distinct" in key]


def test_the_captions_of_one_picture_are_no_wrong_answers_for_each_other():
    # the second caption of the first picture is nearer to it than its own
    files = torch.tensor([5, 5, 8])
    words = sequences(image=[0.0, 0.0, 4.0], text=[0.6, 0.5, 4.0])
    names = ["image", "text"]
    with_files, without = (retrieval_results(Distance(), words, names, None, each) for each in (files, None))
    assert with_files["retrieval.image_to_text.r1"] == 1.0
    assert without["retrieval.image_to_text.r1"] == pytest.approx(2 / 3)
    assert with_files["retrieval.candidates"] == pytest.approx(1 + 4 / 3)
    assert without["retrieval.candidates"] == 3.0
    labels = torch.tensor([1, 1, 1])
    found = pair_results(Distance(), iter([words]), names, labels, files)
    own, wrong = torch.tensor([0.6, 0.5, 0.0]), torch.tensor([4.0, 4.0, 3.4, 3.5])
    for kind in ("other", "same_class"):
        assert found[f"energy.image_to_text.ladder.{kind}"] == auroc(own, wrong) == 1.0
    assert pair_results(Distance(), iter([words]), names, labels)["energy.image_to_text.auroc"] < 1.0
    # the windows of one film are: its moments are told apart
    films = sequences(video=[0.0, 0.0, 4.0], audio=[0.6, 0.5, 4.0])
    found = retrieval_results(Distance(), films, BOTH, None, files)
    assert found == retrieval_results(Distance(), films, BOTH)
    assert found["retrieval.video_to_audio.r1"] == pytest.approx(2 / 3)


def test_what_is_measured_of_a_model_knows_which_samples_are_of_one_file(tmp_path, monkeypatch):
    config = media_config(tmp_path, "multimodal")
    _, data, inputs, objective = parts_of(config)
    few = replace(data.heldout, step=-(-sum(part.count for part in data.heldout.parts) // 3))
    found = {}
    for names in ("abc", "aab", "aaa"):
        monkeypatch.setattr(Reader, "paths", lambda self, names=names: list(names)[: self.size])
        found[names] = model_results(objective, inputs, config, few, {})
    # where all three are of one file, no other picture is wrong for its words, but the moments of a film still are
    assert found["aaa"]["retrieval.text_to_image.r1"] == 1.0 > found["abc"]["retrieval.text_to_image.r1"]
    assert "energy.text_to_image.auroc" not in found["aaa"]
    assert found["aab"]["energy.text_to_image.auroc"] != found["abc"]["energy.text_to_image.auroc"]
    assert {each["energy.video_to_audio.auroc"] for each in found.values()} == {
        found["abc"]["energy.video_to_audio.auroc"]
    }


def test_the_kinds_of_held_out_samples_are_the_events_of_the_world(tmp_path):
    config = media_config(tmp_path, "audio_visual")
    _, data, _, _ = parts_of(config)
    found = events_of(config, data.heldout.size)
    assert found is not None
    labels = data.heldout.labels()
    assert len(set(zip(found.tolist(), labels))) == len(set(found.tolist()))  # an event has one predator
    assert len(set(found.tolist())) > len(set(labels))
    assert events_of(media_config(tmp_path, "audio_visual", "data.heldout=elsewhere"), 4) is None
    assert scenes(0, np.arange(2)).event.shape == (2,)


def test_features_without_a_modality_are_those_of_a_sample_that_lacks_it():
    parts = {"video": torch.ones(2, 3), "audio": 2 * torch.ones(2, 1)}
    found = without_each(parts)
    assert found["video"].tolist() == [[0, 0, 0, 2]] * 2
    assert found["audio"].tolist() == [[1, 1, 1, 0]] * 2
    assert without_each({"audio": torch.ones(2, 1)}) == {}


def test_other_features_of_the_test_part_are_judged_by_the_same_classifier():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 6, generator=generator) + 4 * torch.nn.functional.one_hot(y, 6)
    lost = torch.zeros_like(x)
    found = linear_probe(x, y, x, y, others={"same": x, "lost": lost})
    assert found.others["same"] == found.accuracy > 0.9
    assert found.others["lost"] == pytest.approx(1 / 3)


def test_a_model_of_both_is_judged_where_the_test_samples_lack_one(tmp_path, monkeypatch):
    monkeypatch.setattr("mmssl.evaluate.probe.STRENGTHS", (1.0,))
    config = media_config(tmp_path, "audio_visual")
    task, _, inputs, objective = parts_of(config)
    labelled = labelled_media(config, tmp_path, lambda entry: None, task.modalities)
    assert labelled is not None
    found = labelled_results(objective.encoder, inputs, config, labelled)
    kinds = ("knn.accuracy", "probe.accuracy")
    assert found.keys() == {
        f"{part}{kind}" for part in ("", "video.", "audio.", "absent.video.", "absent.audio.") for kind in kinds
    }


def test_a_collapsed_modality_is_named_and_decides_the_verdict():
    healthy = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    found = collapse_results({"video": healthy, "audio": torch.ones(64, 8)}, {}, {})
    assert found["collapse.verdict"] == "complete"
    assert found["collapse.modalities"] == "audio complete"
    whole = collapse_results({"video": healthy, "audio": healthy.flip(0)}, {}, {})
    assert (whole["collapse.verdict"], whole["collapse.modalities"]) == ("healthy", "")
    assert "collapse.modalities" not in collapse_results({"video": healthy}, {}, {})


class OneWay(Distance):
    """The same, computed for (video, audio) alone."""

    def mirrors(self, x: str, y: str) -> bool:
        return x == "audio"

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Tensor:
        assert answers is not None or x == "video", "computed a second time"
        return super().energies_between(x, y, batch, answers)


def test_what_mirrors_is_read_off_the_other_way_round():
    batch = sequences(video=[0.0, 1.0, 2.0, 9.0], audio=[0.1, 1.4, 2.2, 5.0])
    labels = torch.tensor([0, 0, 1, 1])
    one, both = (pair_results(part, iter([batch]), BOTH, labels) for part in (OneWay(), Distance()))
    assert one == both
    assert retrieval_results(OneWay(), batch, BOTH, labels) == retrieval_results(Distance(), batch, BOTH, labels)
