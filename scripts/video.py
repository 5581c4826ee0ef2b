"""Train methods that predict videos on clips whose futures are known and on real ones, and measure what they predict.

usage: python scripts/video.py OUT [--steps 2000] [--seconds 0] [--batch 32] [--futures 100] [--at-once 2]
                               [--only ROW ...] [--clips FOLDER FOLDER] [--gestures FOLDER FOLDER]

Each row is trained on `savanna` and on `digits`, and with --clips (sub-folders are labels, for the probe) or --gestures
on a folder of videos, tested on another; a run is named ROW-SOURCE, and --only takes both. All have clips of 2 seconds
(`gestures`: 1.5) without augmentation, half of them seen, one thread each. Writes docs/results/video.json,
video_SOURCE.png and, of real clips, video_curves.png; `python scripts/tables.py write` makes the tables. A run that was
stopped goes on, a finished one is left as it is; rows whose method is not there are left out.
"""

import argparse
import json
from pathlib import Path

from draw_video import draw, draw_curves
from side_by_side import asked_for, finished, parser_of, run_and_collect
from tables import RESULTS
from video_columns import LABELLED, REAL, SOURCES

from mmssl.methods import METHODS

COMMON = [
    "data.seconds=2.0", "video.size=32", "video.frames=8", "encoder.patch=8", "encoder.frames=4", "encoder.layers=3",
    "encoder.width=192", "encoder.intermediate=768", "train.learning_rate=1e-3", "views.smallest_area=1.0",
    "views.flip_ratio=0.0", "train.evaluate_every_steps=1000000", "train.save_every_steps=1000000",
    "evaluate.documents=1000",
]  # fmt: skip
WORLD = ["data.samples=12000", "data.heldout=0.05"]
SEEN = ["method.seen_frames=4"]
PAINTED = [*SEEN, "method.predictor_head=linear", "method.moved_copies=0"]  # each patch anew, by one layer
PREDICTOR = ["method.predictor_width=192", "method.predictor_layers=3"]  # as wide as the encoder
SMALL_STEPS = ["encoder.frames=2", "train.learning_rate=1e-3"]  # four times: masks need several
LATENT = ["method.latent_width=8", "method.latent_layers=1"]
FEW = [*LATENT, "method.latent_weight=1e-3", "method.latent_per=clip"]  # bits
FEWER = [*FEW, "method.latent_weight=5e-3", "method.free_nats=1.0"]  # little more than the futures need
CODES = [*LATENT, "method.limit=codes", "method.num_codes=8"]
SMALL_ENCODER = ["encoder.layers=2", "encoder.width=128", "encoder.intermediate=512"]
SMALL = [  # six times the samples in the same time on a CPU
    *SMALL_ENCODER, "train.learning_rate=2e-3", "method.predictor_width=128", "method.predictor_layers=3",
]  # fmt: skip
MANY = ["data.samples=100000"]  # an hour of SMALL learns 12,000 by heart
MUON = [  # which learns as much in a third of the steps
    "data.samples=300000", "data.decoded_bytes=8000000000", "train.optimizer=muon",
]  # fmt: skip
PERCEPTRON = [*MUON, "method.predictor_head=perceptron"]  # 128 numbers leave out a tenth of what 768 change
MOTION = [*PERCEPTRON, "method.unit=motion", "method.latent_weight=0.115"]  # as errors are 23 times larger so
COPIES = ["method.predictor_head=perceptron", "method.moved_copies=2", "method.reach=10"]  # the prey runs 9 pixels
MOVED = [*MOTION, *COPIES]
GENERATOR = [*SMALL_ENCODER, "method.generator_width=128", "method.latent_width=8", "train.learning_rate=3e-4"]
ORDER = [*SMALL_ENCODER, "method.seen_frames=2", "encoder.frames=1", "train.learning_rate=5e-4"]
ROWS: dict[str, tuple[str, list[str]]] = {  # row -> the method whose config it takes, and what it changes
    "frame_prediction": ("frame_prediction", [*PAINTED, *PREDICTOR]),
    "frame_prediction_small": ("frame_prediction", [*PAINTED, *SMALL]),
    "frame_prediction_small_moved": ("frame_prediction", [*SEEN, *SMALL, *COPIES]),
    "frame_prediction_latent": ("frame_prediction_latent", [*PAINTED, *PREDICTOR, *FEW]),
    "frame_prediction_latent_small": ("frame_prediction_latent", [*PAINTED, *SMALL, *FEW]),
    "frame_prediction_latent_small_fewer_bits": ("frame_prediction_latent", [*PAINTED, *SMALL, *FEWER, *MANY]),
    "frame_prediction_latent_small_muon": ("frame_prediction_latent", [*PAINTED, *SMALL, *FEWER, *MUON]),
    "frame_prediction_latent_small_perceptron": ("frame_prediction_latent", [*PAINTED, *SMALL, *FEWER, *PERCEPTRON]),
    "frame_prediction_latent_small_motion": ("frame_prediction_latent", [*PAINTED, *SMALL, *FEWER, *MOTION]),
    "frame_prediction_latent_small_moved": ("frame_prediction_latent", [*SEEN, *SMALL, *FEWER, *MOVED]),
    "frame_prediction_gan": ("frame_prediction_gan", [*SEEN, *GENERATOR]),
    "video_diffusion": ("video_diffusion", [*SEEN, *PREDICTOR]),
    "video_diffusion_small": ("video_diffusion", [*SEEN, *SMALL, *PERCEPTRON]),
    "frame_order": ("frame_order", ORDER),
    "videomae": ("videomae", [*SMALL, *SMALL_STEPS]),
    "vjepa": ("vjepa", [*SMALL, *SMALL_STEPS]),
    "vjepa_with_latent": ("vjepa_with_latent", [*SEEN, *PREDICTOR, *CODES]),
    "vjepa_with_latent_small": ("vjepa_with_latent", [*SEEN, *SMALL, *CODES]),
    "vjepa_with_latent_small_many": ("vjepa_with_latent", [*SEEN, *SMALL, *CODES, *MANY]),
    "vjepa_with_latent_small_slow": ("vjepa_with_latent", [*SEEN, *SMALL, *CODES, *MANY, "method.momentum=0.9998"]),
}


def arguments(row: str, source: str, asked: argparse.Namespace) -> list[str]:
    """Of `mmssl pretrain`."""
    method, options = ROWS[row]
    data = [f"data.source={source}", *WORLD]
    if source in REAL:
        folder, test = getattr(asked, source)
        parts = ("data", "evaluate") if source in LABELLED else ("data",)
        data = [text for part in parts for text in (f"{part}.source={folder}", f"{part}.heldout={test}")]
        data += [f"data.seconds={REAL[source]}", "train.evaluate_every_steps=250"]  # for the curves
    return [
        f"configs/video_prediction_{method}_folder.yaml", *COMMON, *data, f"train.steps={asked.steps}",
        f"train.seconds={asked.seconds}", f"train.batch_size={asked.batch}", f"evaluate.futures={asked.futures}",
        f"data.cache={(asked.out / 'cache').absolute()}", *options,
    ]  # fmt: skip


def wanted_of(asked: argparse.Namespace, rows: list[str]) -> dict[str, list[str]]:
    """The runs that are asked for, by a row or by a name of their own, with their arguments."""
    sources = [source for source in SOURCES if source not in REAL or getattr(asked, source) is not None]
    there = [row for row in rows if ROWS[row][0] in METHODS]
    return {name: arguments(row, source, asked) for name, row, source in asked_for(there, sources, asked.only)}


def main() -> None:
    """All runs, some side by side."""
    parser = parser_of(__doc__, ROWS)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=0.0, help="end training then; 0: after its steps")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--futures", type=int, default=100, help="samples of each clip")
    for source in REAL:
        parser.add_argument(f"--{source}", type=Path, nargs=2, help="to train on and to test on")
    asked = parser.parse_args()
    run_and_collect("video", asked.out, wanted_of(asked, [*ROWS]), asked.at_once)
    drawn = [draw(asked.out, source) for source in SOURCES]
    written = [str(path) for path in (RESULTS / "video.json", *drawn, draw_curves(asked.out)) if path is not None]
    print(json.dumps({"runs": len(finished(asked.out)), "written": written}))


if __name__ == "__main__":
    main()
