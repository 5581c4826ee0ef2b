"""Several futures: do samples of a model cover those that can happen, and nothing else?

The built-in world lists every continuation of a clip with its probability, so samples are compared with the truth.
"""

from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mmssl.augment import to_pixels
from mmssl.config import Config
from mmssl.evaluate.completion import completed, predictive
from mmssl.evaluate.heldout import heldout_batches
from mmssl.inputs import Inputs
from mmssl.modalities.media_data import Reader
from mmssl.objectives import Objective
from mmssl.random import hashed

SAMPLES = 16  # futures drawn of each clip
CLIPS = 32  # held-out clips, at most
NEAR = 0.2  # of the squared distance to the nearest other future: the mean of two lies at 0.25, so it is neither


class Scored(NamedTuple):
    """What is said of the samples of one clip."""

    coverage: float  # share of the futures that a sample shows
    precision: float  # share of the samples that show a future
    total_variation: float  # between the samples' frequencies and the true probabilities


def nearness(
    samples: Float[Tensor, "S D"], futures: Float[Tensor, "K D"]
) -> tuple[Int[Tensor, " S"], Float[Tensor, " S"]]:
    """The future nearest to each sample, and the squared distance to it as a share of that future's to its nearest
    other one; only pixels in which the futures differ are compared.
    """
    differs = (futures != futures[:1]).any(0)
    samples, futures = samples[:, differs].double(), futures[:, differs].double()
    apart = torch.cdist(futures, futures).square().fill_diagonal_(torch.inf).min(1).values
    distance = torch.cdist(samples, futures).square()
    nearest = distance.argmin(1)
    return nearest, distance.gather(1, nearest[:, None])[:, 0] / apart[nearest]


def matched(
    samples: Float[Tensor, "S D"], futures: Float[Tensor, "K D"], mean: Float[Tensor, " D"] | None = None
) -> Int[Tensor, " S"]:
    """The future that each sample shows, -1 where none: the nearest one if the share of `nearness` is below NEAR, and
    if the sample is nearer to it than to a mean of all, where one is given.
    """
    nearest, share = nearness(samples, futures)
    is_shown = share < NEAR
    if mean is not None:
        own, others = (samples.double() - futures[nearest].double()).square(), (samples - mean).double().square()
        is_shown &= own.sum(1) < others.sum(1)
    return torch.where(is_shown, nearest, -1)


def scored(
    samples: Float[Tensor, "S D"], futures: Float[Tensor, "K D"], probability: Float[Tensor, " K"],
    mean: Float[Tensor, " D"] | None = None,
) -> Scored:  # fmt: skip
    """Coverage, precision and calibration of the samples of one clip whose futures are K > 1 different ones.

    The samples that show no future are a kind of their own, of true probability 0.
    """
    shown = matched(samples, futures, mean)
    count = torch.bincount(shown + 1, minlength=len(futures) + 1).double()
    truth = torch.cat([torch.zeros(1, dtype=torch.float64), probability.double()])
    variation = 0.5 * (count / len(samples) - truth).abs().sum()
    return Scored(float((count[1:] > 0).double().mean()), float(1 - count[0] / len(samples)), float(variation))


def psnr(prediction: Float[Tensor, "*A"], truth: Float[Tensor, "*A"]) -> float:
    """Peak signal-to-noise ratio in dB of pixels in [0, 1]."""
    return float(-10 * (prediction.double() - truth.double()).square().mean().clamp(min=1e-10).log10())


def expected_coverage(probability: Float[Tensor, " K"], samples: int) -> float:
    """The coverage that draws from the truth itself reach on average."""
    return float((1 - (1 - probability.double()) ** samples).mean())


def future_results(objective: Objective, inputs: Inputs, config: Config, heldout: Reader) -> dict[str, Any]:
    """The `video.*` and, where the world knows all futures, `uncertainty.*` keys of a model that continues clips.

    `video.psnr` is of one prediction (without noise), `best_of.16` of the nearest of 16, `copy_last` of the last seen
    frame repeated; means over clips, over the hidden frames.
    """
    seen = config.method.arguments().get("seen_frames")
    part = predictive(objective)
    if not isinstance(seen, int) or part is None or "video" not in part.answered:
        return {}
    if config.method.arguments().get("predicts", "future") != "future":  # frames before or between those seen
        return {}
    device = next(objective.parameters()).device
    values: dict[str, list[float]] = {}
    for batch in heldout_batches(heldout, config.seed, min(CLIPS, config.evaluate.documents), device):
        given = inputs(batch)
        one = completed(part, given, samples=SAMPLES)["video"]
        mean = completed(part, given, samples=0)["video"]
        truth, guesses, likely = (
            to_pixels(torch.stack(clips))[:, :, seen:].float().cpu() / 255
            for clips in ([one.original], one.samples, mean.samples)
        )
        for row, index in enumerate(batch.draw.index.tolist()):
            best = max(psnr(guess[row], truth[0, row]) for guess in guesses)
            last = to_pixels(one.original[row, seen - 1]).float().cpu() / 255
            found = {
                "video.psnr": psnr(likely[0, row], truth[0, row]),
                f"video.best_of.{SAMPLES}.psnr": best,
                "video.copy_last.psnr": psnr(last.expand_as(truth[0, row]), truth[0, row]),
            }
            if is_of_world(config, "savanna"):
                found |= of_world(guesses[:, row], config, index, seen)
            for key, value in found.items():
                values.setdefault(key, []).append(value)
    return {key: sum(found) / len(found) for key, found in values.items()}


def is_of_world(config: Config, world: str) -> bool:
    """Whether the held-out samples are a built-in world's own: a ratio of them, not another source."""
    return config.data.source == world and isinstance(config.data.heldout, float)


def of_world(samples: Float[Tensor, "S L 3 H W"], config: Config, index: int, seen: int) -> dict[str, float]:
    """How the samples of a held-out clip of the built-in world stand to all that could have happened; nothing where
    only one thing could.
    """
    from mmssl.savanna import futures

    clip, seconds = config.video, config.data.seconds
    known = futures(hashed(config.seed, "heldout"), index, clip.size, clip.frames, seen, seconds)
    if len(known.probability) < 2:
        return {}
    video = rearrange(torch.from_numpy(known.video).float() / 255, "k l c h w -> k (l c h w)")
    probability = torch.from_numpy(known.probability).float()
    found = scored(rearrange(samples, "s l c h w -> s (l c h w)"), video, probability)
    return {
        "uncertainty.coverage": found.coverage,
        "uncertainty.precision": found.precision,
        "uncertainty.total_variation": found.total_variation,
        "uncertainty.coverage_of_the_truth": expected_coverage(probability, SAMPLES),
        "uncertainty.futures": float(len(probability)),
    }
