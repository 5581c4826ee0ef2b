"""The variants of `benchmark.py video`: VideoMAE by `VideoMAEForPreTraining` in a plain loop and by mmssl's own step.

All have the same sizes, batch, masks (tubes) and AdamW. `sdpa` is the peer's default attention, `eager` its other one;
`fp32` or `bf16` (autocast) is the precision. Without more a variant reads clips that lie in memory; with `files` it
reads mp4 files: the peer decodes each clip by PyAV as the examples of transformers do, in process (`files0`) or in two
workers (`files2`), mmssl reads its cache, which it fills first (`prepare_seconds`). Frames are not augmented.
"""

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from benchmark_step import accelerator_or_cpu, timed, whole_step
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import VideoMAEConfig, VideoMAEForPreTraining

from mmssl.augment import normalise
from mmssl.batch import Batch
from mmssl.config import Config, load_config
from mmssl.inputs import Inputs
from mmssl.media_task import MediaTask
from mmssl.order import Order, batches
from mmssl.random import Draw
from mmssl.train import launch, reseed, start

PEERS = tuple(f"{attention}-{precision}" for precision in ("fp32", "bf16") for attention in ("sdpa", "eager"))
OURS = ("mmssl-fp32", "mmssl-bf16")
FILES = ("sdpa-fp32-files0", "sdpa-fp32-files2", "sdpa-bf16-files2", "eager-bf16-files2")
VARIANTS = (*PEERS, *OURS, *FILES, *(f"{name}-files" for name in OURS))
LEARNING_RATE, HIDDEN_RATIO, BATCHES_KEPT = 1e-3, 0.9, 4
FILE_SECONDS, RATE, HEIGHT, WIDTH = 4, 30, 240, 320  # of the files that are written


class Sizes(NamedTuple):
    """Of clips and patches, of the encoder, of the decoder (layers, width, heads), and of a batch."""

    frames: int
    size: int
    patch: tuple[int, int]  # frames, pixels
    layers: int
    width: int
    heads: int
    decoder: tuple[int, int, int]
    batch: int


MODELS = {
    "tiny_64": Sizes(16, 64, (2, 8), 6, 192, 3, (4, 96, 3), 16),
    "base_224": Sizes(16, 224, (2, 16), 12, 768, 12, (4, 384, 6), 16),  # the paper's
}


class Measured(NamedTuple):
    """Clips of training steps, the seconds that they took, and those in which training waited for clips."""

    clips: int
    seconds: float
    wait_seconds: float
    prepare_seconds: float


def write_videos(folder: Path, count: int) -> None:
    """Clips of coloured waves that move, 320 x 240, a key frame a second."""
    import av

    y, x = np.mgrid[:HEIGHT, :WIDTH] / 40
    for number in range(count):
        speed = np.random.default_rng(number).uniform(-3, 3, (3, 3))
        with av.open(folder / f"{number}.mp4", "w") as file:
            stream = file.add_stream("h264", rate=RATE)
            stream.width, stream.height, stream.gop_size = WIDTH, HEIGHT, RATE
            stream.pix_fmt = "yuv420p"
            for step in range(FILE_SECONDS * RATE):
                wave = np.stack([np.sin(a * x + b * y + c * step / RATE) for a, b, c in speed], -1)
                frame = av.VideoFrame.from_ndarray((127 * wave + 128).astype(np.uint8), "rgb24")
                file.mux(stream.encode(frame))
            file.mux(stream.encode())


class Videos(Dataset):
    """Clips of files in random order, as `read_video_pyav` of the documentation of transformers reads them: it decodes
    from the beginning of a file to the last frame of the clip.
    """

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self.paths, self.sizes = sorted(folder.glob("*.mp4")), sizes

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Tensor:
        import av

        random = np.random.default_rng(index)
        path = self.paths[int(random.integers(len(self.paths)))]
        first = int(random.integers(FILE_SECONDS * RATE // 2))
        chosen = np.linspace(first, first + FILE_SECONDS * RATE // 2 - 1, self.sizes.frames).astype(int).tolist()
        with av.open(path) as file:
            frames = []
            for number, frame in enumerate(file.decode(video=0)):
                if number in chosen:
                    frames.append(frame.to_ndarray(format="rgb24"))
                if number >= chosen[-1]:
                    break
        clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
        side = round(self.sizes.size * WIDTH / HEIGHT)
        clip = torch.nn.functional.interpolate(clip, (self.sizes.size, side), mode="bilinear", antialias=True)
        left = (side - self.sizes.size) // 2
        return normalise(clip[..., left : left + self.sizes.size])


def clips_of(sizes: Sizes) -> Tensor:
    """Normalised clips in memory; their content does not change what a step costs."""
    generator = torch.Generator().manual_seed(0)
    shape = (BATCHES_KEPT * sizes.batch, sizes.frames, 3, sizes.size, sizes.size)
    return torch.randn(shape, generator=generator).to(accelerator_or_cpu())


def peer(sizes: Sizes, attention: str) -> VideoMAEForPreTraining:
    """The stock class with these sizes."""
    layers, width, heads = sizes.decoder
    config = VideoMAEConfig(
        image_size=sizes.size, patch_size=sizes.patch[1], num_frames=sizes.frames, tubelet_size=sizes.patch[0],
        num_hidden_layers=sizes.layers, hidden_size=sizes.width, num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.width, decoder_num_hidden_layers=layers, decoder_hidden_size=width,
        decoder_num_attention_heads=heads, decoder_intermediate_size=4 * width, use_mean_pooling=False,
    )  # fmt: skip
    config._attn_implementation = attention
    return VideoMAEForPreTraining(config)


def peer_batches(sizes: Sizes, folder: Path | None, workers: int) -> Iterator[Tensor]:
    """Batches of clips, of files where there is a folder of them."""
    if folder is None:
        clips = clips_of(sizes)
        while True:
            yield clips[torch.randint(len(clips), (sizes.batch,))]
    for clips in DataLoader(Videos(folder, sizes), sizes.batch, num_workers=workers):
        yield clips.to(accelerator_or_cpu())


def peer_run(
    sizes: Sizes, attention: str, precision: str, folder: Path | None, workers: int, seconds: float
) -> Measured:
    """A plain loop, as the examples of transformers and torch write it, with tubes for a mask."""
    model = peer(sizes, attention).train()
    torch.nn.Module.to(model, accelerator_or_cpu())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    cells, times = (sizes.size // sizes.patch[1]) ** 2, sizes.frames // sizes.patch[0]

    def step(clips: Tensor) -> None:
        tube = torch.rand(sizes.batch, cells).argsort(1) < round(HIDDEN_RATIO * cells)  # as many in each clip
        mask = tube.repeat(1, times).to(clips.device)
        with torch.autocast(clips.device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            loss = model(clips, bool_masked_pos=mask).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    found = timed(step, peer_batches(sizes, folder, workers), seconds)
    return Measured(found.steps * sizes.batch, found.seconds, found.wait_seconds, 0.0)


def config_of(sizes: Sizes, precision: str, source: str, workspace: Path) -> Config:
    """The same as a user writes it."""
    layers, width, heads = sizes.decoder
    settings = {
        "task": "video_prediction", "run": str(workspace / "run"),
        "data": {"source": source, "heldout": 0.0, "seconds": FILE_SECONDS / 2, "samples": 1},
        "video": {"size": sizes.size, "frames": sizes.frames},
        "views": {"smallest_area": 1.0, "flip_ratio": 0.0, "jitter_ratio": 0.0, "grey_ratio": 0.0, "blur_ratio": 0.0},
        "method": {
            "name": "videomae", "hidden_ratio": HIDDEN_RATIO, "predictor_layers": layers, "predictor_width": width,
            "predictor_heads": heads,
        },
        "encoder": {
            "name": "videomae", "layers": sizes.layers, "width": sizes.width, "heads": sizes.heads,
            "intermediate": 4 * sizes.width, "frames": sizes.patch[0], "patch": sizes.patch[1],
        },
        "train": {"batch_size": sizes.batch, "precision": precision, "learning_rate": LEARNING_RATE},
    }  # fmt: skip
    (workspace / "config.yaml").write_text(json.dumps(settings))
    return load_config(workspace / "config.yaml")


def mmssl_run(sizes: Sizes, precision: str, folder: Path | None, seconds: float, workspace: Path) -> Measured:
    """The training loop's own step, and its own reader where there are files."""
    config, task = config_of(sizes, precision, str(folder) if folder else "savanna", workspace), MediaTask(("video",))
    Path(config.run).mkdir(exist_ok=True)
    accelerator = launch(config)
    began = time.perf_counter()
    data = task.read(config) if folder else None
    prepared = time.perf_counter() - began
    inputs = Inputs(config, task.modalities)
    reseed(config.seed)
    run = start(task.build(config, inputs, 1), config, accelerator)

    def kept() -> Iterator[Batch]:
        clips = clips_of(sizes)
        while True:
            index = torch.randint(len(clips), (sizes.batch,))
            yield Batch({"video": [clips[index]]}, Draw(0, torch.full_like(index, run.step), index))

    def read() -> Iterator[Batch]:
        assert data is not None
        samples = batches(data.train, Order(data.sizes, 0), run.slots, workers=config.data.workers)
        return inputs.stream(samples, accelerator.device, run.objective.views)

    def step(batch: Batch) -> None:
        whole_step(run, iter([batch]), 0.5)

    found = timed(step, read() if folder else kept(), seconds)
    return Measured(found.steps * sizes.batch, found.seconds, found.wait_seconds, prepared)


def measure(variant: str, model: str, folder: Path | None, seconds: float) -> Measured:
    """One variant, in this process; `folder` holds the files of those that read some."""
    torch.manual_seed(0)
    name, precision, *rest = variant.split("-")
    videos = folder if rest else None
    assert videos is not None or not rest, "no folder of videos"
    if name != "mmssl":
        workers = int(rest[0].removeprefix("files")) if rest else 0
        return peer_run(MODELS[model], name, precision, videos, workers, seconds)
    with TemporaryDirectory() as workspace:
        return mmssl_run(MODELS[model], precision, videos, seconds, Path(workspace))


def summary(runs: dict[str, list[dict]]) -> dict:
    """Medians of each variant, and the ratios of mmssl to the peer: like for like, and the best of both, without files
    and from files.
    """
    rate = {name: statistics.median(part["clips"] / part["seconds"] for part in parts) for name, parts in runs.items()}
    variants = {
        name: {
            "clips_per_second": rate[name],
            "each_repeat": [part["clips"] / part["seconds"] for part in parts],
            "waits": statistics.median(part["wait_seconds"] / part["seconds"] for part in parts),
            "prepare_seconds": statistics.median(part["prepare_seconds"] for part in parts),
            "peak_bytes": statistics.median(part["peak_bytes"] for part in parts),
        }
        for name, parts in runs.items()
    }
    asked = {
        "default, fp32": ("mmssl-fp32", "sdpa-fp32"), "default, bf16": ("mmssl-bf16", "sdpa-bf16"),
        "eager, bf16": ("mmssl-bf16", "eager-bf16"),
    }  # fmt: skip
    ratios = {name: rate[ours] / rate[theirs] for name, (ours, theirs) in asked.items() if {ours, theirs} <= set(rate)}
    for key, is_asked in (
        ("best", lambda name: "files" not in name),
        ("best, from files", lambda name: "files" in name),
    ):
        mine = [value for name, value in rate.items() if name.startswith("mmssl") and is_asked(name)]
        theirs = [value for name, value in rate.items() if not name.startswith("mmssl") and is_asked(name)]
        if mine and theirs:
            ratios[key] = max(mine) / max(theirs)
    return {"variants": variants, "mmssl/peer": ratios}
