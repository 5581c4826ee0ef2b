"""Collect evaluations of runs, and write the tables of README.md and docs/ from them.

usage: python scripts/tables.py collect METHOD=RUN ...     copies RUN's figures into docs/results/masked_language.json
       python scripts/tables.py write                      writes the tables between their marks
"""

import json
import re
import sys
from pathlib import Path

from mmssl.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results" / "masked_language.json"
KEPT = (
    "text.",
    "energy.",
    "collapse.",
    "knn.",
    "probe.",
    "finetune.",
    "labelled.",
    "random_init.",
    "samples_seen",
    "seconds",
)
COLUMNS = (  # heading, key, format
    ("cross-entropy", "text.cross_entropy", "{:.2f}"),
    ("accuracy", "text.accuracy", "{:.1%}"),
    ("energy AUROC", "energy.auroc", "{:.3f}"),
    ("calibration error", "text.calibration_error", "{:.3f}"),
    ("kNN", "knn.accuracy", "{:.1%}"),
    ("probe", "probe.accuracy", "{:.1%}"),
)


def collect(pairs: list[str]) -> None:
    """Copy the figures of evaluated runs, with their config's size and hardware."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for pair in pairs:
        method, run = pair.split("=", 1)
        evaluation = json.loads((Path(run) / "evaluation.json").read_text())
        environment = json.loads((Path(run) / "environment.json").read_text())
        last = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()][-1]
        found[method] = {key: value for key, value in sorted(evaluation.items()) if key.startswith(KEPT)}
        found[method] |= {
            "steps": last["step"],
            "hardware": environment["hardware"],
            "versions": environment["versions"],
        }
    RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def cell(figures: dict, key: str, shape: str) -> str:
    """A figure with that of random weights in brackets; a dash where the method has none."""
    if key not in figures:
        return "–"
    random = figures.get(f"random_init.{key}")
    return shape.format(figures[key]) + ("" if random is None else f" ({shape.format(random)})")


def table() -> str:
    """All methods with what they are and what was measured."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    lines = [
        "| method | what it is | " + " | ".join(name for name, _, _ in COLUMNS) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for name, method in METHODS.items():
        said = re.sub(r"\s+", " ", (method.__doc__ or "").split("\n\n")[0]).strip()
        cells = [cell(found.get(name, {}), key, shape) for _, key, shape in COLUMNS]
        lines.append(f"| `{name}` | {said} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write() -> None:
    """Put the table between the marks of each page."""
    for page in (ROOT / "README.md", ROOT / "docs" / "results" / "masked_language.md"):
        text = page.read_text()
        before, after = text.split("<!-- methods -->")[0], text.split("<!-- /methods -->")[1]
        page.write_text(f"{before}<!-- methods -->\n{table()}\n<!-- /methods -->{after}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("collect", "write"):
        sys.exit(__doc__)
    collect(sys.argv[2:]) if sys.argv[1] == "collect" else write()
