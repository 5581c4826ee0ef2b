"""The variants of `benchmark.py image`: SimCLR on a folder of JPEG files by lightly and by mmssl, as a user runs it.

Both have the same files, stock ResNet, batch, widths and recipe (crop, flip, jitter, grey; no blur at 32 pixels), in
float32 with AdamW. `lightly-N` loads with N worker processes. mmssl decodes once, before the clock runs:
`decode_seconds` says how long that took.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmark_step import whole_step
from einops import reduce
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmssl.config import load_config
from mmssl.inputs import Inputs
from mmssl.media_task import MediaTask
from mmssl.modalities.grids import Grid
from mmssl.models.convnet import resnet
from mmssl.order import Order, batches
from mmssl.train import launch, start

SIZE, BATCH, PICTURES = 32, 64, 2000
PROJECTOR, EMBEDDING, TEMPERATURE, LEARNING_RATE = 256, 64, 0.5, 1e-3
ENCODERS: dict[str, dict[str, Any]] = {
    "tiny": {"widths": [16, 32, 64, 128], "depths": [1, 1, 1, 1], "small_stem": True},
    "resnet18": {"widths": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "small_stem": True},
}
VARIANTS = ("lightly-0", "lightly-2", "mmssl")


class Measured(NamedTuple):
    """Pictures of training steps, views of the input pipeline alone, and the seconds that each took."""

    pictures: int
    seconds: float
    views: int
    view_seconds: float
    decode_seconds: float


def write_pictures(folder: Path) -> None:
    """JPEG files of the built-in world, in two sub-folders."""
    from mmssl.savanna import pictures, scenes

    drawn = pictures(scenes(0, np.arange(PICTURES)), SIZE)
    for number, picture in enumerate(drawn):
        place = folder / "train" / str(number % 2)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.transpose(1, 2, 0)).save(place / f"{number:05d}.jpg", quality=90)


def flops_per_picture(encoder: str) -> int:
    """Operations of forward and backward through the encoder, two views."""
    model = resnet({"image": Grid("image", (SIZE, SIZE), 3)}, **ENCODERS[encoder]).stock
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, SIZE, SIZE)).last_hidden_state.sum().backward()
    return counter.get_total_flops()


def timed(steps: Iterator[int], seconds: float) -> tuple[int, float]:
    """What the steps count, and the time they take, after two that warm up."""
    for _ in range(2):
        next(steps)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += next(steps)
    return count, time.perf_counter() - began


class Peer(nn.Module):
    """The same stock ResNet with lightly's projection head."""

    def __init__(self, encoder: str) -> None:
        super().__init__()
        from lightly.models.modules import SimCLRProjectionHead

        options = ENCODERS[encoder]
        self.stock = resnet({"image": Grid("image", (SIZE, SIZE), 3)}, **options).stock
        self.head = SimCLRProjectionHead(options["widths"][-1], PROJECTOR, EMBEDDING)

    def forward(self, view: Tensor) -> Tensor:
        return self.head(reduce(self.stock(view).last_hidden_state, "b c y x -> b c", "mean"))


def lightly_run(encoder: str, workspace: Path, seconds: float, workers: int) -> Measured:
    """lightly's data set, transform and loss in a plain loop, as its examples write it."""
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.transforms.simclr_transform import SimCLRTransform

    transform: Any = SimCLRTransform(input_size=SIZE, gaussian_blur=0.0, cj_strength=0.5, min_scale=0.2)
    data: Any = LightlyDataset(str(workspace / "train"), transform=transform)
    loader = torch.utils.data.DataLoader(
        data, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    model, criterion = Peer(encoder).train(), NTXentLoss(temperature=TEMPERATURE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

    def endless() -> Iterator[list[Tensor]]:
        while True:
            for views, *_ in loader:
                yield views

    def loading() -> Iterator[int]:
        for views in endless():
            yield sum(map(len, views))

    def training() -> Iterator[int]:
        for first, second in endless():
            criterion(model(first), model(second)).backward()
            optimizer.step()
            optimizer.zero_grad()
            yield len(first)

    views, view_seconds = timed(loading(), seconds / 2)
    pictures, trained = timed(training(), seconds)
    return Measured(pictures, trained, views, view_seconds, 0.0)


def mmssl_run(encoder: str, workspace: Path, seconds: float) -> Measured:
    """mmssl's own reader, inputs and step."""
    settings = {
        "task": "image_pretraining", "run": str(workspace / "run"),
        "data": {"source": str(workspace / "train"), "heldout": 0.0}, "image": {"size": SIZE},
        "method": {"name": "simclr", "projector_width": PROJECTOR, "embedding_width": EMBEDDING},
        "encoder": {"name": "resnet", **ENCODERS[encoder]},
        "train": {"batch_size": BATCH, "precision": "fp32", "learning_rate": LEARNING_RATE},
    }  # fmt: skip
    (workspace / "config.yaml").write_text(json.dumps(settings))
    config = load_config(workspace / "config.yaml")
    accelerator, task = launch(config), MediaTask(modalities=("image",))
    Path(config.run).mkdir(exist_ok=True)
    began = time.perf_counter()
    data = task.read(config)
    decode_seconds = time.perf_counter() - began
    inputs = Inputs(config, task.modalities)
    objective = task.build(config, inputs, data.train.size)
    run = start(objective, config, accelerator)

    def stream() -> Iterator[Any]:
        samples = batches(data.train, Order(data.sizes, 0), run.slots)
        return inputs.stream(samples, accelerator.device, objective.views)

    def loading() -> Iterator[int]:
        for batch in stream():
            yield sum(map(len, batch.views["image"]))

    def training() -> Iterator[int]:
        source = stream()
        while True:
            whole_step(run, source, 0.5)
            yield BATCH

    views, view_seconds = timed(loading(), seconds / 2)
    pictures, trained = timed(training(), seconds)
    return Measured(pictures, trained, views, view_seconds, decode_seconds)


def measure(variant: str, encoder: str, workspace: Path, seconds: float) -> Measured:
    """One variant, in this process."""
    torch.manual_seed(0)
    name, _, workers = variant.partition("-")
    if name == "lightly":
        return lightly_run(encoder, workspace, seconds, int(workers))
    return mmssl_run(encoder, workspace, seconds)
