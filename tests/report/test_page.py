"""The page of a run: whole, self-contained, safe against what the run folder holds, and honest about what it lacks."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmssl.errors import CheckpointError
from mmssl.report import write_report
from mmssl.report.verdict import judge
from tests.report.run_folders import EVALUATION, Elements, bare_folder, outside_references, run_folder


def test_page_asks_for_nothing_outside_itself(html: str):
    assert outside_references(html) == []
    assert "http://" not in html
    assert "https://" not in html
    assert "default-src 'none'" in html


def test_importing_the_report_loads_no_drawing_library():
    heavy = "{'matplotlib', 'jinja2', 'torch'}"
    code = f"import sys, mmssl.report; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "leak",
    [
        '<img src="//example.org/a.png">',
        '<svg><use xlink:href="http://example.org/a.svg#b"/></svg>',
        "<style>@import 'a.css';</style>",
        '<p style="background: url(a.png)">',
        "<script>1</script>",
    ],
)
def test_check_for_outside_references_sees_a_leak(leak: str):
    assert outside_references(f"<html>{leak}</html>") != []


def test_page_holds_every_section_of_an_evaluated_run(html: str):
    text = Elements(html).text
    for expected in (
        *("masked_language", "bert", "savanna", "2,000 of 2,000", "128,000", "1 min 44 s", "700 MiB"),
        *("Xeon Platinum 8481C", "2.13.0", "healthy", "0.981", "3.0% above", "Learning rate", "Gradient norm"),
        *("Tokens per second", "Effective rank", "Reliability", "Linear probe accuracy", "random_init.probe.accuracy"),
        *("cheetah", "60 reported, the first 50 below", "text/49.txt", "mask_ratio: 0.15"),
    ):
        assert expected in text, expected
    assert "text/50.txt" not in text
    assert "Not evaluated yet" not in text
    assert "Missing or unreadable" not in text
    assert html.count("<svg") == 11


def test_truth_is_shown_beside_the_model_only_where_it_is_known(html: str):
    first, second = re.findall(r'<article class="completion">.*?</article>', html, flags=re.DOTALL)
    assert 'class="truth" style="width:45.0%"' in first
    assert 'class="model" style="width:41.0%"' in first
    assert first.count(">truth<") == 2
    assert "truth" not in second


def test_unevaluated_run_says_how_to_evaluate_it(tmp_path: Path):
    folder = run_folder(tmp_path / "fresh")
    html = write_report([folder]).read_text()
    assert html.count(f"Not evaluated yet: run <code>mmssl evaluate {folder}</code>") >= 4
    assert "Missing or unreadable" not in html
    assert "held out: from" in html


def test_run_with_nothing_but_a_config_says_what_is_missing(tmp_path: Path):
    folder = bare_folder(tmp_path / "bare")
    text = Elements(write_report([folder]).read_text()).text
    for expected in ("metrics.jsonl is missing", "environment.json is missing", "No energy.gap in metrics.jsonl"):
        assert expected in text


def test_page_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path):
    run = bare_folder(tmp_path / "run")
    (tmp_path / "taken").mkdir()
    with pytest.raises(CheckpointError, match=r"taken.*expected a file that can be written"):
        write_report([run], tmp_path / "taken")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="expected a file that can be written"):
        write_report([run], tmp_path / "file" / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run", "taken"]


def test_what_the_run_folder_holds_never_becomes_markup(tmp_path: Path):
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)> \"'&--> $x^2$ \ud800 猫"
    hostile = {
        "text": attack + " [MASK]",
        "predictions": [[[attack, 0.4]]],
        "truth": [[["</style>" + attack, 0.4]]],
    }
    folder = run_folder(tmp_path / "<b>&$x$ 猫", evaluation={**EVALUATION, attack: attack, "completions": [hostile]})
    (folder / "environment.json").write_text(json.dumps({attack: attack}))
    (folder / "bad_samples.jsonl").write_text(json.dumps({attack: attack}) + "\n")
    lines = [{"step": step, "loss": 1.0, attack: 0.5 / step, "other": 0.5, "samples_seen": step} for step in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text(f"task: {json.dumps(attack)}\n")
    for runs in ([folder], [folder, folder]):
        html = write_report(runs).read_text(encoding="utf-8")
        elements = Elements(html)
        assert "<script" not in html
        assert "script" not in elements.tags
        assert "img" not in elements.tags
        assert not [name for name, _ in elements.attributes if name.startswith("on")]
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_check_for_markup_sees_a_page_that_does_not_escape(evaluated: Path, tmp_path: Path, monkeypatch):
    import jinja2

    class Careless(jinja2.Environment):
        def __init__(self, **options):
            super().__init__(**{**options, "autoescape": False})

    monkeypatch.setattr(jinja2, "Environment", Careless)
    example = {"text": "<script>alert(1)</script>", "predictions": []}
    folder = bare_folder(tmp_path / "careless", evaluation={"completions": [example]})
    assert "script" in Elements(write_report([folder]).read_text()).tags


@pytest.mark.parametrize(
    "key, value",
    [
        ("calibration", {"confidence": [0.5], "accuracy": ["x"], "count": [3]}),
        ("calibration", {"confidence": [None], "accuracy": [None], "count": [0]}),
        ("energy_histogram", {"edges": [0, 1], "compatible": [1, 2, 3], "incompatible": [1]}),
        ("completions", [{"text": "a [MASK]"}]),
        ("completions", {"text": "a"}),
    ],
)
def test_part_of_the_evaluation_in_another_form_is_said(tmp_path: Path, key: str, value: object):
    folder = bare_folder(tmp_path / "odd", evaluation={key: value})
    assert f"{key} in evaluation.json is not of the expected form" in write_report([folder]).read_text()


def test_several_runs_are_compared_side_by_side(evaluated: Path, tmp_path: Path):
    other = run_folder(tmp_path / "wide_mask", evaluation={"probe.accuracy": 0.9}, mask_ratio=0.4, offset=0.3)
    fresh = bare_folder(tmp_path / "fresh")
    out = write_report([evaluated, other, fresh], tmp_path / "deep" / "compared.html")
    assert out == tmp_path / "deep" / "compared.html"
    html = out.read_text()
    text = Elements(html).text
    for expected in ("3 runs", "1 quickstart", "2 wide_mask", "3 fresh", "method.mask_ratio", "Training loss"):
        assert expected in text
    assert f"mmssl evaluate {fresh}" in text
    assert outside_references(html) == []
    assert html.count("<details>") == 3


def test_page_is_the_same_bytes_for_the_same_run(evaluated: Path, html: str, tmp_path: Path):
    assert write_report([evaluated], tmp_path / "again.html").read_text(encoding="utf-8") == html


@pytest.mark.parametrize(
    "verdict, auroc, entropy, states",
    [
        ("healthy", 0.98, 1.26, ["good", "good", "good"]),
        ("partial", 0.7, 1.27, ["warning", "warning", "warning"]),
        ("complete", 0.5, 1.2, ["bad", "bad", "good"]),
    ],
)
def test_verdict_judges_by_chance_and_floor(verdict: str, auroc: float, entropy: float, states: list[str]):
    evaluation = {
        "collapse.verdict": verdict,
        "energy.auroc": auroc,
        "text.cross_entropy": entropy,
        "text.floor": 1.206,
    }
    assert [finding.state for finding in judge(evaluation)] == states


def is_blank(picture: Path) -> bool:
    from PIL import Image

    with Image.open(picture) as image:
        return len(set(image.convert("L").resize((200, 200)).tobytes())) < 20


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_page_opens_in_a_browser(evaluated: Path, html: str, tmp_path: Path):
    empty = tmp_path / "empty.html"
    empty.write_text("<!DOCTYPE html><title>empty</title>")
    for name, source in (("report", evaluated / "report.html"), ("empty", empty)):
        switches = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
        switches += " disable-component-update disable-sync hide-scrollbars window-size=1200,1600"
        command = ["chromium", *(f"--{switch}" for switch in switches.split()), f"--user-data-dir={tmp_path / name}"]
        command += [f"--screenshot={tmp_path / name}.png", source.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=tmp_path)
        assert is_blank(tmp_path / f"{name}.png") == (name == "empty")
