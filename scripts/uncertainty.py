"""Train methods on pictures whose hidden half is one of a few known ones, and measure how they hold the uncertainty.

usage: python scripts/uncertainty.py OUT [--steps 2000] [--at-once 2] [--only ROW ...]

All have the same small encoder, the same pictures of `encounters` without augmentation, the right half hidden where a
method has a mask, one thread each. Writes docs/results/uncertainty.json and .png; `python scripts/tables.py write`
makes the table. A run that was stopped goes on, a finished one is left as it is.
"""

import json
from pathlib import Path

from draw_uncertainty import draw
from side_by_side import finished, in_turn, parser_of, run_and_collect
from tables import RESULTS

COMMON = [
    "data.source=encounters", "data.samples=6000", "data.heldout=0.05", "image.size=32", "views.smallest_area=1.0",
    "views.flip_ratio=0.0", "encoder.patch=8", "encoder.layers=2", "encoder.width=96", "encoder.intermediate=384",
    "train.seconds=0", "train.learning_rate=2e-3", "train.batch_size=32",
    "train.evaluate_every_steps=1000000", "train.save_every_steps=1000000", "evaluate.documents=64",
]  # fmt: skip
HALF = ["method.mask=right", "method.hidden_ratio=0.5"]
PREDICTOR = ["method.predictor_width=96"]  # as wide as the encoder
SLOW = ["method.momentum=0.998"]  # of a teacher: a fast one forgets what cannot be predicted before z is understood
LIMITS = {
    "noise": ["method.latent_width=8", "method.limit_weight=5e-4"],
    "dimension": ["method.latent_width=2"],
    "sparsity": ["method.latent_width=16", "method.limit_weight=1e-4"],
    "codes": ["method.latent_width=8", "method.num_codes=8"],
}  # of z in the JEPA, and how much of it
ROWS: dict[str, tuple[str, list[str]]] = {  # row -> the method whose config it takes, and what it changes
    "mae": ("mae", [*HALF, *PREDICTOR, "method.normalise_patches=false"]),
    "denoising_autoencoder": ("denoising_autoencoder", []),
    "simmim": ("simmim", HALF),
    "data2vec": ("data2vec", [*HALF, *PREDICTOR, "method.num_masks=1", "method.top_layers=2"]),
    "ijepa": ("ijepa", [*HALF, *PREDICTOR, *SLOW]),
    "vqvae": ("vqvae", []),
    "beit": ("beit", HALF),
    "sparse_coding": ("sparse_coding", [*HALF, "method.patch_wise=false"]),
    "vae": ("vae", HALF),
    "conditional_vae": (
        "conditional_vae",
        [*HALF, *PREDICTOR, "method.latent_width=8", "method.latent_layers=1", "method.kl_weight=5e-4"],
    ),
    "gan": ("gan", [*HALF, "train.learning_rate=3e-4", "method.latent_width=8", "method.generator_width=96"]),
    "diffusion": ("diffusion", [*HALF, *PREDICTOR]),
    "vae_spatial": ("vae", [*HALF, "method.spatial=true", "method.latent_width=16", "method.kl_weight=0.1"]),
    "latent_diffusion": ("latent_diffusion", [*HALF, *PREDICTOR]),
    **{
        f"jepa_with_latent: {limit}": (
            "jepa_with_latent",
            [*HALF, *PREDICTOR, *SLOW, f"method.limit={limit}", *options],
        )
        for limit, options in LIMITS.items()
    },
}
PRETRAINED = {"beit": "vqvae", "latent_diffusion": "vae_spatial"}  # the row whose run a row begins from


def folder_of(row: str) -> str:
    """The run folder's name."""
    return row.replace(": ", "-")


def arguments(row: str, out: Path, steps: int) -> list[str]:
    """Of `mmssl pretrain`."""
    method, options = ROWS[row]
    other = PRETRAINED.get(row)
    pretrained = [f"method.pretrained={out / folder_of(other)}"] if other else []
    cache = f"data.cache={(out / 'cache').absolute()}"
    return [
        f"configs/image_pretraining_{method}_folder.yaml", *COMMON, f"train.steps={steps}", cache, *options,
        *pretrained,
    ]  # fmt: skip


def main() -> None:
    """All runs; what begins from another one comes last."""
    parser = parser_of(__doc__, ROWS)
    parser.add_argument("--steps", type=int, default=2000)
    asked = parser.parse_args()
    for part in in_turn((row for row in ROWS if row in asked.only), PRETRAINED):
        wanted = {folder_of(row): arguments(row, asked.out, asked.steps) for row in part}
        run_and_collect("uncertainty", asked.out, wanted, asked.at_once)
    drawn = [str(RESULTS / "uncertainty.json"), str(draw(asked.out))]
    print(json.dumps({"runs": len(finished(asked.out)), "written": drawn}))


if __name__ == "__main__":
    main()
