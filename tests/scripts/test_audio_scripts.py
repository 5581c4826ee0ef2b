"""The scripts of the tables of sounds: no recording is in both parts, and each row stands beside its baselines."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
from making_media import sound

from mmssl.config import load_config
from mmssl.runs import task_of

USED = ("tables", "audio", "audio_columns", "prepare_audio")


@pytest.fixture(scope="module")
def data(scripts, tmp_path_factory):
    """What the data script writes of recordings that are laid out in any way."""
    folder = tmp_path_factory.mktemp("recordings")
    for speaker in ("george", "yweweler"):
        for index in (0, 4, 5, 49):
            sound(folder / "spoken" / "somewhere" / f"7_{speaker}_{index}.wav", 0.1, rate_hz=8000)
    for number in range(1, 6):
        sound(folder / "around" / f"DRONE_{number:03}.flac", 0.1, rate_hz=16000)
    scripts["prepare_audio"].main(folder / "spoken", folder / "around", folder / "out")
    return folder / "out"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.*")}


def test_no_recording_is_in_both_parts_and_none_is_lost(scripts, data):
    for name, count in (("digits", 8), ("speakers", 8), ("environment", 5)):
        train, test = (names(data / name / part) for part in ("train", "test"))
        assert not train & test
        assert len(train | test) == count
    assert names(data / "digits" / "test" / "7") == {
        f"7_{who}_{i}.wav" for who in ("george", "yweweler") for i in (0, 4)
    }
    assert {name.split("_")[1] for name in names(data / "speakers" / "test")} == {"yweweler"}
    assert names(data / "environment" / "test" / "drone") == {f"DRONE_{number:03}.flac" for number in (3, 4, 5)}


def asked_for(data: Path, *only: str, finetune_seconds: float = 0.0) -> Namespace:
    return Namespace(out=Path("out"), data=data, seconds=7.0, at_once=1, finetune_seconds=finetune_seconds, only=only)


def test_a_row_is_run_on_each_set_that_is_there_or_on_one(scripts, data, tmp_path):
    wanted, rows = scripts["audio"].wanted_of, [*scripts["audio"].ROWS]
    sets = ("digits", "speakers", "environment")
    assert [*wanted(asked_for(data, "audio_mae"), rows)] == [f"audio_mae-{name}" for name in sets]
    assert [*wanted(asked_for(data, "audio_mae-digits"), rows)] == ["audio_mae-digits"]
    assert wanted(asked_for(tmp_path, "audio_mae"), rows) == {}
    words = wanted(asked_for(data, "audio_mae", finetune_seconds=5.0), rows)["audio_mae-digits"]
    assert {f"data.heldout={data / 'digits' / 'test'}", "train.seconds=7.0", "evaluate.finetune=true"} <= {*words}


def test_rows_whose_method_or_config_is_not_there_are_left_out(scripts, data, monkeypatch):
    rows = [*scripts["audio"].ROWS]
    monkeypatch.setattr(scripts["audio"], "METHODS", {"vqvae": None})
    assert [*scripts["audio"].wanted_of(asked_for(data, *rows), rows)] == [
        f"vqvae-{name}" for name in ("digits", "speakers", "environment")
    ]
    monkeypatch.setattr(scripts["audio"], "config_of", lambda method: Path("nowhere"))
    assert scripts["audio"].wanted_of(asked_for(data, *rows), rows) == {}


def test_the_second_time_begins_from_the_first_run_on_the_same_set(scripts, data):
    words = scripts["audio"].wanted_of(asked_for(data, "hubert_again"), [*scripts["audio"].ROWS])
    assert "method.pretrained=out/hubert-digits" in words["hubert_again-digits"]
    assert "method.pretrained=out/hubert-environment" in words["hubert_again-environment"]
    first = scripts["audio"].wanted_of(asked_for(data, "hubert"), [*scripts["audio"].ROWS])
    assert not [word for word in first["hubert-digits"] if word.startswith("method.pretrained")]


def test_the_configs_of_all_rows_can_be_read(scripts, data):
    rows = [*scripts["audio"].ROWS]
    for words in scripts["audio"].wanted_of(asked_for(data, *rows), rows).values():
        config = load_config(words[0], [*words[1:], "run=run"])
        assert task_of(config).TASK.modalities == ("audio",)


def test_a_table_has_random_weights_the_statistics_and_chance(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts["tables"], "RESULTS", tmp_path)
    figures = {
        "knn.accuracy": 0.5, "random_init.knn.accuracy": 0.4, "probe.accuracy": 0.7, "random_init.probe.accuracy": 0.6,
        "logmel.knn.accuracy": 0.3, "logmel.probe.accuracy": 0.8, "labelled.majority_accuracy": 0.1,
        "collapse.temporal_verdict": "healthy", "samples_seen": 1000,
    }  # fmt: skip
    (tmp_path / "audio.json").write_text(json.dumps({"audio_mae-digits": figures, "audio_mae-environment": {}}))
    lines = scripts["tables"].tables()["audio_digits"].splitlines()
    assert lines[0] == "| run | kNN | probe | frames | samples seen |"
    assert lines[2] == "| log-mel statistics | 30.0% | 80.0% | – | – |"
    assert lines[3] == "| most frequent class | 10.0% | 10.0% | – | – |"
    assert lines[4] == "| `audio_mae` | 50.0% (40.0%) | 70.0% (60.0%) | healthy | 1,000 |"
    assert len(lines) == 5
    assert scripts["tables"].tables()["audio_speakers"] == ""
