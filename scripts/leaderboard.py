"""Train every method of pictures on the same pictures with the same encoder, time and seeds, for one table.

usage: python scripts/leaderboard.py OUT --train FOLDER --test FOLDER [--seconds 75] [--seeds 0 1 2] [--at-once 2]
                                     [--only METHOD ...]

FOLDER has a sub-folder for each class; a glob such as 'train/*/*0.*' takes a part of it. Each run has one thread, so
that runs side by side do not wait for each other. A run that was stopped goes on, a finished one is left as it is.
docs/results/images.json takes its figures from the runs' own records; `python scripts/tables.py write` makes the table.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tables import PICTURES, collect

from mmssl.runs import open_run

TINY = "encoder.widths=[8, 16, 32, 64]"  # of ResNet and RegNet, one block each, 3 x 3 stem
OPTIONS = {
    **{method: [TINY] for method in PICTURES},
    "seer": [TINY, "encoder.groups_width=8"],
    # patches, not convolutions: nothing can be hidden from a ResNet
    "mae": [],
    "ijepa": [],
    "denoising_autoencoder": [],
    "simmim": [],
    "beit": [],
    "sparse_coding": [],
    "data2vec": [],
    "gan": [],
    "diffusion": [],
}
PRETRAINED = {"clusterfit": "simclr", "beit": "vqvae"}  # the run of the same seed that a method begins from


def arguments(method: str, seed: int, asked: argparse.Namespace) -> list[str]:
    """Of `mmssl pretrain`."""
    other = PRETRAINED.get(method)
    pretrained = [f"method.pretrained={asked.out / f'{other}-{seed}'}"] if other else []
    return [
        f"configs/image_pretraining_{method}_folder.yaml", f"run={asked.out / f'{method}-{seed}'}", f"seed={seed}",
        f"data.source={asked.train}", f"data.heldout={asked.test}", f"evaluate.source={asked.train}",
        f"evaluate.heldout={asked.test}", f"data.cache={(asked.out / 'cache').absolute()}",
        f"train.seconds={asked.seconds}", "train.evaluate_every_steps=1000000", "train.save_every_steps=1000000",
        "evaluate.documents=2000", *OPTIONS[method], *pretrained,
    ]  # fmt: skip


def run(method: str, seed: int, asked: argparse.Namespace) -> str:
    """One run in a process of its own, its words in OUT/NAME.log; how it ended."""
    name = f"{method}-{seed}"
    if (asked.out / name / "evaluation.json").exists():
        return f"{name}: there already"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (asked.out / f"{name}.log").open("a") as log:
        command = [sys.executable, "-m", "mmssl", "pretrain", *arguments(method, seed, asked)]
        code = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False).returncode
    return f"{name}: exit {code}"


def finished(asked: argparse.Namespace) -> Iterator[str]:
    """NAME=RUN of all runs that are there, whenever they were made."""
    for path in sorted(asked.out.glob("*/evaluation.json")):
        open_run(path.parent)  # raises where its record is damaged
        yield f"{path.parent.name}={path.parent}"


def main() -> None:
    """All runs, some side by side; seeds in turn, so that an early stop leaves whole columns."""
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=list(PICTURES))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    methods = [method for method in PICTURES if method in asked.only]
    with ThreadPoolExecutor(asked.at_once) as pool:
        # what begins from another run comes last
        for seed in asked.seeds:
            first = [method for method in methods if method not in PRETRAINED]
            later = [method for method in methods if method in PRETRAINED]
            for part in (first, later):
                for line in pool.map(lambda method, seed=seed: run(method, seed, asked), part):
                    print(line, flush=True)
                    collect("images", list(finished(asked)))
    print(json.dumps({"runs": len(list(finished(asked)))}))


if __name__ == "__main__":
    main()
