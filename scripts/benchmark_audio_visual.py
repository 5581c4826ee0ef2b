"""The variants of `benchmark.py audio_visual`: CAV-MAE by a plain loop and by mmssl's own step, from the same clips.

All have the same sizes, batch, ratios of what is hidden, layers (the stock ViT's) and AdamW. `fp32` or `bf16`
(autocast) is the precision. The peer does as the authors' code: a Dataset makes the filter bank of each clip by
`torchaudio.compliance.kaldi`, and resizes and normalises its frames, one clip at a time, in process (`peer`) or in two
workers (`peer2`); mmssl reads the same bytes and samples in batch and makes spectrograms and views on the device.
`sdpa` attention on both sides. Nothing is read from a disk: decoding costs both the same.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from benchmark_cav_mae import CONTRAST_WEIGHT, HIDDEN_RATIO, KEPT, MODELS, TEMPERATURE, Clips, Peer, Sizes
from benchmark_step import accelerator_or_cpu, interleaved, peak_bytes, timed, whole_step
from torch import Tensor
from torch.utils.data import DataLoader

from mmssl.batch import Batch
from mmssl.config import Config, load_config
from mmssl.inputs import Inputs
from mmssl.media_task import MediaTask
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.train import launch, reseed, start

VARIANTS = tuple(f"{name}-{precision}" for precision in ("fp32", "bf16") for name in ("mmssl", "peer", "peer2"))
LEARNING_RATE = 1e-3


class Measured(NamedTuple):
    """Clips of training steps, the seconds that they took, and those in which training waited for clips."""

    clips: int
    seconds: float
    wait_seconds: float


def peer_run(sizes: Sizes, precision: str, workers: int, seconds: float) -> Measured:
    """A plain loop over a DataLoader."""
    device = accelerator_or_cpu()
    model = Peer(sizes).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

    def step(clips: list[Tensor]) -> None:
        picture, bank = (part.to(device) for part in clips)
        with torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            loss = model(picture, bank)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    found = timed(step, iter(DataLoader(Clips(sizes), sizes.batch, num_workers=workers)), seconds)
    return Measured(found.steps * sizes.batch, found.seconds, found.wait_seconds)


def config_of(sizes: Sizes, precision: str, workspace: Path) -> Config:
    """The same as a user writes it: clips of one frame."""
    layers, width, heads = sizes.decoder
    settings = {
        "task": "audio_visual", "run": str(workspace / "run"),
        "data": {"source": "savanna", "heldout": 0.0, "seconds": sizes.seconds, "samples": 1},
        "audio": {"rate_hz": sizes.rate_hz, "bands": sizes.bands, "hop_seconds": sizes.hop_seconds},
        "video": {"size": sizes.size, "frames": 1},
        "views": {"smallest_area": 0.5, "flip_ratio": 0.5, "jitter_ratio": 0.0, "grey_ratio": 0.0},
        "method": {
            "name": "cav_mae", "video_hidden_ratio": HIDDEN_RATIO, "audio_hidden_ratio": HIDDEN_RATIO,
            "contrast_weight": CONTRAST_WEIGHT, "temperature": TEMPERATURE, "predictor_layers": layers,
            "predictor_width": width, "predictor_heads": heads,
        },
        "encoder": {
            "name": "vit", "layers": sizes.layers, "width": sizes.width, "heads": sizes.heads, "fused": True,
            "intermediate": 4 * sizes.width, "frames": 1, "patch": sizes.patch, "separate_layers": sizes.separate,
            "audio_patch": [sizes.patch, sizes.patch],
        },
        "train": {"batch_size": sizes.batch, "precision": precision, "learning_rate": LEARNING_RATE},
    }  # fmt: skip
    (workspace / "config.yaml").write_text(json.dumps(settings))
    return load_config(workspace / "config.yaml")


def objective_of(config: Config) -> tuple[Objective, Inputs]:
    """Ours with its first weights, and what makes its batches ready."""
    task = MediaTask(("video", "audio"))
    inputs = Inputs(config, task.modalities)
    reseed(config.seed)
    return task.build(config, inputs, 1), inputs


def mmssl_run(sizes: Sizes, precision: str, seconds: float, workspace: Path) -> Measured:
    """The training loop's own step behind its own preparation."""
    config = config_of(sizes, precision, workspace)
    Path(config.run).mkdir(exist_ok=True)
    accelerator = launch(config)
    objective, inputs = objective_of(config)
    run = start(objective, config, accelerator)
    clips = Clips(sizes)

    def kept() -> Iterator[Batch]:
        while True:
            index = torch.randint(KEPT, (sizes.batch,))
            views = {"video": [clips.frames[index][:, None]], "audio": [clips.sound[index].float() / 2**15]}
            yield Batch(views, Draw(0, torch.full_like(index, run.step), index))

    def step(batch: Batch) -> None:
        whole_step(run, iter([batch]), 0.5)

    found = timed(step, inputs.stream(kept(), accelerator.device, run.objective.views), seconds)
    return Measured(found.steps * sizes.batch, found.seconds, found.wait_seconds)


def measure(variant: str, model: str, seconds: float) -> Measured:
    """One variant, in this process."""
    torch.manual_seed(0)
    name, precision = variant.split("-")
    if name != "mmssl":
        return peer_run(MODELS[model], precision, int(name.removeprefix("peer") or 0), seconds)
    with TemporaryDirectory() as workspace:
        return mmssl_run(MODELS[model], precision, seconds, Path(workspace))


def summary(runs: dict[str, list[dict]]) -> dict:
    """Medians of each variant, and the ratios of mmssl to the peers of its precision."""
    rate = {name: statistics.median(part["clips"] / part["seconds"] for part in parts) for name, parts in runs.items()}
    variants = {
        name: {
            "clips_per_second": rate[name],
            "each_repeat": [part["clips"] / part["seconds"] for part in parts],
            "waits": statistics.median(part["wait_seconds"] / part["seconds"] for part in parts),
            "peak_bytes": statistics.median(part["peak_bytes"] for part in parts),
        }
        for name, parts in runs.items()
    }
    ratios = {
        f"{mine}/{theirs}": rate[mine] / rate[theirs]
        for mine in rate
        for theirs in rate
        if mine.startswith("mmssl") and theirs.startswith("peer") and mine.split("-")[1] == theirs.split("-")[1]
    }
    return {"variants": variants, "ratios": ratios}


def add_arguments(tasks: Any) -> None:
    """The command line of `benchmark.py audio_visual`."""
    parser = tasks.add_parser("audio_visual", help="CAV-MAE, beside a plain loop as its authors'")
    parser.add_argument("--seconds", type=float, default=15, help="training of each variant in each repeat")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--models", nargs="*", choices=[*MODELS], default=["tiny_64"])
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--out", type=Path, help="file for the JSON, besides stdout")
    parser.add_argument("--variant", choices=VARIANTS, help="run this one alone, here")


def answer(options: argparse.Namespace) -> dict:
    """One variant, or all of them, interleaved, each in a process of its own."""
    if options.variant:
        measured = measure(options.variant, options.models[0], options.seconds)
        return measured._asdict() | {"peak_bytes": peak_bytes()}
    report: dict = {"models": {}, "device": str(accelerator_or_cpu())}
    for model in options.models:
        asked = ("--seconds", str(options.seconds))
        runs = interleaved("audio_visual", model, options.variants, options.repeat, *asked)
        report["models"][model] = {"sizes": MODELS[model]._asdict(), **summary(runs)}
    return report
