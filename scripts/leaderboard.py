"""Train every method of pictures on the same pictures with the same encoder, time and seeds, for one table.

usage: python scripts/leaderboard.py OUT --train FOLDER --test FOLDER [--seconds 75] [--seeds 0 1 2] [--at-once 2]
                                     [--only METHOD ...]

FOLDER has a sub-folder for each class; a glob such as 'train/*/*0.*' takes a part of it. Each run has one thread, so
that runs side by side do not wait for each other. A run that was stopped goes on, a finished one is left as it is.
docs/results/images.json takes its figures from the runs' own records; `python scripts/tables.py write` makes the table.
"""

import argparse
import json

from columns import PICTURES, VIEWS_OF_PICTURES
from side_by_side import finished, in_turn, parser_of, run_and_collect

TINY = "encoder.widths=[8, 16, 32, 64]"  # of ResNet and RegNet, one block each, 3 x 3 stem
OPTIONS = {
    # patches, not convolutions, where something is hidden: nothing can be hidden from a ResNet
    **{method: [TINY] if method in VIEWS_OF_PICTURES else [] for method in PICTURES},
    "seer": [TINY, "encoder.groups_width=8"],
    "vae_of_patches": ["method.spatial=true", "method.latent_width=8"],
}
CONFIGS = {"vae_of_patches": "vae"}  # what takes another method's config; it has no row
PRETRAINED = {
    "clusterfit": "simclr",
    "beit": "vqvae",
    "latent_diffusion": "vae_of_patches",
}  # the run of the same seed that a method begins from


def arguments(method: str, seed: int, asked: argparse.Namespace) -> list[str]:
    """Of `mmssl pretrain`."""
    other = PRETRAINED.get(method)
    pretrained = [f"method.pretrained={asked.out / f'{other}-{seed}'}"] if other else []
    return [
        f"configs/image_pretraining_{CONFIGS.get(method, method)}_folder.yaml", f"seed={seed}",
        f"data.source={asked.train}", f"data.heldout={asked.test}", f"evaluate.source={asked.train}",
        f"evaluate.heldout={asked.test}", f"data.cache={(asked.out / 'cache').absolute()}",
        f"train.seconds={asked.seconds}", "train.evaluate_every_steps=1000000", "train.save_every_steps=1000000",
        "evaluate.documents=2000", *OPTIONS[method], *pretrained,
    ]  # fmt: skip


def main() -> None:
    """All runs, some side by side; seeds in turn, so that an early stop leaves whole columns."""
    parser = parser_of(__doc__, (*PICTURES, *CONFIGS))
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    asked = parser.parse_args()
    methods = [method for method in (*PICTURES, *CONFIGS) if method in asked.only]
    for seed in asked.seeds:
        for part in in_turn(methods, PRETRAINED):
            wanted = {f"{method}-{seed}": arguments(method, seed, asked) for method in part}
            run_and_collect("images", asked.out, wanted, asked.at_once)
    print(json.dumps({"runs": len(finished(asked.out))}))


if __name__ == "__main__":
    main()
