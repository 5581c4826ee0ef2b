"""Writes the page: the findings first, then the curves and tables that they rest on."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmssl.errors import CheckpointError, ConfigError
from mmssl.report import figures, tables
from mmssl.report.figures import SMALL, WIDE, Curve
from mmssl.report.record import Record, is_finite, read_record

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_BAD_SAMPLES = 50
MAX_WORDS = 6  # for each hidden word of an example
MASK = re.compile(r"\[MASK\]|<mask>")

# Of a line of metrics.jsonl; every other number in it is a term of the loss.
NO_TERMS = {
    *("step", "samples_seen", "seconds", "loss", "learning_rate", "gradient_norm"),
    *("samples_per_second", "tokens_per_second", "peak_memory_bytes"),
}


class Finding(NamedTuple):
    """One sentence of the verdict; `state` is good, warning, bad or plain (not judged)."""

    state: str
    title: str
    value: str
    sentence: str


class Panel(NamedTuple):
    """A chart with its title; `drawing` is None where its numbers were not logged."""

    title: str
    caption: str
    drawing: "Markup | None"


class Word(NamedTuple):
    """A candidate for a hidden word: the model's probability beside the world's, None where not among its first."""

    text: str
    predicted: float | None
    true: float | None


class Completion(NamedTuple):
    """An example: the text around its hidden words, and the candidates for each of them."""

    parts: list[str]
    words: list[list[Word]]


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Writes one page on one or several runs, by default `report.html` in the first run's folder, and returns its path.

    Raises CheckpointError where a folder is not a run or the page cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    if not runs:
        raise ConfigError("no run to report on: expected at least one run folder")
    records = [read_record(Path(folder)) for folder in runs]
    out = Path(out) if out is not None else Path(runs[0]) / "report.html"
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("template.html.j2").render(
        runs=[_view(record) for record in records],
        comparison=_comparison(records) if len(records) > 1 else None,
        number=tables.number,
        max_bad_samples=MAX_BAD_SAMPLES,
    )
    _write(page.strip() + "\n", out)
    return out


def _write(page: str, out: Path) -> None:
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(page.encode("utf-8", errors="replace"))
        os.replace(partial, out)
    except OSError as error:
        if partial.is_file():
            partial.unlink()
        raise CheckpointError(
            f"cannot write the report {out}: {error.strerror}; expected a folder to write in"
        ) from error


def _view(record: Record) -> dict[str, Any]:
    """What the template shows of one run."""
    notes = list(record.notes)
    evaluation = record.evaluation
    return {
        "record": record,
        "facts": tables.facts(record),
        "findings": judge(evaluation),
        "hero": [_loss(record), _panel(record, "energy.gap", "Energy gap", WIDE)],
        "panels": _panels(record),
        "collapse": [
            _panel(record, "collapse.effective_rank", "Effective rank", WIDE),
            _panel(record, "collapse.std", "Standard deviation of embeddings", WIDE),
        ],
        "energies": _drawn(notes, evaluation, "energy_histogram", _energies),
        "reliability": _drawn(notes, evaluation, "calibration", _reliability),
        "completions": _drawn(notes, evaluation, "completions", _completions),
        "measures": tables.measures([record]),
        "bad_columns": list(dict.fromkeys(key for line in record.bad_samples for key in line)),
        "notes": notes,
    }


def _comparison(records: list[Record]) -> dict[str, Any]:
    return {
        "facts": tables.comparison(records),
        "measures": tables.measures(records),
        "differences": tables.differences(records),
        "panels": [
            _overlay(records, "loss", "Training loss", WIDE),
            _overlay(records, "heldout.loss", "Held-out loss", WIDE),
            _overlay(records, "energy.auroc", "Energy AUROC", WIDE),
            _overlay(records, "collapse.effective_rank", "Effective rank", WIDE),
        ],
    }


def judge(evaluation: dict[str, Any]) -> list[Finding]:
    """The verdict on what was measured: collapse, energies against chance, cross-entropy against its floor."""
    findings = []
    verdict, rank = evaluation.get("collapse.verdict"), evaluation.get("collapse.effective_rank")
    if isinstance(verdict, str):
        state = {"healthy": "good", "partial": "warning"}.get(verdict, "bad")
        meaning = {
            "healthy": "The embeddings of different samples stay apart",
            "partial": "The embeddings use few of their dimensions",
            "complete": "The embeddings of different samples are the same",
        }.get(verdict, "Not a known verdict")
        findings.append(Finding(state, "Collapse", verdict, f"{meaning}; effective rank {tables.number(rank)}."))
    if is_finite(auroc := evaluation.get("energy.auroc")):
        state = "good" if auroc >= 0.9 else "warning" if auroc >= 0.6 else "bad"
        sentence = f"A compatible pair has the lower energy in {auroc:.1%} of comparisons; chance is 50%."
        findings.append(Finding(state, "Energy AUROC", f"{auroc:.3f}", sentence))
    if is_finite(entropy := evaluation.get("text.cross_entropy")):
        findings.append(_above_floor(entropy, evaluation.get("text.floor")))
    return findings


def _above_floor(entropy: float, floor: Any) -> Finding:
    title, value = "Masked cross-entropy", f"{entropy:.3f}"
    if not is_finite(floor) or floor <= 0:
        return Finding("plain", title, value, "In nats per hidden token; the floor of this data is not known.")
    ratio = entropy / floor - 1
    where = f"{ratio:.1%} above" if ratio >= 0 else f"{-ratio:.1%} below"
    return Finding(
        "good" if ratio <= 0.05 else "warning", title, value, f"{where} the known floor of {floor:.3f} nats."
    )


def _loss(record: Record) -> Panel:
    """The training loss, its terms where there are several, the held-out loss, and the floor where one is known."""
    keys = dict.fromkeys(key for line in record.metrics for key, value in line.items() if is_finite(value))
    terms = [key for key in keys if key not in NO_TERMS and not key.startswith(("heldout.", "energy.", "collapse."))]
    lines = [_curve(record, "loss", "training")]
    lines += [_curve(record, key, key) for key in terms] if len(terms) > 1 else []
    lines += [_curve(record, "heldout.loss", "held out", measured=True)]
    drawn = [line for line in lines if line.x]
    floor = record.evaluation.get("text.floor")
    level = ("floor", floor) if is_finite(floor) and len(terms) <= 1 else None
    last = ", ".join(f"{line.label} {tables.number(line.y[-1])}" for line in drawn if line.label not in terms)
    caption = f"Last: {last}{_scale(drawn)}." if drawn else "No loss in metrics.jsonl."
    return Panel("Loss", caption, figures.curves(drawn, "step", "Loss", WIDE, level) if drawn else None)


def _scale(lines: list[Curve]) -> str:
    return "; logarithmic scale" if figures.is_wide([value for line in lines for value in line.y]) else ""


def _panels(record: Record) -> list[Panel]:
    speed = "tokens_per_second" if record.last("tokens_per_second") is not None else "samples_per_second"
    return [
        _panel(record, "energy.auroc", "Energy AUROC", SMALL),
        _panel(record, "learning_rate", "Learning rate", SMALL),
        _panel(record, "gradient_norm", "Gradient norm", SMALL),
        _panel(record, speed, speed.replace("_", " ").capitalize(), SMALL),
    ]


def _panel(record: Record, key: str, title: str, size: tuple[int, int]) -> Panel:
    line = _curve(record, key, title, measured=key.startswith(("energy.", "collapse.")))
    if not line.x:
        return Panel(title, f"No {key} in metrics.jsonl.", None)
    caption = f"Last: {tables.number(line.y[-1])}{_scale([line])}."
    return Panel(title, caption, figures.curves([line], "step", title, size))


def _overlay(records: list[Record], key: str, title: str, size: tuple[int, int]) -> Panel:
    lines = [
        Curve(f"{index} {record.name}", *record.series(key, "samples_seen"), measured=key != "loss")
        for index, record in enumerate(records, start=1)
    ]
    drawn = [line for line in lines if line.x]
    missing = ", ".join(line.label for line in lines if not line.x)
    caption = f"No {key} with samples_seen in metrics.jsonl of {missing}." if missing else ""
    return Panel(title, caption, figures.curves(drawn, "samples seen", title, size) if drawn else None)


def _curve(record: Record, key: str, label: str, measured: bool = False) -> Curve:
    return Curve(label, *record.series(key), measured=measured)


def _drawn(notes: list[str], evaluation: dict[str, Any], key: str, draw: Callable[[Any], Any]) -> Any:
    """A part of the evaluation as it is shown; None where absent, or (then said) not of its form."""
    if key not in evaluation:
        return None
    try:
        return draw(evaluation[key])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        notes.append(f"{key} in evaluation.json is not of the expected form; left out.")
        return None


def _energies(content: dict[str, Any]) -> "Markup":
    edges, compatible, incompatible = content["edges"], content["compatible"], content["incompatible"]
    title = "Energies of compatible and incompatible pairs"
    return figures.histogram(edges, compatible, incompatible, title)


def _reliability(content: dict[str, Any]) -> "Markup":
    accuracy, confidence, count = content["accuracy"], content["confidence"], content["count"]
    return figures.reliability(accuracy, confidence, count, "Accuracy of the first guess at each confidence")


def _completions(content: list[dict[str, Any]]) -> list[Completion]:
    completions = []
    for example in content:
        truths = example.get("truth") or [[] for _ in example["predictions"]]
        words = [_words(predicted, true) for predicted, true in zip(example["predictions"], truths)]
        completions.append(Completion(MASK.split(example["text"]), words))
    return completions


def _words(predictions: list[Any], truth: list[Any]) -> list[Word]:
    """The likeliest candidates, the most probable (by either) first."""
    predicted = {str(text): float(probability) for text, probability in predictions}
    true = {str(text): float(probability) for text, probability in truth}
    candidates = {text: max(predicted.get(text, 0.0), true.get(text, 0.0)) for text in [*true, *predicted]}
    first = sorted(candidates, key=lambda text: -candidates[text])[:MAX_WORDS]
    return [Word(text, predicted.get(text), true.get(text)) for text in first]
