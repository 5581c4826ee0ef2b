"""The tables of README.md and docs/ are those of METHODS and of the recorded figures."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from mmssl.methods import METHODS

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))  # where the script finds what it imports


def script():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_hold_the_tables_as_they_would_be_written_now():
    tables = script()
    found = tables.tables()
    for page in tables.PAGES:
        assert tables.marked(page.read_text(), found) == page.read_text()
    readme = (ROOT / "README.md").read_text()
    marks = ("words", "savanna_short", "leaderboard_short", "video_short", "audio_short", "audio_visual_short")
    assert all(f"<!-- {mark} -->" in readme for mark in marks)


def test_every_method_has_a_row_with_measured_figures():
    found = script().tables()
    rows = {
        kind: {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
        for kind, table in found.items()
    }
    short = ("words", "leaderboard_short", "video_short", "audio_short", "audio_visual_short", "savanna_short")
    assert {name for kind in short for name in rows[kind]} == set(METHODS)
    assert set(rows["leaderboard"]) == set(rows["leaderboard_short"]) == set(script().PICTURES)
    assert {"simclr", "swav", "byol", "ijepa", "data2vec"} < set(rows["collapse"]) < set(script().PICTURES)
    assert all(any(letter.isdigit() for letter in row.split("|", 3)[3]) for of in rows.values() for row in of.values())


def cited_without_row(path: Path, tables) -> list[str]:
    """The pages that the header of a config names, of which no run is named like it."""
    text = path.read_text()
    task = re.findall(r"^task: (\w+)", text, re.MULTILINE)[0]
    name = path.stem.removeprefix(f"{task}_").removesuffix("_folder")
    rows = {
        page: {run.rpartition("-")[0] or run for run in tables.recorded(page)}
        for page in re.findall(r"docs/results/(\w+)\.md", text)
    }
    return [page for page, runs in rows.items() if runs.isdisjoint((name, f"audio_visual_{name}"))]


def test_the_pages_that_a_config_cites_have_a_row_of_it(tmp_path):
    tables, configs = script(), [*(ROOT / "configs").glob("*.yaml")]
    assert {path.name: cited for path in configs if (cited := cited_without_row(path, tables))} == {}
    wrong = tmp_path / "video_prediction_frame_prediction_resnet_folder.yaml"
    wrong.write_text("# Measured: docs/results/video.md.\ntask: video_prediction\n")
    assert cited_without_row(wrong, tables) == ["video"]


@pytest.mark.parametrize("kind", ["savanna", "folder"])
def test_every_row_of_features_stands_beside_random_weights(kind):
    figures = script().recorded("first_way")
    runs = {name: found for name, found in figures.items() if name.endswith(kind)}
    assert runs
    assert all("random_init.energy.auroc" in found for found in runs.values())
