"""The variants of `benchmark.py audio`: wav2vec 2.0 by `Wav2Vec2ForPreTraining` in a plain loop and by mmssl's own
step; and filter banks of single clips beside log-mel spectrograms in batch.

Training has the same sizes, batch, share of hidden frames, 100 distractors and AdamW on both sides, waveforms that lie
in memory, and layers of the large style, which the example of transformers demands. The peer draws masks and
distractors as that example does, by NumPy for each utterance. `fbank` computes `torchaudio.compliance.kaldi.fbank` clip
by clip, as the loaders of AST and CAV-MAE do, `log_mel` ours.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmark_step import accelerator_or_cpu, interleaved, peak_bytes, timed, whole_step
from torch import Tensor
from torchaudio.compliance.kaldi import fbank
from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

from mmssl.batch import Batch
from mmssl.config import Config, load_config
from mmssl.inputs import Inputs
from mmssl.media_task import MediaTask
from mmssl.models.wav2vec2 import styled
from mmssl.random import Draw
from mmssl.spectrogram import LogMel
from mmssl.train import launch, reseed, start

TRAINING = tuple(f"{name}-{precision}" for precision in ("fp32", "bf16") for name in ("stock", "mmssl"))
FEATURES = ("fbank", "log_mel")
VARIANTS = (*TRAINING, *FEATURES)
RATE_HZ, BANDS, LEARNING_RATE, BATCHES_KEPT, CLIP_SECONDS = 16000, 128, 5e-4, 4, 10
START_RATIO, SPAN, DISTRACTORS = 0.065, 10, 100
CONV_SIZES, CONV_STEPS = [10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]


class Sizes(NamedTuple):
    """Of the encoder, its convolutions and codebooks, and of a batch."""

    layers: int
    width: int
    heads: int
    conv_width: int
    num_codes: int
    code_width: int
    batch: int
    seconds: float


MODELS = {
    "small": Sizes(6, 192, 3, 96, 320, 256, 8, 4.0),
    "base": Sizes(12, 768, 12, 512, 320, 256, 8, 10.0),
}


class Measured(NamedTuple):
    """Seconds of sound, and those that they took."""

    sound: float
    seconds: float


def waveforms(count: int, seconds: float) -> Tensor:
    """Noise in memory; its content does not change what a step costs."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(count, round(seconds * RATE_HZ), generator=generator).to(accelerator_or_cpu())


def peer(sizes: Sizes) -> Wav2Vec2ForPreTraining:
    """The stock class with these sizes."""
    no_dropout = dict.fromkeys(("hidden_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop"), 0.0)
    return Wav2Vec2ForPreTraining(Wav2Vec2Config(
        num_hidden_layers=sizes.layers, hidden_size=sizes.width, num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.width, conv_dim=[sizes.conv_width] * 7, conv_kernel=CONV_SIZES,
        conv_stride=CONV_STEPS, num_codevectors_per_group=sizes.num_codes, codevector_dim=sizes.code_width,
        proj_codevector_dim=sizes.code_width, num_negatives=DISTRACTORS, **styled("large"), **no_dropout,
    ))  # fmt: skip


def masks(model: Wav2Vec2ForPreTraining, shape: tuple[int, int]) -> dict[str, Tensor]:
    """As the collator of the example draws them: by NumPy, utterance by utterance."""
    mask = _compute_mask_indices(shape, START_RATIO * SPAN, SPAN)
    negative = _sample_negative_indices(shape, model.config.num_negatives, mask_time_indices=mask)
    device = accelerator_or_cpu()
    return {
        "mask_time_indices": torch.from_numpy(mask).to(device),
        "sampled_negative_indices": torch.from_numpy(negative).long().to(device),
    }


def peer_step(sizes: Sizes, precision: str) -> Callable[[], None]:
    """A step of a plain loop, as the example writes it, without its norm of each parameter."""
    model = peer(sizes).train()
    torch.nn.Module.to(model, accelerator_or_cpu())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    sounds = waveforms(BATCHES_KEPT * sizes.batch, sizes.seconds)
    sounds = (sounds - sounds.mean(1, keepdim=True)) / sounds.std(1, keepdim=True)
    frames = int(model._get_feat_extract_output_lengths(sounds.shape[1]))
    half = precision == "bf16"

    def step() -> None:
        chosen = sounds[torch.randint(len(sounds), (sizes.batch,))]
        drawn = masks(model, (sizes.batch, frames))
        with torch.autocast(chosen.device.type, torch.bfloat16) if half else nullcontext():
            loss = model(chosen, **drawn).loss / drawn["mask_time_indices"].sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def config_of(sizes: Sizes, precision: str, workspace: Path) -> Config:
    """The same as a user writes it."""
    settings = {
        "task": "audio_pretraining", "run": str(workspace / "run"), "data": {"seconds": sizes.seconds},
        "audio": {"form": "waveform", "rate_hz": RATE_HZ},
        "method": {
            "name": "wav2vec2", "start_ratio": START_RATIO, "span_frames": SPAN, "num_distractors": DISTRACTORS,
            "num_codes": sizes.num_codes, "code_width": sizes.code_width, "embedding_width": sizes.code_width,
        },
        "encoder": {
            "name": "wav2vec2", "layers": sizes.layers, "width": sizes.width, "heads": sizes.heads,
            "intermediate": 4 * sizes.width, "conv_widths": [sizes.conv_width] * 7, "conv_sizes": CONV_SIZES,
            "conv_steps": CONV_STEPS, "style": "large", "dropout": 0.0,
        },
        "train": {"batch_size": sizes.batch, "precision": precision, "learning_rate": LEARNING_RATE},
    }  # fmt: skip
    (workspace / "config.yaml").write_text(json.dumps(settings))
    return load_config(workspace / "config.yaml")


def our_step(sizes: Sizes, precision: str, workspace: Path) -> Callable[[], None]:
    """A step of the training loop."""
    config, task = config_of(sizes, precision, workspace), MediaTask(("audio",))
    Path(config.run).mkdir(exist_ok=True)
    accelerator = launch(config)
    reseed(config.seed)
    run = start(task.build(config, Inputs(config, task.modalities), 1), config, accelerator)
    sounds = waveforms(BATCHES_KEPT * sizes.batch, sizes.seconds)

    def step() -> None:
        index = torch.randint(len(sounds), (sizes.batch,))
        draw = Draw(0, torch.full_like(index, run.step), index).to(sounds.device)
        whole_step(run, iter([Batch({"audio": [sounds[index]]}, draw)]), 0.5)

    return step


def features_step(variant: str, clips: int) -> Callable[[], None]:
    """Filter banks of as many clips of CLIP_SECONDS: 128 bands each 10 ms, by a window of 25 ms."""
    sounds = waveforms(clips, CLIP_SECONDS)
    if variant == "log_mel":
        log_mel = LogMel(RATE_HZ, BANDS, 0.01)

        def in_batch() -> None:
            log_mel(sounds)

        return in_batch
    options: dict[str, Any] = {"htk_compat": True, "window_type": "hanning", "dither": 0.0, "frame_shift": 10}
    sounds = sounds.cpu()  # as in a loader

    def step() -> None:
        for sound in sounds:
            fbank((sound - sound.mean())[None], sample_frequency=RATE_HZ, num_mel_bins=BANDS, **options)

    return step


def measure(variant: str, model: str, seconds: float) -> Measured:
    """One variant, in this process: how many steps fit, after two that warm up."""
    torch.manual_seed(0)
    np.random.seed(0)  # the peer's masks are drawn by it
    sizes = MODELS[model]
    name, _, precision = variant.partition("-")
    with TemporaryDirectory() as workspace:
        made: dict[str, Callable[[], Callable[[], None]]] = {
            "stock": partial(peer_step, sizes, precision),
            "mmssl": partial(our_step, sizes, precision, Path(workspace)),
            **{feature: partial(features_step, feature, sizes.batch) for feature in FEATURES},
        }  # fmt: skip
        step = made[name]()
        found = timed(lambda _: step(), repeat(None), seconds)
        each = CLIP_SECONDS if name in FEATURES else sizes.seconds
        return Measured(found.steps * sizes.batch * each, found.seconds)


def summary(runs: dict[str, list[dict]]) -> dict:
    """Medians of each variant, and the ratios of mmssl to the peer: like for like."""
    rate = {name: statistics.median(part["sound"] / part["seconds"] for part in parts) for name, parts in runs.items()}
    variants = {
        name: {
            "seconds_of_sound_per_second": rate[name],
            "each_repeat": [part["sound"] / part["seconds"] for part in parts],
            "peak_bytes": statistics.median(part["peak_bytes"] for part in parts),
        }
        for name, parts in runs.items()
    }
    asked = {"fp32": ("mmssl-fp32", "stock-fp32"), "bf16": ("mmssl-bf16", "stock-bf16"), "log_mel": FEATURES[::-1]}
    there = {name: pair for name, pair in asked.items() if {*pair} <= rate.keys()}
    speed = {name: rate[ours] / rate[theirs] for name, (ours, theirs) in there.items()}
    memory = {
        name: variants[ours]["peak_bytes"] / variants[theirs]["peak_bytes"] for name, (ours, theirs) in there.items()
    }
    return {"variants": variants, "mmssl/peer": speed, "mmssl/peer, peak_bytes": memory}


def add_arguments(tasks: Any) -> None:
    """The command line of `benchmark.py audio`."""
    audio = tasks.add_parser("audio", help="wav2vec 2.0, beside Wav2Vec2ForPreTraining in a plain loop; filter banks")
    audio.add_argument("--seconds", type=float, default=15, help="each variant in each repeat")
    audio.add_argument("--repeat", type=int, default=3)
    audio.add_argument("--models", nargs="*", choices=[*MODELS], default=["small"])
    audio.add_argument("--variants", nargs="*", choices=VARIANTS, default=[*VARIANTS])
    audio.add_argument("--out", type=Path, help="file for the JSON, besides stdout")
    audio.add_argument("--variant", choices=VARIANTS, help="run this one alone, here")


def answer(options: argparse.Namespace) -> dict:
    """One variant here, or interleaved repeats of all, each in a process of its own."""
    if options.variant:
        measured = measure(options.variant, options.models[0], options.seconds)
        return measured._asdict() | {"peak_bytes": peak_bytes()}
    report: dict = {"models": {}, "device": str(accelerator_or_cpu())}
    for model in options.models:
        runs = interleaved("audio", model, options.variants, options.repeat, "--seconds", str(options.seconds))
        report["models"][model] = {"sizes": MODELS[model]._asdict(), **summary(runs)}
    return report
