"""Writes the page: the findings first, then the curves and tables that they rest on."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmssl.errors import ConfigError
from mmssl.folder import write_whole
from mmssl.report import figures, tables
from mmssl.report.figures import SMALL, WIDE, Bar, Curve
from mmssl.report.gallery import EMPTY, MODALITIES, Exhibit, gallery
from mmssl.report.names import measure
from mmssl.report.record import Record, is_finite, read_record
from mmssl.report.verdict import judge

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_PAGE_BYTES = 15_000_000  # of a page, with the pictures in it
NOTES_BYTES = 50_000  # of the sentences about pictures, at most
MAX_BAD_SAMPLES = 50
MAX_TERMS_TOGETHER = 4  # terms of the loss in one chart
MAX_TERMS = 24  # that are drawn at all
MAX_RATIO = 50  # of the largest term to the smallest that one chart can show
MAX_WORDS = 6  # for each hidden word of an example
MAX_RUNGS = 16  # kinds of negatives in one chart
LADDERS = ("energy.ladder.{}", "energy.{}_to_{}.ladder.{}")
MASK = re.compile(r"\[MASK\]|<mask>")
COMPARED = {"What they predict": (*MODALITIES, ""), "What they find alike": ("neighbours",)}  # of several runs

# Of a line of metrics.jsonl; every other number in it is a term of the loss.
NO_TERMS = {
    *("step", "samples_seen", "seconds", "loss", "learning_rate", "gradient_norm"),
    *("samples_per_second", "tokens_per_second", "peak_memory_bytes"),
}


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
    template = environment.get_template("template.html.j2")
    view = {
        "runs": [_view(record) for record in records],
        "comparison": _comparison(records) if len(records) > 1 else None,
        "number": tables.number,
        "max_bad_samples": MAX_BAD_SAMPLES,
        "max_megabytes": MAX_PAGE_BYTES // 10**6,
    }
    page = template.render(view)
    if _hang(view, MAX_PAGE_BYTES - NOTES_BYTES - len(page.encode("utf-8", errors="replace"))):
        page = template.render(view)
    write_whole(out, (page.strip() + "\n").encode("utf-8", errors="replace"))
    return out


def _hang(view: dict[str, Any], room: int) -> bool:
    """Adds each run's pictures to what the template shows, in at most `room` bytes; whether there is anything to show.

    Runs share the room alike, and what one leaves free is for the next. In a comparison a picture of each kind is shown
    twice, so it counts twice.
    """
    runs = view["runs"]
    for number, run in enumerate(runs):
        share = room // (len(runs) - number)
        found = gallery(run["record"].folder / "pictures", share if view["comparison"] is None else share // 2)
        run["gallery"] = found
        run["notes"] += found.notes
        room -= sum(one.num_bytes for one in found.exhibits)
        for kinds in COMPARED.values() if view["comparison"] is not None else ():
            room -= max((one.num_bytes for one in found.of(*kinds)), default=0)
    if view["comparison"] is not None:
        found = {title: _one_of_each([run["gallery"].of(*kinds) for run in runs]) for title, kinds in COMPARED.items()}
        view["comparison"]["pictures"] = [(title, row) for title, row in found.items() if any(row)]
    return any(run["gallery"] != EMPTY for run in runs)


def _one_of_each(runs: list[list[Exhibit]]) -> list[Exhibit | None]:
    """A picture of each run: of the same sample in all, where there is one; None of a run that has none."""
    names = [{one.name for one in exhibits} for exhibits in runs if exhibits]
    common = set.intersection(*names) if names else set()
    return [
        next((one for one in exhibits if one.name in common), exhibits[0] if exhibits else None) for exhibits in runs
    ]


def _view(record: Record) -> dict[str, Any]:
    """What the template shows of one run."""
    notes = list(record.notes)
    evaluation = record.evaluation
    terms = _terms(record)
    return {
        "record": record,
        "gallery": EMPTY,
        "facts": tables.facts(record),
        "findings": judge(evaluation),
        "hero": [_loss(record, terms), _panel(record, "energy.gap", "Energy gap", WIDE)],
        "panels": _panels(record),
        "terms": [] if _is_readable(record, terms) else [_panel(record, key, key, SMALL) for key in terms[:MAX_TERMS]],
        "num_terms": len(terms),
        "collapse": [
            _panel(record, "collapse.effective_rank", "Effective rank", WIDE),
            _panel(record, "collapse.std", "Standard deviation of embeddings", WIDE),
        ],
        "more_collapse": _more_collapse(record),
        "ladder": _ladder(evaluation),
        "energies": _drawn(notes, evaluation, "energy_histogram", _energies),
        "reliability": _drawn(notes, evaluation, "calibration", _reliability),
        "completions": _drawn(notes, evaluation, "completions", _completions),
        "measures": tables.measures([record]),
        "bad_columns": list(dict.fromkeys(key for line in record.bad_samples for key in line)),
        "notes": notes,
    }


def _comparison(records: list[Record]) -> dict[str, Any]:
    return {
        "pictures": [],
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


def _terms(record: Record) -> list[str]:
    """The terms of the loss in the order in which they were logged, where there are several."""
    keys = dict.fromkeys(key for line in record.metrics for key, value in line.items() if is_finite(value))
    terms = [key for key in keys if key not in NO_TERMS and not key.startswith(("heldout.", "energy.", "collapse."))]
    return terms if len(terms) > 1 else []


def _is_readable(record: Record, terms: list[str]) -> bool:
    """Whether these terms can be read in one chart: they are few, and none is so small that it would be a flat line."""
    peaks = [max(map(abs, record.series(key)[1])) for key in terms]
    return len(terms) <= MAX_TERMS_TOGETHER and max(peaks, default=0) <= MAX_RATIO * min(peaks, default=0)


def _loss(record: Record, terms: list[str]) -> Panel:
    """The training loss, its terms where one chart can show them, the held-out loss, and the floor where known."""
    lines = [_curve(record, "loss", "training")]
    lines += [_curve(record, key, key) for key in terms] if _is_readable(record, terms) else []
    lines += [_curve(record, "heldout.loss", "held out", measured=True)]
    drawn = [line for line in lines if line.x]
    floor = record.evaluation.get("text.floor")
    level = ("floor", floor) if is_finite(floor) and not terms else None
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


def _more_collapse(record: Record) -> list[Panel]:
    """What else of the collapse panel was logged while training, but for what never changes."""
    keys = dict.fromkeys(key for line in record.metrics for key in line if key.startswith("collapse."))
    shown = ("collapse.effective_rank", "collapse.std", "collapse.reachable_rank", "collapse.compared.reachable_rank")
    drawn = [key for key in keys if key not in shown and record.series(key)[0]]
    return [_panel(record, key, measure(key).name, SMALL) for key in sorted(drawn, key=lambda key: measure(key).order)]


def _ladder(evaluation: dict[str, Any]) -> Panel | None:
    """How well each kind of negative is told apart, beside random weights; None of fewer than two kinds."""
    keys = [key for key in evaluation if is_finite(evaluation[key]) and measure(key).key in LADDERS]
    keys = sorted((key for key in keys if not measure(key).is_baseline), key=lambda key: measure(key).order)
    if len(keys) < 2:
        return None
    rungs = []
    for key in keys[:MAX_RUNGS]:
        *pair, kind = (value.replace("_", " ") for value in measure(key).values)
        part, found = " → ".join(pair) or measure(key).part, evaluation.get(f"random_init.{key}")
        rungs.append(Bar(f"{kind} ({part})" if part else kind, evaluation[key], found if is_finite(found) else None))
    more = f"; the first {MAX_RUNGS} of {len(keys)} kinds" if len(keys) > MAX_RUNGS else ""
    caption = f"of compatible pairs against each kind of wrong y; 0.5 is chance, 1 is perfect{more}"
    title = "Energy AUROC of each kind of negative"
    return Panel("Ladder of negatives", caption, figures.bars(rungs, ("chance", 0.5), "energy AUROC", title))


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
