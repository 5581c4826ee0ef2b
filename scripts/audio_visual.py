"""Train every method of clips with sound on the built-in world and on real ones, and measure what belongs to what.

usage: python scripts/audio_visual.py OUT [--seconds 300] [--steps 1000000] [--batch 32] [--at-once 2] [--only ROW ...]
                                          [--data FOLDER]

Each row is trained on `savanna`, and with --data on clips of flying objects beside sounds of the same class (FOLDER
holds made/pairs and made/sounds as scripts/prepare_video.py writes them); a run is named ROW-SOURCE, and --only takes
both. All have the encoder of their config, the same clips of 2 seconds, one thread each. Writes
docs/results/audio_visual.json; `python scripts/tables.py write` makes the tables. A run that was stopped goes on, a
finished one is left as it is; rows whose method is not there are left out.
"""

import argparse
import json
from pathlib import Path

from audio_visual_columns import SOURCES
from side_by_side import asked_for, finished, parser_of, run_and_collect
from tables import RESULTS, ROOT

from mmssl.methods import METHODS

COMMON = ["train.evaluate_every_steps=1000000", "train.save_every_steps=1000000", "evaluate.documents=400"]
WORLD = ["data.source=savanna", "data.samples=4000", "data.heldout=0.1"]
PLAIN = ["views.smallest_area=1.0"]  # of the world: what is cut away may be what is heard
WHOLE = ["method.num_segments=1", "encoder.frames=2"]  # clips are not cut into segments
ROWS: dict[str, tuple[str, list[str]]] = {  # row -> the method whose config it takes, and what it changes
    "audio_visual_contrastive": ("audio_visual_contrastive", WHOLE),
    "audio_visual_contrastive_segments": ("audio_visual_contrastive", []),
    "audio_visual_contrastive_long": (  # with --seconds 5100
        "audio_visual_contrastive",
        [*WHOLE, "data.samples=40000", "data.heldout=0.025", "train.batch_size=64", "method.num_moments=3"],
    ),
    "audio_visual_contrastive_other_clips": ("audio_visual_contrastive", [*WHOLE, "method.same_clip_weight=0.0"]),
    "xdc": ("xdc", []),
    "av_cluster": ("av_cluster", []),
    "audio_visual_vicreg": ("audio_visual_vicreg", []),
    "audio_visual_barlow": ("audio_visual_barlow", []),
    "cav_mae": ("cav_mae", []),
    "contrastive_captions": ("contrastive_captions", ["data.modalities=[text, image, audio]"]),
    "audio_visual_jepa": ("audio_visual_jepa", []),
    "audio_visual_jepa_across": ("audio_visual_jepa", ["method.pairs=[audio_to_video, video_to_audio]"]),
    "audio_visual_jepa_latent": ("audio_visual_jepa", ["method.limit=noise", "method.latent_width=8"]),
    "audio_from_video": ("audio_from_video", []),
    "audio_from_video_mean": ("audio_from_video", ["method.latent_width=0"]),
    "video_from_audio": ("video_from_audio", []),
}
WORDS = ("contrastive_captions",)  # of the built-in world only


def config_of(method: str) -> str:
    """The config of a method on folders, relative to the repository."""
    name = method.removeprefix("audio_visual_")
    kinds = ("audio_visual", "captions")
    return next(path for kind in kinds if (ROOT / (path := f"configs/{kind}_{name}_folder.yaml")).exists())


def arguments(row: str, source: str, asked: argparse.Namespace) -> list[str]:
    """Of `mmssl pretrain`."""
    method, options = ROWS[row]
    data = [*WORLD, *PLAIN]
    if source == "pairs":
        folder = asked.data / "made"
        data = [f"{part}.source={folder / 'pairs' / 'train'}" for part in ("data", "evaluate")]
        data += [f"{part}.heldout={folder / 'pairs' / 'test'}" for part in ("data", "evaluate")]
        data.append(f"data.paired={folder / 'sounds'}")
    return [
        config_of(method), *COMMON, *data, f"train.steps={asked.steps}", f"train.seconds={asked.seconds}",
        f"train.batch_size={asked.batch}", f"data.cache={(asked.out / 'cache').absolute()}", *options,
    ]  # fmt: skip


def wanted_of(asked: argparse.Namespace) -> dict[str, list[str]]:
    """The runs that are asked for, by a row or by a name of their own, with their arguments."""
    sources = [source for source in SOURCES if source == "savanna" or asked.data is not None]
    there = [row for row, (method, _) in ROWS.items() if method in METHODS]
    return {
        name: arguments(row, source, asked)
        for name, row, source in asked_for(there, sources, asked.only)
        if source == "savanna" or row not in WORDS
    }


def main() -> None:
    """All runs, some side by side."""
    parser = parser_of(__doc__, ROWS)
    parser.add_argument("--steps", type=int, default=1000000)
    parser.add_argument("--seconds", type=float, default=300.0, help="end training then; 0: after its steps")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    run_and_collect("audio_visual", asked.out, wanted_of(asked), asked.at_once)
    print(json.dumps({"runs": len(finished(asked.out)), "written": [str(RESULTS / "audio_visual.json")]}))


if __name__ == "__main__":
    main()
