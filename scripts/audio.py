"""Train all methods of sounds on spoken digits and environmental sounds, and measure what their encoders are worth.

usage: python scripts/audio.py OUT --data FOLDER [--seconds 90] [--at-once 2] [--finetune-seconds 0] [--only ROW ...]

FOLDER is what scripts/prepare_audio.py writes: no recording is in both parts. Each row is trained and tested on each
set that lies there; a run is named ROW-SET, and --only takes both. Methods of spectrograms have the same small encoder,
all rows the same time and one thread each. Writes docs/results/audio.json; `python scripts/tables.py write` makes the
tables. A run that was stopped goes on, a finished one is left as it is; rows whose method or config is not there are
left out.
"""

import argparse
import json
from pathlib import Path

from audio_columns import SETS_OF_SOUNDS
from side_by_side import asked_for, finished, in_turn, parser_of, run_and_collect
from tables import RESULTS, ROOT

from mmssl.methods import METHODS

COMMON = [
    "train.steps=1000000", "train.evaluate_every_steps=1000000", "train.save_every_steps=1000000",
    "evaluate.documents=3000",
]  # fmt: skip
SPECTROGRAMS = [
    "encoder.layers=4", "encoder.width=128", "encoder.heads=4", "encoder.intermediate=512", "encoder.audio_patch=[8,8]",
]  # fmt: skip
BANDS = {"digits": "32", "speakers": "32", "environment": "64"}
SAMPLES = {  # of each set: recordings of 0.14 to 2.3 s at 8 kHz, and of 10 s at 16 kHz
    "digits": ["data.seconds=1.0", "audio.rate_hz=8000"],
    "speakers": ["data.seconds=1.0", "audio.rate_hz=8000"],
    "environment": ["data.seconds=2.0", "audio.rate_hz=16000"],
}
WAVEFORMS = ("wav2vec2", "hubert", "data2vec_audio")  # whose encoders are those of their configs
ROWS: dict[str, tuple[str, list[str]]] = {  # row -> the method whose config it takes, and what it changes
    "audio_mae": ("audio_mae", []),
    "audio_mae_pixels": ("audio_mae", ["method.normalise_patches=false"]),
    "audio_denoising": ("audio_denoising", []),
    "audio_denoising_masking": ("audio_denoising", ["method.noise=masking"]),
    **{
        name: (name, [])
        for name in (
            "vqvae", "simclr", "moco_v3", "byol", "simsiam", "dino", "swav", "deepcluster_v2", "barlow_twins", "vicreg",
            "lejepa", *WAVEFORMS,
        )
    },
    "hubert_again": ("hubert", ["method.layer=2", "method.num_clusters=100"]),
}  # fmt: skip
PRETRAINED = {"hubert_again": "hubert"}  # the row whose run on the same set a row begins from


def config_of(method: str) -> Path:
    """Where the config of a method on sounds lies, if there is one."""
    return ROOT / "configs" / f"audio_pretraining_{method}_folder.yaml"


def arguments(row: str, name: str, asked: argparse.Namespace) -> list[str]:
    """Of `mmssl pretrain`."""
    method, options = ROWS[row]
    other = PRETRAINED.get(row)
    pretrained = [f"method.pretrained={asked.out / f'{other}-{name}'}"] if other else []
    folder = (asked.data / name).absolute()
    size = [] if method in WAVEFORMS else [*SPECTROGRAMS, f"audio.bands={BANDS[name]}"]
    finetune = asked.finetune_seconds > 0
    tuning = [f"evaluate.finetune={str(finetune).lower()}"]
    tuning += [f"evaluate.finetune_seconds={asked.finetune_seconds}"] if finetune else []
    return [
        str(config_of(method)), *COMMON, *SAMPLES[name], *size, *tuning, f"data.source={folder / 'train'}",
        f"data.heldout={folder / 'test'}", f"train.seconds={asked.seconds}",
        f"data.cache={(asked.out / 'cache').absolute()}", *options, *pretrained,
    ]  # fmt: skip


def wanted_of(asked: argparse.Namespace, rows: list[str]) -> dict[str, list[str]]:
    """The runs that are asked for, by a row or by a name of their own, with their arguments."""
    sets = [name for name in SETS_OF_SOUNDS if (asked.data / name).is_dir()]
    there = [row for row in rows if ROWS[row][0] in METHODS and config_of(ROWS[row][0]).exists()]
    return {run: arguments(row, name, asked) for run, row, name in asked_for(there, sets, asked.only)}


def main() -> None:
    """All runs, some side by side."""
    parser = parser_of(__doc__, ROWS)
    parser.add_argument("--data", type=Path, required=True, help="what scripts/prepare_audio.py has written")
    parser.add_argument("--seconds", type=float, default=90.0, help="of training")
    parser.add_argument("--finetune-seconds", type=float, default=0.0, help="of fine-tuning; 0: none")
    asked = parser.parse_args()
    for part in in_turn(ROWS, PRETRAINED):
        run_and_collect("audio", asked.out, wanted_of(asked, part), asked.at_once)
    print(json.dumps({"runs": len(finished(asked.out)), "written": str(RESULTS / "audio.json")}))


if __name__ == "__main__":
    main()
