"""Train the same runs by AdamW and by Muon for the same time, and compare their held-out losses.

usage: python scripts/optimizers.py OUT [--seconds 180] [--books FOLDER] [--at-once 1] [--only ROW ...]

Each row is a config, its learning rate for both, on the built-in world or (`bert_books`) on a folder of texts, in one
thread. Prints, and writes to docs/results/optimizers.json: the last held-out loss of each and of random weights, the
steps, and after how many seconds Muon was where AdamW ended. A finished run is left as it is; `python scripts/tables.py
write` makes the table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from first_way import WORLD
from side_by_side import parser_of, run_all
from tables import RESULTS, logged

from mmssl.config import hash_of
from mmssl.runs import open_run

VARIANTS: dict[str, list[str]] = {
    "random": ["train.steps=1", "train.learning_rate=1e-12"],  # a step that changes nothing
    "adamw": ["train.optimizer=adamw"],
    "muon": ["train.optimizer=muon"],
}
PAINTED = ["method.predictor_head=linear", "method.moved_copies=0"]  # frames, each patch anew, by one layer
ROWS: dict[str, list[str]] = {
    "bert_books": ["configs/masked_language_bert_folder.yaml"],
    "mae": ["configs/image_pretraining_mae_folder.yaml", *WORLD],
    "simclr": ["configs/image_pretraining_simclr_folder.yaml", *WORLD],
    "frame_prediction_latent": ["configs/video_prediction_frame_prediction_latent_folder.yaml", *WORLD, *PAINTED],
    "audio_visual_contrastive": ["configs/audio_visual_contrastive_folder.yaml", *WORLD],
    "multimodal": ["configs/quickstart.yaml", *PAINTED],
}


def arguments(row: str, variant: str, asked: argparse.Namespace) -> list[str]:
    """Of `mmssl pretrain`."""
    return [
        *ROWS[row], f"train.seconds={asked.seconds}", *VARIANTS[variant], "train.evaluate_every_steps=100",
        "train.save_every_steps=1000000", "evaluate.documents=100", f"data.cache={(asked.out / 'cache').absolute()}",
        *([f"data.source={asked.books}"] if row == "bert_books" else []),
    ]  # fmt: skip


def curve_of(run: Path) -> list[dict[str, Any]]:
    """The lines of a run that have a held-out loss."""
    return [line for line in logged(run) if "heldout.loss" in line]


def compared(runs: dict[str, Path]) -> dict[str, Any]:
    """What is said of runs that differ in their optimizer."""
    curves = {name: curve_of(run) for name, run in runs.items()}
    found: dict[str, Any] = {
        f"{name}.{key.removeprefix('heldout.')}": curve[-1][key]
        for name, curve in curves.items()
        for key in ("heldout.loss", "step", "seconds", "samples_seen")
    }
    goal = curves["adamw"][-1]
    reached = [line["seconds"] for line in curves["muon"] if line["heldout.loss"] <= goal["heldout.loss"]]
    if reached:
        found |= {"muon.seconds_to_adamw": reached[0], "times_as_fast": goal["seconds"] / reached[0]}
    config, _ = open_run(runs["muon"])
    environment = json.loads((runs["muon"] / "environment.json").read_text())
    return found | {
        "learning_rate": config.train.learning_rate, "config": hash_of(config)[:8],
        "hardware": environment["hardware"], "versions": environment["versions"],
    }  # fmt: skip


def main() -> None:
    """All runs, and the comparison of those that are there."""
    parser = parser_of(__doc__, ROWS)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--books", type=Path, help="texts, for bert_books")
    parser.set_defaults(at_once=1)
    asked = parser.parse_args()
    rows = [row for row in asked.only if row != "bert_books" or asked.books is not None]
    wanted = {f"{row}-{variant}": arguments(row, variant, asked) for row in rows for variant in VARIANTS}
    for line in run_all(asked.out, wanted, asked.at_once):
        print(line, flush=True)
    found = {}
    for row in ROWS:
        runs = {variant: asked.out / f"{row}-{variant}" for variant in VARIANTS}
        if all((run / "evaluation.json").exists() for run in runs.values()):
            found[row] = compared(runs)
    (RESULTS / "optimizers.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
