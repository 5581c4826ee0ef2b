"""The script of audio-visual tables asks for the rows that there are, and its figures come into the tables."""

import json
from argparse import Namespace
from pathlib import Path

from mmssl.config import load_config
from mmssl.methods import METHODS

USED = ("tables", "audio_visual", "audio_visual_columns")


def asked_for(*only: str, data: Path | None = None) -> Namespace:
    return Namespace(out=Path("out"), steps=7, seconds=0.0, batch=8, only=only, data=data)


def test_every_row_that_is_there_has_a_config_that_loads(scripts):
    script = scripts["audio_visual"]
    wanted = script.wanted_of(asked_for(*script.ROWS))
    there = {row for row, (method, _) in script.ROWS.items() if method in METHODS}
    assert wanted.keys() == {f"{row}-savanna" for row in there} >= {"audio_visual_jepa_latent-savanna"}
    for name in (
        "audio_visual_jepa_latent-savanna",
        "audio_from_video_mean-savanna",
        "audio_visual_jepa_across-savanna",
    ):
        config = load_config(*[wanted[name][0], wanted[name][1:]])
        assert config.data.source == "savanna"
        assert config.train.steps == 7


def test_real_pairs_are_read_where_their_folder_is_given(scripts):
    script = scripts["audio_visual"]
    wanted = script.wanted_of(asked_for("audio_visual_jepa", "audio_from_video-pairs", data=Path("data")))
    assert [*wanted] == ["audio_visual_jepa-savanna", "audio_visual_jepa-pairs", "audio_from_video-pairs"]
    assert "data.paired=data/made/sounds" in wanted["audio_visual_jepa-pairs"]


def test_what_was_measured_stands_in_the_tables_beside_random_weights(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts["tables"], "RESULTS", tmp_path)
    figures = {
        "retrieval.video_to_audio.r1": 0.5, "random_init.retrieval.video_to_audio.r1": 0.01,
        "absent.audio.probe.accuracy": 0.75, "collapse.modalities": "audio partial",
    }  # fmt: skip
    (tmp_path / "audio_visual.json").write_text(json.dumps({"audio_from_video_mean-savanna": figures}))
    tables = scripts["tables"].tables()
    assert tables["across_savanna"].splitlines()[2] == "| `audio_from_video_mean` | 50% (1%) |"
    assert tables["features_savanna"].splitlines()[2] == "| `audio_from_video_mean` | 75.0% | audio partial |"
    assert tables["across_pairs"] == ""


def test_captions_are_found_both_ways_and_features_stand_above_chance(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts["tables"], "RESULTS", tmp_path)
    figures = {
        "retrieval.text_to_video.r1": 0.5, "retrieval.video_to_text.r1": 0.25, "sync.auroc": 0.75,
        "sync.chance_auroc": 0.5, "knn.accuracy": 0.875, "audio.knn.accuracy": 0.75, "logmel.knn.accuracy": 1.0,
        "labelled.majority_accuracy": 0.125,
    }  # fmt: skip
    (tmp_path / "audio_visual.json").write_text(json.dumps({"contrastive_captions-savanna": figures}))
    tables = scripts["tables"].tables()
    headings, _, row = tables["across_savanna"].splitlines()
    assert headings == "| run | words to video R@1 | video to words R@1 | sync AUROC | with another picture |"
    assert row == "| `contrastive_captions` | 50% | 25% | 0.750 | 0.500 |"
    assert tables["features_savanna"].splitlines()[2:] == [
        "| log-mel statistics | – | 100.0% |", "| most frequent class | 12.5% | 12.5% |",
        "| `contrastive_captions` | 87.5% | 75.0% |",
    ]  # fmt: skip
