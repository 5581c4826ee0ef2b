"""The verdict on media runs judges against chance, random weights and the trivial prediction; keys have plain names."""

from itertools import pairwise

import pytest

from mmssl.report import names, tables
from mmssl.report.record import Record
from mmssl.report.verdict import Finding, judge

RETRIEVAL = {"retrieval.candidates": 100.0}


def verdict(**values: float | str) -> Finding:
    """The only finding of these measures, their dots written as two underscores."""
    (finding,) = judge({key.replace("__", "."): value for key, value in values.items()})
    return finding


@pytest.mark.parametrize(
    "coverage, precision, state",
    [(0.9, 0.9, "good"), (0.6, 0.9, "warning"), (0.25, 1.0, "bad"), (1.0, 0.1, "bad")],
)
def test_futures_are_good_only_if_they_cover_and_are_possible(coverage: float, precision: float, state: str):
    found = verdict(uncertainty__coverage=coverage, uncertainty__precision=precision,
                    uncertainty__coverage_of_the_truth=0.97)  # fmt: skip
    assert found.state == state
    assert found.value == f"{coverage:.0%}"
    assert "draws from the truth cover 97%" in found.sentence
    assert f"{precision:.0%} of the samples" in found.sentence


def test_futures_without_a_known_truth_are_not_judged():
    assert verdict(uncertainty__coverage=0.3).state == "plain"


@pytest.mark.parametrize("psnr, state", [(25.0, "good"), (21.2, "warning"), (20.0, "bad")])
def test_predicted_frames_are_judged_against_the_last_one_repeated(psnr: float, state: str):
    found = verdict(video__psnr=psnr, video__copy_last__psnr=21.0)
    assert found.state == state
    assert "repeating the last seen frame, which reaches 21.0 dB" in found.sentence


@pytest.mark.parametrize("first, state", [(0.7, "good"), (0.3, "warning"), (0.07, "bad")])
def test_the_rank_of_the_true_continuation_is_judged_against_chance(first: float, state: str):
    found = verdict(video__rank1=first, video__rank1__other=0.9)
    assert (found.state, found.value) == (state, f"{first:.0%}")
    assert "lowest energy of 16" in found.sentence
    assert "chance is 6%" in found.sentence
    assert "Among other clips alone 90%" in found.sentence


@pytest.mark.parametrize(
    "accuracy, samples, state", [(0.9, 1000, "good"), (0.62, 32, "warning"), (0.62, 10000, "good"), (0.59, 32, "bad")]
)
def test_probe_below_random_weights_is_bad_and_one_near_them_is_doubtful(accuracy: float, samples: int, state: str):
    found = verdict(probe__accuracy=accuracy, random_init__probe__accuracy=0.6, labelled__test=samples,
                    labelled__majority_accuracy=0.2)  # fmt: skip
    assert found.state == state
    assert "random weights reaches 60.0%; always guessing the most frequent class 20.0%" in found.sentence
    assert ("too near" in found.sentence) == (state == "warning")


@pytest.mark.parametrize("recall, state", [(0.6, "good"), (0.05, "warning"), (0.02, "bad"), (0.0, "bad")])
def test_retrieval_is_judged_by_its_worst_pair_against_chance(recall: float, state: str):
    pairs = {"retrieval.text_to_image.r1": 0.8, "retrieval.image_to_text.r1": recall}
    (found,) = judge(RETRIEVAL | pairs | {"retrieval.text_to_image.r10": 0.0})
    assert found.state == state
    assert found.title == "Retrieval R@1, mean of 2"
    assert "chance is 1.0%" in found.sentence
    assert f"Text → image 80%, image → text {recall:.0%}." in found.sentence


@pytest.mark.parametrize("auroc, state", [(0.99, "good"), (0.75, "warning"), (0.66, "bad"), (0.4, "bad")])
def test_synchrony_is_judged_by_what_the_sound_alone_tells(auroc: float, state: str):
    # 128 clips know a share of 0.62 to 0.043, twice that is 0.086
    (found,) = judge({"sync.auroc": auroc, "sync.chance_auroc": 0.62, "sync.offset_seconds": 0.05, "sync.clips": 128.0})
    assert (found.state, found.title, found.value) == (state, "Synchrony AUROC", f"{auroc:.3f}")
    assert f"in {auroc:.1%} of comparisons; with another clip's picture in 62.0%" in found.sentence
    assert "off by 0.05 s on average" in found.sentence
    (alone,) = judge({"sync.auroc": 0.8})
    assert (alone.state, alone.sentence.endswith("in 80.0% of comparisons.")) == ("good", True)  # chance is a half


def test_retrieval_of_many_pairs_names_the_best_and_the_worst():
    modalities = ("text", "image", "audio", "video")
    pairs = {f"retrieval.{a}_to_{b}.r1": 0.5 for a in modalities for b in modalities if a != b}
    (found,) = judge(RETRIEVAL | pairs | {"retrieval.text_to_video.r1": 0.9, "retrieval.audio_to_text.r1": 0.2})
    assert "Best text → video 90%, worst audio → text 20%." in found.sentence
    assert found.title == "Retrieval R@1, mean of 12"


def test_the_rank_of_what_is_compared_stands_beside_that_of_the_features():
    found = verdict(collapse__verdict="complete", collapse__effective_rank=40.0, collapse__compared__effective_rank=1.2)
    assert found.state == "bad"
    assert found.sentence.endswith("effective rank 40, 1.2 of what the energy compares.")
    assert "compares" not in verdict(collapse__verdict="healthy", collapse__effective_rank=40.0).sentence


def test_collapse_of_every_modality_is_told_and_the_worst_one_judged():
    evaluation = {"collapse.verdict": "healthy", "collapse.effective_rank": 40.0}
    evaluation |= {"audio.collapse.verdict": "partial", "audio.collapse.effective_rank": 3.0}
    evaluation |= {"video.collapse.verdict": "healthy", "random_init.audio.collapse.verdict": "complete"}
    whole, parts = judge(evaluation)
    assert (whole.state, parts.state, parts.value) == ("good", "warning", "partial")
    assert parts.sentence == "audio partial, rank 3; video healthy, rank —."


def test_a_collapsed_modality_is_named_beside_the_verdict():
    found = verdict(collapse__verdict="complete", collapse__effective_rank=40.0, collapse__modalities="audio complete")
    assert found.sentence.endswith("effective rank 40; each modality alone: audio complete.")
    assert "modality" not in verdict(collapse__verdict="healthy", collapse__modalities="").sentence


def test_candidates_of_another_kind_are_said_and_not_judged():
    pairs = {"retrieval.a_to_b.r1": 0.5, "retrieval.b_to_a.r1": 0.5}
    distinct = {"retrieval.a_to_b.distinct.r1": 0.8, "retrieval.b_to_a.distinct.r1": 0.9}
    (plain,), (found,) = judge(RETRIEVAL | pairs), judge(RETRIEVAL | pairs | distinct)
    assert found.sentence == plain.sentence + " Among candidates of another kind 85%."
    assert found[:3] == plain[:3]


@pytest.mark.parametrize("accuracy, state", [(0.9, "good"), (0.5, "warning"), (0.3, "bad")])
def test_a_probe_without_a_modality_is_judged_by_the_worst_against_the_most_frequent_class(accuracy: float, state: str):
    lost = {"absent.video.probe.accuracy": 0.95, "absent.audio.probe.accuracy": accuracy}
    (found,) = judge({**lost, "labelled.majority_accuracy": 0.4})
    assert (found.state, found.value) == (state, f"{accuracy:.1%}")
    assert found.sentence.startswith(f"Without video 95.0%, without audio {accuracy:.1%}; ")


@pytest.mark.parametrize(
    "key, name",
    [
        ("energy.video_to_audio.ladder.other_class", "Video → audio, energy AUROC, negatives: other class"),
        ("energy.video_to_audio.auroc", "Video → audio, energy AUROC"),
        ("retrieval.video_to_audio.distinct.r1", "Video → audio, R@1 among other kinds"),
        ("retrieval.video_to_audio.r1", "Video → audio, R@1"),
        ("absent.audio.knn.accuracy", "KNN accuracy, without audio"),
    ],
)
def test_measures_across_modalities_have_names_and_higher_is_better(key: str, name: str):
    for prefix in ("", "random_init."):
        found = names.measure(prefix + key)
        assert (found.name, found.direction, found.is_baseline) == (name, names.HIGHER, prefix != "")


def test_measures_of_another_kind_are_not_judged():
    keys = ("video.psnr", "probe.accuracy", "uncertainty.coverage", "retrieval.a_to_b.r1", "energy.auroc")
    assert judge({key: value for key in keys for value in (None, "high", float("nan"))}) == []


@pytest.mark.parametrize(
    "key, name, group, direction",
    [
        ("video.psnr", "PSNR of one prediction, dB", "Predicted frames", 1),
        ("video.best_of.16.psnr", "PSNR of the best of 16 predictions, dB", "Predicted frames", 1),
        ("video.copy_last.psnr", "PSNR of the last seen frame repeated, dB", "Predicted frames", 0),
        ("uncertainty.total_variation", "Total variation from the true probabilities", "Several futures", -1),
        ("uncertainty.coverage_of_the_truth", "Futures covered by as many draws from the truth", "Several futures", 0),
        ("retrieval.text_to_image.r10", "Text → image, R@10", "Retrieval", 1),
        ("contrast.energy.auroc", "Energy AUROC (contrast)", "Energies", 1),
        ("energy.ladder.time_reversed", "Energy AUROC, negatives: time reversed", "Energies", 1),
        ("future.energy.ladder.other", "Energy AUROC, negatives: other (future)", "Energies", 1),
        ("audio.knn.accuracy", "kNN accuracy (audio)", "Labels", 1),
        ("video.collapse.verdict", "Collapse verdict (video)", "Collapse", 0),
        ("labelled.majority_accuracy", "Accuracy of guessing the most frequent class", "Labels", 0),
        ("data.missing.audio", "Training samples without audio", "Training", 0),
        ("random_init.audio.probe.accuracy", "Linear probe accuracy (audio)", "Labels", 1),
        ("something.of.{yours}", "something.of.{yours}", names.OTHER, 0),
    ],
)
def test_keys_have_plain_names_with_and_without_a_prefix(key: str, name: str, group: str, direction: int):
    found = names.measure(key)
    assert (found.name, found.group, found.direction) == (name, group, direction)
    assert found.is_baseline == key.startswith("random_init.")


def test_table_keeps_groups_together_and_each_baseline_below_its_measure(tmp_path):
    keys = ["audio.knn.accuracy", "retrieval.a_to_b.r10", "retrieval.a_to_b.r1", "retrieval.a_to_b.r5", "energy.auroc",
            "contrast.energy.auroc", "knn.accuracy", "video.psnr", "custom", "video.collapse.std"]  # fmt: skip
    evaluation = dict.fromkeys([*keys, *(f"random_init.{key}" for key in keys)], 0.5)
    evaluation |= {"random_init.video.copy_last.psnr": 1.0, "video.copy_last.psnr": 1.0, "energy_histogram": {}}
    rows = tables.measures([Record(tmp_path, "", {}, {}, [], evaluation, [], [])])
    trained = [row.key for row in rows if not row.is_baseline]
    assert trained == [
        "energy.auroc", "contrast.energy.auroc", "video.psnr", "video.copy_last.psnr", "retrieval.a_to_b.r1",
        "retrieval.a_to_b.r5", "retrieval.a_to_b.r10", "knn.accuracy", "audio.knn.accuracy", "video.collapse.std",
        "custom",
    ]  # fmt: skip
    for row, following in pairwise(rows):
        if not row.is_baseline and row.key != "video.copy_last.psnr":
            assert following.key == f"random_init.{row.key}"
    assert "random_init.video.copy_last.psnr" not in [row.key for row in rows]
