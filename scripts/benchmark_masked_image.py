"""The variants of `benchmark.py masked_image`: MAE by `ViTMAEForPreTraining` in a plain loop and by mmssl's own step.

All have the same pictures in memory, sizes, batch, ratio and AdamW. `sdpa` is the peer's default attention, `eager` its
other one; `fp32` or `bf16` (autocast) is the precision. `mmssl` and `jepa` (I-JEPA on the same encoder, its own
predictor) run the training loop's step, with its clipping and checks; reading and augmenting pictures is not measured.
"""

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from benchmark_step import accelerator_or_cpu, timed, whole_step
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from mmssl.batch import Batch
from mmssl.config import load_config
from mmssl.methods import METHODS
from mmssl.modalities.grids import Grid, Modality
from mmssl.models import ENCODERS
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.train import launch, start

PEERS = ("sdpa-fp32", "eager-fp32", "sdpa-bf16", "eager-bf16")
VARIANTS = (*PEERS, "mmssl-fp32", "mmssl-bf16", "jepa-fp32", "jepa-bf16")
LEARNING_RATE, HIDDEN_RATIO, BATCHES_KEPT = 1e-3, 0.75, 4
METHOD_OF = {"mmssl": "mae", "jepa": "ijepa"}


class Sizes(NamedTuple):
    """Of pictures, of the encoder, of MAE's decoder (layers, width, heads) and of a batch."""

    size: int
    patch: int
    layers: int
    width: int
    heads: int
    decoder: tuple[int, int, int]
    batch: int


MODELS = {
    "vit_tiny_32": Sizes(32, 4, 12, 192, 3, (4, 192, 3), 64),
    "vit_small_224": Sizes(224, 16, 12, 384, 6, (8, 512, 16), 16),  # the paper's decoder
}


class Measured(NamedTuple):
    """Pictures of training steps, the steps and the seconds that they took."""

    pictures: int
    steps: int
    seconds: float


def pictures_of(sizes: Sizes, device: torch.device) -> torch.Tensor:
    """Normalised pictures in the device's memory; their content does not change what a step costs."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCHES_KEPT * sizes.batch, 3, sizes.size, sizes.size, generator=generator).to(device)


def peer(sizes: Sizes, attention: str) -> ViTMAEForPreTraining:
    """The stock class with these sizes."""
    layers, width, heads = sizes.decoder
    config = ViTMAEConfig(
        image_size=sizes.size, patch_size=sizes.patch, num_hidden_layers=sizes.layers, hidden_size=sizes.width,
        num_attention_heads=sizes.heads, intermediate_size=4 * sizes.width, decoder_num_hidden_layers=layers,
        decoder_hidden_size=width, decoder_num_attention_heads=heads, decoder_intermediate_size=4 * width,
        mask_ratio=HIDDEN_RATIO, norm_pix_loss=True,
    )  # fmt: skip
    config._attn_implementation = attention
    return ViTMAEForPreTraining(config)


def objective_of(method: str, sizes: Sizes) -> Objective:
    """Ours with these sizes; I-JEPA keeps the predictor of its paper's ratios, as narrow as the encoder at most."""
    modalities: dict[str, Modality] = {"image": Grid("image", (sizes.size, sizes.size), 3)}
    encoder = ENCODERS["vit"](
        modalities, patch=sizes.patch, layers=sizes.layers, width=sizes.width, heads=sizes.heads,
        intermediate=4 * sizes.width,
    )  # fmt: skip
    layers, width, heads = sizes.decoder
    predictor = {"predictor_layers": layers, "predictor_width": width, "predictor_heads": heads}
    if method == "mae":
        return METHODS["mae"](encoder, modalities, hidden_ratio=HIDDEN_RATIO, **predictor)
    small = {"predictor_width": min(384, sizes.width), "predictor_heads": sizes.heads}
    return METHODS[method](encoder, modalities, **small)


def flops_per_picture(sizes: Sizes) -> int:
    """Operations that a training step of MAE needs for a picture: encoder and embedding of seen patches only, the
    head of hidden ones; twice the multiplications forward, and twice that backward, but for the patches themselves.
    """
    patches, numbers = (sizes.size // sizes.patch) ** 2, 3 * sizes.patch**2
    hidden = round(HIDDEN_RATIO * patches)
    seen, (layers, width, _) = patches - hidden, sizes.decoder
    encoder = sizes.layers * layer_multiplications(seen + 1, sizes.width)
    decoder = layers * layer_multiplications(patches + 1, width) + (seen + 1) * sizes.width * width
    return 6 * (encoder + decoder + hidden * width * numbers) + 4 * seen * numbers * sizes.width


def layer_multiplications(tokens: int, width: int) -> int:
    """Those of one layer: four projections, the perceptron four times as wide, the scores and means of attention."""
    return 12 * tokens * width**2 + 2 * tokens**2 * width


def measured(step: Callable[[], None], batch: int, seconds: float) -> Measured:
    """Pictures of the steps that fit."""
    found = timed(lambda _: step(), repeat(None), seconds)
    return Measured(found.steps * batch, found.steps, found.seconds)


def peer_run(sizes: Sizes, attention: str, precision: str, seconds: float) -> Measured:
    """A plain loop, as the examples of transformers and torch write it."""
    device = accelerator_or_cpu()
    model, pictures = peer(sizes, attention).train(), pictures_of(sizes, device)
    torch.nn.Module.to(model, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        chosen = pictures[torch.randint(len(pictures), (sizes.batch,), device=device)]
        with torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            loss = model(chosen).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return measured(step, sizes.batch, seconds)


def mmssl_run(method: str, sizes: Sizes, precision: str, folder: Path, seconds: float) -> Measured:
    """The training loop's own step."""
    settings = {
        "task": "image_pretraining", "run": str(folder / "run"), "data": {"source": "savanna", "heldout": 0.0},
        "image": {"size": sizes.size}, "method": {"name": method},
        "train": {"batch_size": sizes.batch, "precision": precision, "learning_rate": LEARNING_RATE},
    }  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps(settings))
    config = load_config(folder / "config.yaml")
    Path(config.run).mkdir(exist_ok=True)
    run = start(objective_of(method, sizes), config, launch(config))

    def stream() -> Iterator[Batch]:
        pictures = pictures_of(sizes, run.accelerator.device)
        while True:
            index = torch.randint(len(pictures), (sizes.batch,), device=pictures.device)
            yield Batch({"image": [pictures[index]]}, Draw(0, torch.full_like(index, run.step), index))

    source = stream()

    return measured(lambda: whole_step(run, source, 0.5), sizes.batch, seconds)


def measure(variant: str, model: str, seconds: float, batch: int = 0) -> Measured:
    """One variant, in this process; a batch of 0 is the model's own."""
    torch.manual_seed(0)
    sizes = MODELS[model]._replace(batch=batch) if batch else MODELS[model]
    name, _, precision = variant.partition("-")
    if variant in PEERS:
        return peer_run(sizes, name, precision, seconds)
    with TemporaryDirectory() as folder:
        return mmssl_run(METHOD_OF[name], sizes, precision, Path(folder), seconds)


def summary(runs: dict[str, list[dict]], flops: float, ceiling: dict[str, float]) -> dict:
    """Medians of each variant, the ratios of mmssl to the peer, and the cost of a JEPA's step in MAE's.

    `best` is the fastest of all settings of the peer, and of ours.
    """
    rate = {
        name: statistics.median(part["pictures"] / part["seconds"] for part in parts) for name, parts in runs.items()
    }
    variants = {
        name: {
            "images_per_second": rate[name],
            "each_repeat": [part["pictures"] / part["seconds"] for part in parts],
            "peak_bytes": statistics.median(part["peak_bytes"] for part in parts),
        }
        for name, parts in runs.items()
    }
    for name in rate:
        if not name.startswith("jepa"):  # whose operations are others
            variants[name]["share_of_ceiling"] = rate[name] * flops / 1e9 / ceiling[name[-4:]]
    asked = {
        "default, fp32": ("mmssl-fp32", "sdpa-fp32"), "default, bf16": ("mmssl-bf16", "sdpa-bf16"),
        "eager, fp32": ("mmssl-fp32", "eager-fp32"), "eager, bf16": ("mmssl-bf16", "eager-bf16"),
    }  # fmt: skip
    ratios = {name: rate[ours] / rate[theirs] for name, (ours, theirs) in asked.items() if {ours, theirs} <= set(rate)}
    mine = [rate[name] for name in rate if name.startswith("mmssl")]
    theirs = [rate[name] for name in rate if name in PEERS]
    if mine and theirs:
        ratios["best"] = max(mine) / max(theirs)
    cost = {
        precision: rate[f"mmssl-{precision}"] / rate[f"jepa-{precision}"]
        for precision in ceiling
        if {f"mmssl-{precision}", f"jepa-{precision}"} <= set(rate)
    }
    return {"variants": variants, "mmssl/peer": ratios, "jepa_step/mae_step": cost, "flops_per_picture": flops}
