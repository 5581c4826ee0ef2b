"""Predicted frames of held-out clips: how near the prediction, the best of several samples and all of them are to what
really comes, beside guesses that need no model.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from mmssl.augment import normalise, to_pixels, to_unit
from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.evaluate.completion import completed, predictive
from mmssl.evaluate.frames import Quality, crps, diversity, energy_score, of_distribution, quality
from mmssl.evaluate.heldout import heldout_batches
from mmssl.evaluate.judges import clip_features, frechet, load_network, lpips
from mmssl.evaluate.media_features import embedded
from mmssl.evaluate.worlds import futures_of
from mmssl.inputs import Inputs
from mmssl.modalities.media_data import Reader
from mmssl.objectives import Objective

CLIPS = 64  # held-out clips, at most
BEST_OF = (1, 5, 20, 100)  # samples, of which evaluate.futures are drawn at most
PORTION = 10  # samples that a model draws together
KEPT_BYTES = 200_000_000  # of the samples of the clips that are looked at together
Lists = dict[str, list[Tensor]]


class Clips(NamedTuple):
    """Some held-out clips and what a model says of them; frames as bytes, on the CPU."""

    whole: UInt8[Tensor, "B L 3 H W"]
    hidden: Bool[Tensor, " L"]  # which frames are
    likely: UInt8[Tensor, "B L 3 H W"]  # predicted without noise
    samples: UInt8[Tensor, "S B M 3 H W"]  # of the hidden frames
    has_latent: bool  # else the one sample is all that the model can say


def future_results(
    objective: Objective, inputs: Inputs, config: Config, heldout: Reader, judge: nn.Module | None = None
) -> dict[str, Any]:
    """The `video.*` keys of a model that is trained to predict frames: means over clips.

    `video.psnr` and `video.ssim` are of one prediction (without noise), `best_of.K` of the nearest of K samples;
    `copy_last` is the nearest seen frame, `mean_of_samples` the mean of all samples, `mean_of_futures` that of
    all that could have come, where the world knows. `video.frechet` compares clips whose hidden frames are the first
    sample with the true ones in the features of `judge` (by default the objective's encoder).
    """
    seen, part = config.method.arguments().get("seen_frames"), predictive(objective)
    if not seen or part is None or "video" not in part.answered:  # a mask shows no frame whole
        return {}
    judge = (objective.encoder if judge is None else judge).eval()
    networks = user_networks(config, next(objective.parameters()).device)
    values: Lists = {}
    sets: Lists = {}  # features of true and of sampled clips, by their names
    for batch in batches_of(heldout, inputs, config, part):
        found = predicted(part, inputs(batch), config.evaluate.futures)
        if found is None:
            return {}
        for row, index in enumerate(batch.draw.index.tolist()):
            noted(values, of_clip(found, row, index, config, networks))
        noted(sets, sets_of(found, batch, judge, networks))
    results: dict[str, Any] = {key: torch.stack(parts).mean(0).tolist() for key, parts in values.items()}
    for name in ("frechet", "fvd"):
        true, sampled = (torch.cat(sets.get(f"{name}.{kind}", [torch.empty(0, 1)])) for kind in ("true", "sampled"))
        results |= {f"video.{name}": frechet(true, sampled)} if len(true) > 1 else {}
    return results


def batches_of(heldout: Reader, inputs: Inputs, config: Config, part: Objective) -> Iterator[Batch]:
    """Few clips at a time where they or the number of samples are large."""
    length, size = config.video.frames, config.video.size
    of_a_clip = 3 * length * size**2 * (config.evaluate.futures if part.has_latent else 1)
    at_once = max(1, min(16, KEPT_BYTES // of_a_clip))
    device = next(part.parameters()).device
    return heldout_batches(heldout, config.seed, min(CLIPS, config.evaluate.documents), device, at_once)


def predicted(part: Objective, given: Batch, count: int) -> Clips | None:
    """What a model says of clips, its samples drawn a portion at a time; None where it is no picture."""
    one = completed(part, given, samples=0).get("video")
    if one is None:
        return None
    hidden = one.is_hidden[0].flatten(1).all(1).cpu()
    samples = []
    for first in range(0, count if part.has_latent else 1, PORTION):
        more = completed(part, given, samples=min(PORTION, count - first), first=first)["video"].samples
        samples += [to_pixels(sample[:, hidden]).cpu() for sample in more]
    return Clips(
        to_pixels(one.original).cpu(), hidden, to_pixels(one.samples[0]).cpu(), torch.stack(samples), part.has_latent
    )


def of_clip(
    found: Clips, row: int, index: int, config: Config, networks: dict[str, Any]
) -> dict[str, Float[Tensor, "..."]]:
    """What is said of one clip, by the keys of evaluation.json; numbers, and lists over its hidden frames."""
    whole, hidden = unit(found.whole[row]), found.hidden
    truth, samples, likely = whole[hidden], unit(found.samples[:, row]), unit(found.likely[row][hidden])
    guesses = {"": likely, "copy_last.": nearest_seen(whole, hidden), "mean_of_samples.": samples.mean(0)}
    results: dict[str, Any] = {}
    flat, answer = rearrange(samples, "s m c h w -> s (m c h w)"), truth.flatten()
    if len(samples) > 1 or not found.has_latent:
        results |= {"video.energy_score": energy_score(flat, answer), "video.crps": crps(flat, answer)}
        results |= {"video.diversity": diversity(flat)}
    is_future = not hidden[: int((~hidden).sum())].any()
    known = futures_of(index, config, int((~hidden).sum())) if is_future else None
    if known is not None:
        possible, share = unit(torch.from_numpy(known.video)), torch.from_numpy(known.probability).float()
        guesses["mean_of_futures."] = torch.einsum("k,kmchw->mchw", share, possible)
        score, spread = of_distribution(rearrange(possible, "k m c h w -> k (m c h w)"), share, answer)
        results |= {"video.energy_score.of_the_truth": score, "video.diversity.of_the_truth": spread}
    for name, guess in guesses.items():
        results |= of_best(f"video.{name}", quality(guess[None], truth), 1)
    each = quality(samples, truth)
    for count in sorted({*BEST_OF, config.evaluate.futures}):
        if count <= config.evaluate.futures:
            results |= of_best(f"video.best_of.{count}.", each, count)
    if "lpips" in networks:
        device = networks["device"]
        distance = lpips(networks["lpips"], likely.to(device), truth.to(device))
        results |= {"video.lpips": distance.mean(), "video.lpips_per_frame": distance}
    return {key: torch.as_tensor(value, dtype=torch.float64) for key, value in results.items()}


def unit(pixels: UInt8[Tensor, "*B 3 H W"]) -> Float[Tensor, "*B 3 H W"]:
    """Bytes as numbers in [0, 1]."""
    return pixels.float() / 255


def nearest_seen(whole: Float[Tensor, "L 3 H W"], hidden: Bool[Tensor, " L"]) -> Float[Tensor, "M 3 H W"]:
    """The seen frame that is next to each hidden one: the last one before a future, the first one after a past."""
    numbers = torch.arange(len(hidden))
    away = (numbers[hidden][:, None] - numbers[~hidden]).abs()
    return whole[numbers[~hidden][away.argmin(1)]]


def of_best(prefix: str, found: Quality, count: int) -> dict[str, Float[Tensor, "..."]]:
    """PSNR and SSIM of the nearest of the first predictions, each by its own measure, and of each of its frames."""
    best = int(found.psnr[:count].argmax())
    results = {f"{prefix}psnr": found.psnr[best], f"{prefix}psnr_per_frame": found.psnr_per_frame[best]}
    if found.ssim is not None and found.ssim_per_frame is not None:
        best = int(found.ssim[:count].argmax())
        results |= {f"{prefix}ssim": found.ssim[best], f"{prefix}ssim_per_frame": found.ssim_per_frame[best]}
    return results


def noted(values: Lists, found: dict[str, Tensor]) -> None:
    """Each value behind those of its key."""
    for key, value in found.items():
        values.setdefault(key, []).append(value)


def user_networks(config: Config, device: torch.device) -> dict[str, Any]:
    """The networks that the user supplies, and the device they are on."""
    paths = {"lpips": config.evaluate.lpips_weights, "fvd": config.evaluate.fvd_weights}
    found = {name: load_network(path, f"evaluate.{name}_weights", device) for name, path in paths.items() if path}
    return {**found, "device": device}


@torch.no_grad()
def sets_of(found: Clips, batch: Batch, judge: nn.Module, networks: dict[str, Any]) -> dict[str, Float[Tensor, "B D"]]:
    """Features of the true clips and of those whose hidden frames are the first sample."""
    sampled = found.whole.clone()
    sampled[:, found.hidden] = found.samples[0]
    features = {}
    for kind, clips in (("true", found.whole), ("sampled", sampled)):
        pixels = clips.to(batch.draw.index.device)
        given = Batch({"video": [normalise(to_unit(pixels))]}, batch.draw)
        features[f"frechet.{kind}"] = embedded(judge, given, "video").double().cpu()
        if "fvd" in networks:
            features[f"fvd.{kind}"] = clip_features(networks["fvd"], to_unit(pixels))
    return features
