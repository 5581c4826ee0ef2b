"""The charts of a page: what is drawn, and that it can be told apart and read."""

import json
import re
from pathlib import Path

import pytest

from mmssl.report import figures, write_report
from tests.report.run_folders import bare_folder, run_folder


def test_terms_of_the_loss_are_drawn_where_there_are_several(tmp_path: Path):
    folder = run_folder(tmp_path / "terms")
    lines = [{"step": step, "loss": 3.0 / step, "invariance": 1.0 / step, "variance": 2.0 / step} for step in (1, 2, 4)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    html = write_report([folder]).read_text()
    assert "training: from 3 to 0.75, lowest 0.75; invariance: from 1 to 0.25, lowest 0.25; variance: " in html


def test_many_terms_of_the_loss_are_drawn_each_on_a_scale_of_its_own(tmp_path: Path):
    folder = run_folder(tmp_path / "many")
    names = [f"contrast/text_{number}" for number in range(10)]
    lines = [{"step": step, "loss": 3.0 / step} | {name: 10.0**-at for at, name in enumerate(names)} for step in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    html = write_report([folder]).read_text()
    assert 'aria-label="Loss. training: from 3 to 1.5, lowest 1.5"' in html
    for name in names:
        assert f"<b>{name}</b>" in html
        assert f'aria-label="{name}. {name}: from ' in html


def test_term_that_would_be_a_flat_line_gets_a_chart_of_its_own(tmp_path: Path):
    folder = run_folder(tmp_path / "small")
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0, "video": 1.0, "video.z": 0.001}\n')
    assert 'aria-label="video.z. video.z: from 0.001' in write_report([folder]).read_text()


def test_terms_beyond_what_can_be_looked_at_are_said(tmp_path: Path):
    folder = run_folder(tmp_path / "hundred")
    line = {"step": 1, "loss": 1.0} | {f"term {number}": 1.0 for number in range(100)}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    html = write_report([folder]).read_text()
    assert "the first 24 of 100; all are in metrics.jsonl" in html
    assert "term 23:" in html
    assert "term 24:" not in html


def test_no_two_of_many_lines_are_drawn_alike():
    styles = [figures.style(index) for index in range(40)]
    assert len({(one["color"], str(one["linestyle"])) for one in styles}) == 40


def test_long_run_is_averaged_to_few_points():
    x, y = figures.thinned([float(at) for at in range(4000)], [float(at % 2) for at in range(4000)])
    assert len(x) == len(y) == 400
    assert x[0] == 4.5
    assert set(y) == {0.5}
    assert figures.thinned([1.0, 2.0], [3.0, 4.0]) == ([1.0, 2.0], [3.0, 4.0])


@pytest.mark.parametrize(
    "value, expected",
    [(0.0005, "0.0005"), (1234, "1,234"), (12000, "12k"), (2.5e6, "2.5M"), (-20000, "-20k"), (0.1 + 0.2, "0.3")],
)
def test_ticks_are_short(value: float, expected: str):
    assert figures.compact(value) == expected


def test_every_chart_says_in_words_what_it_shows(html: str):
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', html)
    assert len(labels) == html.count("<svg")
    assert any(re.search(r"training: from 7\.\d+ to 1\.\d+, lowest 1\.\d+; held out: ", label) for label in labels)


LADDER = {
    "energy.ladder.other": 0.9, "energy.ladder.time_reversed": 0.7, "random_init.energy.ladder.time_reversed": 0.52,
    "future.energy.ladder.other": 0.8,
}  # fmt: skip


def ladder_of(folder: Path, evaluation: dict) -> str | None:
    """What the chart of the kinds of negatives says; None where there is no such chart."""
    html = write_report([bare_folder(folder, evaluation)]).read_text()
    found = re.findall(r'aria-label="(Energy AUROC of each kind[^"]*)".*?</svg>', html, flags=re.DOTALL)
    return found[0] if found else None


def test_every_kind_of_negative_has_a_bar_beside_random_weights_and_chance(tmp_path: Path):
    said = ladder_of(tmp_path / "run", LADDER)
    assert said is not None
    assert said.endswith("other: 0.900; time reversed: 0.700; other (future): 0.800; chance: 0.5")
    drawing = re.findall(r"Energy AUROC of each kind.*?</svg>", (tmp_path / "run/report.html").read_text(), re.DOTALL)
    for text in ("time reversed", "0.700", "0.520", "random weights", "trained", "chance"):
        assert f">{text}</text>" in drawing[0]


def test_one_kind_of_negative_makes_no_ladder_and_random_weights_are_no_kind(tmp_path: Path):
    alone = {"energy.ladder.other": 0.9, "random_init.energy.ladder.other": 0.6}
    assert ladder_of(tmp_path / "one", alone) is None
    broken = {"energy.ladder.a": "high", "energy.ladder.b": None, "energy.ladder.c": 0.5}
    assert ladder_of(tmp_path / "odd", broken) is None


def test_a_ladder_without_random_weights_has_no_bars_for_them(tmp_path: Path):
    assert ladder_of(tmp_path / "run", {"energy.ladder.a": 0.9, "energy.ladder.b": 0.2}) is not None
    assert ">random weights</text>" not in (tmp_path / "run/report.html").read_text()


def test_a_long_ladder_says_what_it_leaves_out(tmp_path: Path):
    said = ladder_of(tmp_path / "run", {f"energy.ladder.kind_{number}": 0.9 for number in range(40)})
    assert said is not None
    assert said.count(": 0.900") == 16
    assert "the first 16 of 40 kinds" in (tmp_path / "run/report.html").read_text()


def test_more_of_the_collapse_panel_is_drawn_only_where_it_was_logged(tmp_path: Path):
    folder = run_folder(tmp_path / "run")
    assert "within a training batch" not in write_report([folder]).read_text()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 2010, "collapse.batch_std": 0.7, "collapse.verdict": "healthy"}) + "\n")
    html = write_report([folder]).read_text()
    assert "within a training batch, 1 = isotropic: from 0.7 to 0.7" in html
    assert "Collapse verdict" not in html
