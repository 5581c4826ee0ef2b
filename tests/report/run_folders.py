"""Run folders to write pages on, and what a page holds."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

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
