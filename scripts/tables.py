"""Collect evaluations of runs, and write the tables of README.md and docs/ from them.

usage: python scripts/tables.py collect masked_language METHOD=RUN ...     copies RUN's figures into docs/results/
       python scripts/tables.py collect first_way METHOD-SET=RUN ...       SET is savanna or folder
       (scripts/leaderboard.py, collapse.py, uncertainty.py, capacity.py, video.py, audio.py and audio_visual.py
       collect theirs)
       python scripts/tables.py write                                      writes the tables between their marks
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from audio_columns import AUDIO, FEW_OF_SOUND, SETS_OF_SOUNDS, with_baseline
from audio_visual_columns import FEATURES, FEW_ACROSS, RETRIEVED
from audio_visual_columns import SOURCES as PAIRED
from columns import LEADERBOARD, OPTIMIZERS, PICTURES, SETS, SHORT, TEXT, UNCERTAINTY, VIEWS, WORDS
from video_columns import FEW_OF_VIDEO, FRAMES, LADDER, SOURCES, VIDEO, Columns, filled, of_source

from mmssl.config import hash_of, load_config
from mmssl.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
KEPT = (
    "text.", "energy.", "collapse.", "knn.", "probe.", "finetune.", "labelled.", "video.", "audio.", "uncertainty.",
    "latent.", "codes.", "logmel.", "retrieval.", "sync.", "absent.", "data.missing.", "random_init.", "samples_seen",
    "seconds",
)  # fmt: skip


def recorded(page: str) -> dict[str, dict]:
    """The figures of a page."""
    path = RESULTS / f"{page}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def logged(run: Path) -> list[dict[str, Any]]:
    """The lines that a run wrote as it trained."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def placeless(source: Any) -> Any:
    """A source without the place of its folder on the machine that measured."""
    is_path = isinstance(source, str) and Path(source).is_absolute()
    return "/".join(["FOLDER", *Path(source).parts[-2:]]) if is_path else source


def collect(page: str, pairs: list[str]) -> None:
    """Copy the figures of evaluated runs, with their config's size and hardware."""
    found = recorded(page)
    for pair in pairs:
        method, run = pair.split("=", 1)
        evaluation = json.loads((Path(run) / "evaluation.json").read_text())
        environment = json.loads((Path(run) / "environment.json").read_text())
        last = logged(Path(run))[-1]
        found[method] = {key: value for key, value in sorted(evaluation.items()) if key.startswith(KEPT)}
        if protocol := found[method].get("video.protocol"):
            found[method]["video.protocol"] = protocol | {
                key: placeless(protocol[key]) for key in ("source", "heldout")
            }
        found[method] |= {
            "steps": last["step"],
            "samples_per_second": evaluation["samples_seen"] / max(evaluation["seconds"], 1e-9),
            "peak_memory_bytes": last["peak_memory_bytes"],
            "config": hash_of(load_config(Path(run) / "config.yaml"))[:8],
            "hardware": environment["hardware"],
            "versions": environment["versions"],
        }
    (RESULTS / f"{page}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def cell(figures: dict, key: str, shape: str) -> str:
    """A figure with that of random weights in brackets; a dash where the method has none."""
    if key not in figures:
        return "–"
    random = figures.get(f"random_init.{key}")
    return shape.format(figures[key]) + ("" if random is None else f" ({shape.format(random)})")


def said(method: str) -> str:
    """The first sentence of a method's docstring."""
    return re.sub(r"\s+", " ", (METHODS[method].__doc__ or "").split("\n\n")[0]).strip()


def table(rows: list[tuple[str, dict]], columns: Columns) -> str:
    """Methods with what they are and what was measured; a column that no row fills is left out."""
    columns = filled(dict(rows), columns)
    lines = [
        "| method | what it is | " + " | ".join(name for name, _, _ in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for name, figures in rows:
        cells = [cell(figures, key, shape) for _, key, shape in columns]
        lines.append(f"| `{name}` | {said(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def leaderboard(runs: dict[str, dict], columns: Columns, *, described: bool = False) -> str:
    """Each method's mean over seeds with the spread (largest minus smallest) behind the sign, the random weights of the
    same encoder in brackets; † where kNN or probe does not exceed random weights by more than the spread.
    """
    names = [*(["what it is"] if described else []), *(name for name, _, _ in columns), "collapse", "seeds", "config"]
    lines = ["| method | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for method in PICTURES:
        seeds = [found for name, found in runs.items() if name.rpartition("-")[0] == method]
        if seeds:
            mark = "" if all(is_better(seeds, key) for key in ("knn.accuracy", "probe.accuracy")) else " †"
            cells = [over_seeds(seeds, key, shape) for _, key, shape in columns]
            verdicts = "/".join(sorted({found["collapse.verdict"] for found in seeds}))
            words = [said(method)] if described else []
            row = [*words, *cells, verdicts, str(len(seeds)), f"`{seeds[0]['config']}`"]
            lines.append(f"| `{method}`{mark} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def switched_off(results: dict[str, dict]) -> str:
    """What each method's embeddings are with the mechanism that prevents collapse, and without it."""
    lines = [
        "| method | switched off | verdict | rank | rank compared | deviation compared | energy AUROC | kNN |",
        "|---|" + "---|" * 7,
    ]
    for method in (method for method in PICTURES if method in results):
        found = results[method]
        cells = [f"{found['on']['collapse.verdict']} -> **{found['off']['collapse.verdict']}**"]
        for key, shape in (
            ("collapse.effective_rank", "{:.1f}"), ("collapse.compared.effective_rank", "{:.1f}"),
            ("collapse.compared.std", "{:.2f}"), ("energy.auroc", "{:.3f}"), ("knn.accuracy", "{:.0%}"),
        ):  # fmt: skip
            sides = [shape.format(found[side][key]) for side in ("on", "off", "random_init") if key in found[side]]
            cells.append("{} -> {} ({})".format(*sides) if sides else "–")
        lines.append(f"| `{method}` | {found['without']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def values(seeds: list[dict], key: str) -> list[Any]:
    """A figure of each seed that has it."""
    return [found[key] / (1e9 if key == "peak_memory_bytes" else 1) for found in seeds if key in found]


def is_better(seeds: list[dict], key: str) -> bool:
    """Whether a figure exceeds that of random weights by more than its spread over seeds."""
    mine, random = values(seeds, key), values(seeds, f"random_init.{key}")
    return mean(mine) - mean(random) > max(mine) - min(mine)


def over_seeds(seeds: list[dict], key: str, shape: str) -> str:
    """The mean over seeds, the spread, and the mean of random weights."""
    mine, random = values(seeds, key), values(seeds, f"random_init.{key}")
    if not mine:
        return "–"
    spread = f" ± {shape.format(max(mine) - min(mine))}" if len(mine) > 1 else ""
    return shape.format(mean(mine)) + spread + (f" ({shape.format(mean(random))})" if random else "")


def method_of(run: str) -> str:
    """The method of a run that is named like it, perhaps with more behind."""
    return max((name for name in METHODS if run.startswith(name)), key=len)


def in_order(runs: Iterable[str]) -> list[str]:
    """Names of runs in the order of their methods, then of the alphabet."""
    place = {name: number for number, name in enumerate(METHODS)}
    return sorted(runs, key=lambda run: (place[method_of(run)], run))


def uncertain(runs: dict[str, dict], columns: Columns) -> str:
    """What was measured of each run, random weights in brackets; nothing where there is none."""
    if not runs:
        return ""
    lines = ["| run | " + " | ".join(name for name, _, _ in columns) + " |", "|---|" + "---|" * len(columns)]
    for name in in_order(runs):
        cells = [cell(runs[name], key, shape) for _, key, shape in columns]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Every table by its mark."""
    words, first = recorded("masked_language"), recorded("first_way")
    others = [name for name in METHODS if name not in TEXT]
    found = {"words": table([(name, words.get(name, {})) for name in TEXT], WORDS)}
    for kind in SETS:
        rows = [(name, first.get(f"{name}-{kind}", {})) for name in others]
        found[kind] = table([row for row in rows if row[1]], VIEWS)
        found[f"{kind}_short"] = table([row for row in rows if row[1] and row[0] in ("vjepa", "multimodal")], SHORT)
    images = recorded("images")
    found["leaderboard"] = leaderboard(images, LEADERBOARD)
    found["leaderboard_short"] = leaderboard(images, LEADERBOARD[:3], described=True)
    found["collapse"] = switched_off(recorded("collapse"))
    found["uncertainty"] = uncertain(recorded("uncertainty"), UNCERTAINTY)
    for page, source, few in (
        ("video", "digits", FEW_OF_VIDEO), ("audio", "digits", FEW_OF_SOUND), ("audio_visual", "savanna", FEW_ACROSS),
    ):  # fmt: skip
        runs = of_source(recorded(page), source)
        found[f"{page}_short"] = table([(name, runs[name]) for name in METHODS if name in runs], few)
    for source in SOURCES:
        runs = of_source(recorded("video"), source)
        found[f"video_{source}"] = uncertain(runs, filled(runs, VIDEO))
        frames = {name: figures for name, figures in runs.items() if "video.psnr" in figures}
        found[f"frames_{source}"] = uncertain(frames, filled(frames, FRAMES))
        found[f"ladder_{source}"] = uncertain(runs, filled(runs, LADDER))
    for source in PAIRED:
        runs = of_source(recorded("audio_visual"), source)
        found[f"across_{source}"] = uncertain(runs, filled(runs, RETRIEVED))
        columns = filled(runs, FEATURES)
        found[f"features_{source}"] = with_baseline(uncertain(runs, columns), runs, columns, "audio.")
    for name in SETS_OF_SOUNDS:
        runs = of_source(recorded("audio"), name)
        columns = filled(runs, AUDIO)
        found[f"audio_{name}"] = with_baseline(uncertain(runs, columns), runs, columns)
    found["capacity"] = uncertain(recorded("capacity"), UNCERTAINTY)
    found["optimizers"] = uncertain(recorded("optimizers"), OPTIMIZERS)
    return found


def marked(text: str, found: dict[str, str]) -> str:
    """A page with the tables between its marks as they would be written now."""
    for mark, content in found.items():
        begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        if begin in text:
            text = f"{text.split(begin)[0]}{begin}\n{content}\n{end}{text.split(end)[1]}"
    return text


PAGES = (
    ROOT / "README.md",
    RESULTS / "masked_language.md",
    RESULTS / "first_way.md",
    RESULTS / "images.md",
    RESULTS / "collapse.md",
    RESULTS / "uncertainty.md",
    RESULTS / "video.md",
    RESULTS / "audio.md",
    RESULTS / "audio_visual.md",
    RESULTS / "optimizers.md",
)


def write() -> None:
    """Put the tables between the marks of each page."""
    for page in PAGES:
        page.write_text(marked(page.read_text(), tables()))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["collect", page, *pairs]:
            collect(page, pairs)
        case ["write"]:
            write()
        case _:
            sys.exit(__doc__)
