"""Train every method of pictures, sounds, videos and both together, on the built-in world and on folders, for a stated
time each; the table of docs/results/first_way.md comes from these runs.

usage: python scripts/first_way.py OUT --seconds 120 --at-once 2 [--data FOLDER] [--only NAME ...]

Without --data only the built-in world. FOLDER holds cifar10/{train,test}, fsdd/{train,test}, and made/ as
scripts/prepare_video.py writes it (objects, pairs, sounds). Each run has one thread, so that runs side by side do not
wait for each other. A run whose evaluation.json is there is left as it is.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

WORLD = ["data.source=savanna", "data.samples=8000", "data.heldout=0.1"]
CLIPS = ["data.seconds=2.0"]
IMAGE = "image_pretraining_{}_folder"
VIDEO = "video_prediction_{}_folder"


class Plan(NamedTuple):
    """A config, what it is given of the built-in world, and which folders it is given below the data folder."""

    config: str
    world: list[str]
    source: str
    test: str
    more: list[str]


def folders(source: str, test: str, *more: str) -> tuple[str, str, list[str]]:
    """A training and a test folder."""
    return source, test, list(more)


CIFAR = folders("cifar10/train", "cifar10/test")
DIGITS = folders("fsdd/train", "fsdd/test")
OBJECTS = folders("made/objects/train", "made/objects/test")
PAIRS = folders("made/pairs/train", "made/pairs/test", "data.paired={data}/made/sounds")
PLANS = {
    **{name: Plan(IMAGE.format(name), [], *CIFAR) for name in ("simclr", "vicreg", "byol", "mae", "ijepa")},
    "audio_mae": Plan("audio_pretraining_audio_mae_folder", CLIPS, *DIGITS),
    **{
        name: Plan(VIDEO.format(name), ["video.size=16"], *OBJECTS)
        for name in ("frame_prediction", "frame_prediction_latent")
    },
    "vjepa": Plan(VIDEO.format("vjepa"), [], *OBJECTS),
    "audio_visual_contrastive": Plan("audio_visual_contrastive_folder", [], *PAIRS),
    "audio_visual_jepa": Plan("audio_visual_jepa_folder", [], *PAIRS),
}


def commands(out: Path, data: Path | None, seconds: float) -> Iterator[tuple[str, list[str]]]:
    """(name, arguments of `mmssl pretrain`) of each run."""
    for method, plan in PLANS.items():
        common = [
            f"configs/{plan.config}.yaml",
            f"train.seconds={seconds}",
            "train.evaluate_every_steps=1000000",
            "evaluate.documents=1000",
            f"data.cache={(out / 'cache').absolute()}",
        ]
        yield f"{method}-savanna", [*common, *WORLD, *plan.world, f"run={out / f'{method}-savanna'}"]
        if data is not None:
            source, test = data / plan.source, data / plan.test
            more = [text.format(data=data) for text in plan.more]
            folder = [f"data.source={source}", f"data.heldout={test}", f"evaluate.source={source}",
                      f"evaluate.heldout={test}", f"run={out / f'{method}-folder'}"]  # fmt: skip
            yield f"{method}-folder", [*common, *folder, *more]


def run(name: str, arguments: list[str], out: Path) -> str:
    """One run in a process of its own, its words in OUT/NAME.log; how it ended."""
    if (out / name / "evaluation.json").exists():
        return f"{name}: there already"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (out / f"{name}.log").open("w") as log:
        command = [sys.executable, "-m", "mmssl", "pretrain", *arguments]
        code = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False).returncode
    return f"{name}: exit {code}"


def main() -> None:
    """All runs, some side by side."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    plans = [
        (name, arguments) for name, arguments in commands(asked.out, asked.data, asked.seconds)
        if not asked.only or any(name.startswith(only) for only in asked.only)
    ]  # fmt: skip
    with ThreadPoolExecutor(asked.at_once) as pool:
        for line in pool.map(lambda plan: run(plan[0], plan[1], asked.out), plans):
            print(line, flush=True)


if __name__ == "__main__":
    main()
