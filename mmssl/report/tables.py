"""Numbers and names as a reader meets them, and the tables of one run or of several side by side."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mmssl.report.names import OF_DATA, Measure, measure
from mmssl.report.record import Record, is_finite

# Of a comparison: the facts that are costs, and the measures that are repeated beside them.
COSTS = ("Steps", "Samples seen", "Training time", "Peak memory")
OUTCOMES = ("energy.auroc", "knn.accuracy", "probe.accuracy", "collapse.verdict")


class Row(NamedTuple):
    """One measure; `best` are the columns that hold the best value, if there is one among several runs."""

    name: str
    key: str
    direction: int
    cells: list[str]
    best: set[int]
    is_baseline: bool  # the same measure on an encoder that was not trained
    group: str = ""  # the heading that it stands under


def number(value: Any) -> str:
    """A value with four significant digits, thousands set apart; an em dash where there is none."""
    if value is None:
        return "—"
    if not is_finite(value):
        return str(value)
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"


def duration(seconds: Any) -> str:
    """Seconds as 42 s, 14 min 32 s or 3 h 05 min."""
    if not is_finite(seconds):
        return "—"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def size(num_bytes: Any) -> str:
    """Bytes as MiB or GiB."""
    if not is_finite(num_bytes):
        return "—"
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def facts(record: Record) -> list[tuple[str, str]]:
    """What was trained, on what, for how long."""
    source = record.config.get("data.source")
    steps, planned = number(record.last("step")), record.config.get("train.steps")
    return [
        ("Task", number(record.config.get("task"))),
        ("Method", number(record.config.get("method.name"))),
        ("Encoder", number(record.config.get("encoder.name"))),
        ("Data", ", ".join(map(str, source)) if isinstance(source, list) else number(source)),
        ("Steps", f"{steps} of {number(planned)}" if is_finite(planned) else steps),
        ("Samples seen", number(record.last("samples_seen"))),
        ("Training time", duration(record.last("seconds"))),
        ("Peak memory", size(record.last("peak_memory_bytes"))),
    ]


def measures(records: Sequence[Record]) -> list[Row]:
    """Every number of the evaluations, each baseline (`random_init.*`) below what it is the baseline of."""
    keys = dict.fromkeys(
        key for record in records for key, value in record.evaluation.items() if not isinstance(value, (list, dict))
    )
    found = {key: one for key in keys if not ((one := measure(key)).is_baseline and one.key in OF_DATA)}
    return [
        _row(key, found[key], [record.evaluation.get(key) for record in records])
        for key in sorted(found, key=lambda key: (found[key].order, key))
    ]


def _row(key: str, one: Measure, values: list[Any]) -> Row:
    direction = one.direction
    finite = [direction * value for value in values if is_finite(value)]
    is_contest = direction != 0 and not one.is_baseline and len(set(finite)) > 1
    show = duration if one.key == "seconds" else number
    return Row(
        name=one.name,
        key=key,
        direction=direction,
        cells=[show(value) if value is not None else "—" for value in values],
        best={
            i for i, value in enumerate(values) if is_contest and is_finite(value) and direction * value == max(finite)
        },
        is_baseline=one.is_baseline,
        group=one.group,
    )


def comparison(records: Sequence[Record]) -> list[Row]:
    """The runs side by side: what was trained, what it cost, what came out; nothing that no run has."""
    columns = [facts(record) for record in records]
    rows = [
        _plain(name, [column[index][1] for column in columns], "Cost" if name in COSTS else "Training")
        for index, (name, _) in enumerate(columns[0])
    ]
    found = {
        ("Samples per second", "Cost"): [record.usual("samples_per_second") for record in records],
        ("Tokens per second", "Cost"): [record.usual("tokens_per_second") for record in records],
        ("Parameters of the encoder", "Cost"): [record.evaluation.get("encoder.parameters") for record in records],
        ("Last training loss", "Outcome"): [record.last("loss") for record in records],
        ("Last held-out loss", "Outcome"): [record.last("heldout.loss") for record in records],
    }
    rows += [
        _plain(name, [number(value) for value in values], group)
        for (name, group), values in found.items()
        if any(value is not None for value in values)
    ]
    outcome = [row for row in measures(records) if row.key.removeprefix("random_init.") in OUTCOMES]
    return rows + [row._replace(group="Outcome") for row in outcome]


def _plain(name: str, cells: list[str], group: str = "") -> Row:
    """A row in which nothing is better than the rest."""
    return Row(name, "", 0, cells, set(), False, group)


def differences(records: Sequence[Record]) -> list[Row]:
    """The settings in which the runs differ; `run`, the folder itself, is none."""
    keys = dict.fromkeys(key for record in records for key in record.config if key != "run")
    rows = []
    for key in keys:
        values = [record.config.get(key) for record in records]
        if any(repr(value) != repr(values[0]) for value in values):
            rows.append(_plain(key, [number(value) for value in values]))
    return rows
