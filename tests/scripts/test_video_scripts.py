"""The scripts of the tables of videos collect what tiny runs measured, and draw it."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
from media_runs import media_text
from PIL import Image
from running import call

USED = ("tables", "video", "draw_video", "video_columns")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder with a finished run on digits."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.yaml").write_text(media_text("video_prediction"))
    run = f"run={folder / 'frame_prediction_latent-digits'}"
    assert call("pretrain", folder / "tiny.yaml", run, "data.source=digits", "evaluate.futures=5") == 0
    return folder


def asked_for(*only: str, **real: tuple[Path, Path]) -> Namespace:
    folders = {"clips": None, "gestures": None, **real}
    return Namespace(out=Path("out"), steps=7, seconds=0.0, batch=32, futures=20, only=only, **folders)


def columns_of(table: str) -> list[str]:
    return table.splitlines()[0].strip("| ").split(" | ")


def test_a_run_is_collected_with_its_protocol_and_stands_in_both_tables(scripts, out, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts["tables"], "RESULTS", tmp_path)
    name = "frame_prediction_latent-digits"
    scripts["tables"].collect("video", [f"{name}={out / name}"])
    found = json.loads((tmp_path / "video.json").read_text())[name]
    assert found["video.protocol"]["samples"] == 5
    assert len(found["video.psnr_per_frame"]) == 2
    tables = scripts["tables"].tables()
    for mark in ("video_digits", "frames_digits", "ladder_digits"):
        assert tables[mark].splitlines()[2].startswith("| `frame_prediction_latent` | ")
        assert len(tables[mark].splitlines()) == 3
    assert {"z", "frames"} <= {*columns_of(tables["video_digits"])}
    assert columns_of(tables["ladder_digits"])[1:] == [
        "other", "same class", "time reversed", "frames shuffled", "time shifted",
    ]  # fmt: skip
    assert "best of 5 |" in tables["frames_digits"]
    assert "best of 100" not in tables["frames_digits"]
    assert tables["video_savanna"] == ""  # no row yet


@pytest.mark.parametrize(
    "source, said", [("savanna", "savanna"), (0.05, 0.05), ("/home/me/made/objects/train", "FOLDER/objects/train")]
)
def test_figures_do_not_say_where_the_folders_of_a_machine_lie(scripts, source, said):
    assert scripts["tables"].placeless(source) == said


def test_a_row_of_the_picture_is_drawn_for_each_run_of_a_source(scripts, out, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts["draw_video"], "RESULTS", tmp_path)
    assert scripts["draw_video"].draw(out, "savanna") is None
    path = scripts["draw_video"].draw(out, "digits")
    assert path == tmp_path / "video_digits.png"
    with Image.open(path) as image:
        assert image.size[0] > 10 * image.size[1] / 2  # 14 pictures beside each other


def test_the_curves_of_real_clips_are_drawn_as_far_as_there_are_any(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(scripts["draw_video"], "RESULTS", tmp_path)
    lines = [{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.5, "heldout.loss": 1.75}]
    for name in ("vjepa-digits", "vjepa-clips", "videomae-clips"):
        assert scripts["draw_video"].draw_curves(tmp_path) is None or name == "videomae-clips"
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    path = scripts["draw_video"].draw_curves(tmp_path)
    with Image.open(path) as image:
        assert image.size[0] > 2 * image.size[1]  # two panels beside each other


def test_a_row_is_run_on_each_source_or_on_one(scripts):
    wanted = scripts["video"].wanted_of
    rows = [*scripts["video"].ROWS]
    assert [*wanted(asked_for("vjepa"), rows)] == ["vjepa-savanna", "vjepa-digits"]
    real = asked_for("vjepa", gestures=(Path("real"), Path("real/test")))
    assert [*wanted(real, rows)] == ["vjepa-savanna", "vjepa-digits", "vjepa-gestures"]
    assert [*wanted(asked_for("frame_prediction-digits"), rows)] == ["frame_prediction-digits"]
    words = wanted(real, rows)["vjepa-gestures"]
    assert words.index("data.seconds=1.5") > words.index("data.seconds=2.0")  # the last one counts
    assert {"data.source=real", "data.heldout=real/test", "train.steps=7"} <= {*words}
    assert not [word for word in words if word.startswith("evaluate.source")]  # they have no labels
    labelled = asked_for("vjepa", clips=(Path("real"), Path("real/test")))
    assert {"data.source=real", "evaluate.source=real"} <= {*wanted(labelled, rows)["vjepa-clips"]}
    assert "data.source=digits" in wanted(asked_for("vjepa-digits"), rows)["vjepa-digits"]


def test_a_row_whose_method_is_not_there_is_left_out(scripts, monkeypatch):
    monkeypatch.setattr(scripts["video"], "METHODS", {"vjepa": None})
    rows = [*scripts["video"].ROWS]
    assert [*scripts["video"].wanted_of(asked_for(*rows), rows)] == ["vjepa-savanna", "vjepa-digits"]
