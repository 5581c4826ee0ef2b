"""What the tables of docs/results/audio.md show."""

from video_columns import Columns

SETS_OF_SOUNDS = ("digits", "speakers", "environment")  # of the runs of scripts/audio.py: ROW-SET
AUDIO: Columns = (
    ("kNN", "knn.accuracy", "{:.1%}"),
    ("probe", "probe.accuracy", "{:.1%}"),
    ("fine-tuned", "finetune.accuracy", "{:.1%}"),
    ("energy AUROC", "energy.auroc", "{:.3f}"),
    ("same class", "energy.ladder.same_class", "{:.3f}"),
    ("collapse", "collapse.verdict", "{}"),
    ("rank", "collapse.effective_rank", "{:.1f}"),
    ("frames", "collapse.temporal_verdict", "{}"),
    ("rank of frames", "collapse.temporal_rank", "{:.1f}"),
    ("codes in use", "codes.perplexity", "{:.0f}"),
    ("of", "codes.entries", "{:.0f}"),
    ("samples seen", "samples_seen", "{:,.0f}"),
)
SHORT = ("kNN", "probe", "energy AUROC", "same class", "collapse", "codes in use")
FEW_OF_SOUND: Columns = tuple(column for column in AUDIO if column[0] in SHORT)


def with_baseline(table: str, runs: dict[str, dict], columns: Columns, sounds: str = "") -> str:
    """A table with the statistics of log-mel spectrograms as its first row, and the most frequent class: figures that
    belong to the data, the same in all runs on it. `sounds`: before the keys of what sounds alone tell.
    """
    if not runs:
        return table
    figures = next(iter(runs.values()))
    known = {
        "log-mel statistics": {f"{sounds}{kind}.accuracy": f"logmel.{kind}.accuracy" for kind in ("knn", "probe")},
        "most frequent class": {
            key: "labelled.majority_accuracy" for _, key, _ in columns if key.endswith(".accuracy")
        },
    }
    rows = []
    for name, keys in known.items():
        cells = [shape.format(figures[keys[key]]) if keys.get(key) in figures else "–" for _, key, shape in columns]
        if {*cells} != {"–"}:
            rows.append(f"| {name} | " + " | ".join(cells) + " |")
    head, line, *rest = table.splitlines()
    return "\n".join([head, line, *rows, *rest])
