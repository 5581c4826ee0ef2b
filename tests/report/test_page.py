"""The page of a run: whole, self-contained, safe against what the run folder holds, and honest about what it lacks."""

import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mmssl.errors import CheckpointError, ConfigError
from mmssl.report import figures, record, tables, write_report
from mmssl.report.verdict import judge

CONFIG = """\
task: masked_language
run: runs/{name}
seed: 0
data: {{source: savanna, samples: 20000}}
method: {{name: bert, mask_ratio: {mask_ratio}}}
encoder: {{name: bert, layers: 4, width: 256}}
train: {{steps: 2000, batch_size: 64, learning_rate: 0.001}}
"""
ENVIRONMENT = {
    "python": "3.11.9",
    "hardware": {"processor": "Xeon Platinum 8481C", "cores": 2, "memory_bytes": 17179869184},
    "versions": {"mmssl": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
}
EVALUATION = {
    "energy.auroc": 0.981,
    "energy.gap": 3.27,
    "energy.ladder.other": 0.996,
    "energy.ladder.one_word": 0.981,
    "collapse.verdict": "healthy",
    "collapse.effective_rank": 96.4,
    "collapse.std": 0.913,
    "knn.accuracy": 0.874,
    "random_init.knn.accuracy": 0.412,
    "probe.accuracy": 0.931,
    "random_init.probe.accuracy": 0.655,
    "text.cross_entropy": 1.242,
    "text.floor": 1.206,
    "text.perplexity": 3.463,
    "text.calibration_error": 0.012,
    "samples_seen": 128000,
    "seconds": 104.2,
    "calibration": {
        "confidence": [0.05, 0.15, 0.26, 0.35, 0.45, 0.55, 0.66, None, 0.85, 0.97],
        "accuracy": [0.04, 0.16, 0.24, 0.36, 0.43, 0.57, 0.64, None, 0.86, 0.98],
        "count": [120, 340, 610, 580, 420, 300, 260, 0, 190, 900],
    },
    "energy_histogram": {
        "edges": [0.5 * edge for edge in range(17)],
        "compatible": [40, 190, 310, 260, 120, 50, 20, 7, 3, 0, 0, 0, 0, 0, 0, 0],
        "incompatible": [0, 2, 11, 40, 90, 210, 480, 900, 1300, 1500, 1350, 900, 500, 210, 70, 20],
    },
    "completions": [
        {
            "text": "The [MASK] chases the [MASK] in the savanna.",
            "predictions": [
                [["lion", 0.41], ["cheetah", 0.2], ["hyena", 0.17], ["leopard", 0.09]],
                [["gazelle", 0.37], ["zebra", 0.28], ["impala", 0.19]],
            ],
            "truth": [
                [["lion", 0.45], ["cheetah", 0.2], ["hyena", 0.15], ["leopard", 0.1]],
                [["gazelle", 0.35], ["zebra", 0.3], ["impala", 0.2]],
            ],
        },
        {"text": "The [MASK] hides.", "predictions": [[["mouse", 0.62], ["cat", 0.11]]]},
    ],
}


def metrics(offset: float = 0.0) -> list[dict]:
    lines = []
    for step in range(10, 2001, 10):
        wobble = 0.06 * math.sin(step * 1.7) * math.cos(step * 0.31)
        line = {"step": step, "samples_seen": step * 64, "seconds": step * 0.052}
        line |= {"loss": 1.24 + offset + 7 * math.exp(-step / 180) + wobble}
        line |= {"learning_rate": 1e-3 * min(step / 200, (2000 - step) / 1800), "gradient_norm": 0.8 + 5 / step**0.5}
        line |= {"tokens_per_second": 15800 + 900 * math.sin(step / 37), "peak_memory_bytes": 734003200}
        lines.append(line)
        if step % 200 == 0:
            grown = 1 - math.exp(-step / 400)
            line = {"step": step, "heldout.loss": 1.25 + offset + 7 * math.exp(-step / 180)}
            line |= {"energy.auroc": 0.5 + 0.48 * grown, "energy.gap": 3.3 * grown}
            lines.append(line | {"collapse.effective_rank": 8 + 89 * grown, "collapse.std": 0.4 + 0.52 * grown})
    return lines


def run_folder(folder: Path, *, evaluation: dict | None = None, mask_ratio: float = 0.15, offset: float = 0.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(name=folder.name, mask_ratio=mask_ratio))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics(offset)))
    if evaluation is not None:
        (folder / "evaluation.json").write_text(json.dumps(evaluation))
    bad = [{"path": f"text/{index}.txt", "offset": 17, "count": 2, "reason": "not UTF-8"} for index in range(60)]
    (folder / "bad_samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in bad))
    return folder


def bare_folder(folder: Path, evaluation: dict | None = None) -> Path:
    """A run that has logged nothing yet."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("task: masked_language\n")
    if evaluation is not None:
        (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    return run_folder(tmp_path_factory.mktemp("runs") / "quickstart", evaluation=EVALUATION)


@pytest.fixture(scope="module")
def html(evaluated: Path) -> str:
    return write_report([evaluated]).read_text(encoding="utf-8")


class Elements(HTMLParser):
    """The elements, attributes and visible text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def outside_references(html: str) -> list[str]:
    """Whatever in a page would make a browser ask somewhere; `data:` and `#part` are inside."""
    loaded = {"src", "srcset", "href", "xlink:href", "data", "action", "poster", "background", "formaction"}
    elements = Elements(html)
    inside = ("#", "data:")
    found = [value for name, value in elements.attributes if name in loaded and not value.startswith(inside)]
    found += [address for address in re.findall(r"url\(\s*['\"]?([^)'\"]*)", html) if not address.startswith(inside)]
    found += re.findall(r"@import[^;]*", html)
    found += [value for name, value in elements.attributes if "://" in value and not name.startswith("xmlns")]
    found += [tag for tag in elements.tags if tag in {"script", "iframe", "object", "embed", "base"}]
    return found


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
    assert html.count("<svg") == 10


def test_every_chart_says_in_words_what_it_shows(html: str):
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', html)
    assert len(labels) == html.count("<svg")
    assert any(re.search(r"training: from 7\.\d+ to 1\.\d+, lowest 1\.\d+; held out: ", label) for label in labels)


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


def test_folder_that_is_no_run_is_refused_by_name(tmp_path: Path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(CheckpointError, match=r"notes is not a run: it holds no config.yaml and no metrics.jsonl"):
        write_report([tmp_path / "notes"])
    with pytest.raises(CheckpointError, match=r"absent is not a run: there is no such folder"):
        write_report([tmp_path / "absent"])
    with pytest.raises(ConfigError, match="expected at least one run folder"):
        write_report([])


def test_page_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path):
    run = bare_folder(tmp_path / "run")
    (tmp_path / "taken").mkdir()
    with pytest.raises(CheckpointError, match=r"taken.*expected a file that can be written"):
        write_report([run], tmp_path / "taken")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="expected a file that can be written"):
        write_report([run], tmp_path / "file" / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run", "taken"]


def test_half_written_last_line_is_tolerated_and_said(tmp_path: Path):
    folder = run_folder(tmp_path / "cut")
    whole = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(whole + '{"step": 2010, "lo')
    found = record.read_record(folder)
    assert found.notes == [
        "The last line of metrics.jsonl is half written (the run was cut off, or still runs); left out."
    ]
    assert found.last("step") == 2000


def test_broken_lines_within_the_metrics_are_counted(tmp_path: Path):
    folder = run_folder(tmp_path / "broken")
    whole = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_bytes(b"\xff\xfe\n[1]\n" + whole.encode())
    notes = record.read_record(folder).notes
    assert notes == ["2 of 212 lines of metrics.jsonl cannot be read (first: line 1)."]


def test_steps_run_again_after_a_resume_replace_the_first_ones(tmp_path: Path):
    folder = run_folder(tmp_path / "resumed")
    lines = [(10, 9.0), (20, 8.0), (30, 7.0), (20, 5.0), (30, 4.0)]
    (folder / "metrics.jsonl").write_text("".join(f'{{"step": {step}, "loss": {loss}}}\n' for step, loss in lines))
    assert record.read_record(folder).series("loss") == ([10.0, 20.0, 30.0], [9.0, 5.0, 4.0])


def test_loss_that_is_not_finite_is_said_and_left_out_of_the_curve(tmp_path: Path):
    folder = run_folder(tmp_path / "diverged")
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": NaN}\n')
    found = record.read_record(folder)
    assert found.notes == ["The loss is not finite at step 2."]
    assert found.series("loss") == ([1.0], [2.0])
    assert "The loss is not finite at step 2." in write_report([folder]).read_text()


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


@pytest.mark.parametrize("content", ["{", "[1, 2]", ""])
def test_unreadable_evaluation_is_said(tmp_path: Path, content: str):
    folder = bare_folder(tmp_path / "unreadable")
    (folder / "evaluation.json").write_text(content)
    html = write_report([folder]).read_text()
    assert "evaluation.json is not a JSON object" in html
    assert "Not evaluated yet" in html


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


def test_comparison_marks_the_better_value_in_the_direction_of_the_measure(evaluated: Path, tmp_path: Path):
    other = EVALUATION | {"probe.accuracy": 0.9, "text.cross_entropy": 1.2, "random_init.probe.accuracy": 0.7}
    runs = [record.read_record(evaluated), record.read_record(run_folder(tmp_path / "b", evaluation=other))]
    best = {row.key: row.best for row in tables.measures(runs)}
    assert best["probe.accuracy"] == {0}
    assert best["text.cross_entropy"] == {1}
    assert best["energy.auroc"] == set()  # a tie
    assert best["random_init.probe.accuracy"] == best["collapse.effective_rank"] == set()
    assert all(row.best == set() for row in tables.measures(runs[:1]))


def test_baseline_stands_below_what_it_is_the_baseline_of(evaluated: Path):
    keys = [row.key for row in tables.measures([record.read_record(evaluated)])]
    assert keys[keys.index("knn.accuracy") + 1] == "random_init.knn.accuracy"
    assert keys[keys.index("probe.accuracy") + 1] == "random_init.probe.accuracy"


def test_config_differences_leave_out_what_is_the_same(evaluated: Path, tmp_path: Path):
    runs = [record.read_record(evaluated), record.read_record(run_folder(tmp_path / "b", mask_ratio=0.4))]
    assert [(row.name, row.cells) for row in tables.differences(runs)] == [("method.mask_ratio", ["0.15", "0.4"])]
    assert tables.differences(runs[:1] * 2) == []


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


def test_page_is_the_same_bytes_for_the_same_run(evaluated: Path, html: str, tmp_path: Path):
    assert write_report([evaluated], tmp_path / "again.html").read_text(encoding="utf-8") == html


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


@pytest.mark.parametrize(
    "seconds, expected", [(7.25, "7.25 s"), (59.7, "1 min 00 s"), (872, "14 min 32 s"), (11100, "3 h 05 min")]
)
def test_durations_are_read_at_a_glance(seconds: float, expected: str):
    assert tables.duration(seconds) == expected


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
