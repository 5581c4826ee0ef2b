"""How near predicted frames are to the true ones, and samples of them as a distribution; all pixels lie in [0, 1]."""

from typing import NamedTuple

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

CEILING = 100.0  # dB of a prediction that is the truth: its squared error counts as 1e-10
WINDOW = 11  # pixels of SSIM's window: a smaller picture has none
AT_ONCE = 64  # frames whose SSIM is computed together


class Quality(NamedTuple):
    """Of S predictions of a clip's M hidden frames."""

    psnr: Float[Tensor, " S"]  # dB, of all frames together
    psnr_per_frame: Float[Tensor, "S M"]
    ssim: Float[Tensor, " S"] | None  # mean over frames; None where a frame is smaller than SSIM's window
    ssim_per_frame: Float[Tensor, "S M"] | None


def decibels(squared_error: Float[Tensor, "*A"]) -> Float[Tensor, "*A"]:
    """Peak signal-to-noise ratio of a mean squared error, at most 100 dB."""
    return -10 * squared_error.double().clamp(min=10 ** (-CEILING / 10)).log10()


def quality(predictions: Float[Tensor, "S M C H W"], truth: Float[Tensor, "M C H W"]) -> Quality:
    """PSNR, and SSIM with a Gaussian window of 11 pixels and deviation 1.5 (Wang et al. 2004, doi:10.1109/
    TIP.2003.819861, as torchmetrics computes it).
    """
    error = reduce((predictions - truth).square().double(), "s m c h w -> s m", "mean")
    similarity = None if min(truth.shape[-2:]) < WINDOW else structural_similarity(predictions, truth)
    mean = None if similarity is None else similarity.mean(1)
    return Quality(decibels(error.mean(1)), decibels(error), mean, similarity)


def structural_similarity(
    predictions: Float[Tensor, "S M C H W"], truth: Float[Tensor, "M C H W"]
) -> Float[Tensor, "S M"]:
    """SSIM of each frame."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # seconds

    frames = rearrange(predictions, "s m c h w -> (s m) c h w")
    answers = truth.expand_as(predictions).flatten(0, 1)
    found = []
    for pair in zip(frames.split(AT_ONCE), answers.split(AT_ONCE), strict=True):
        one = structural_similarity_index_measure(*pair, data_range=1.0, reduction="none")
        assert isinstance(one, Tensor)
        found.append(one.reshape(len(pair[0])))
    return rearrange(torch.cat(found).double(), "(s m) -> s m", m=len(truth))


def apart(samples: Float[Tensor, "S D"]) -> Float[Tensor, "S S"]:
    """The root-mean-square distance of each two samples."""
    return torch.cdist(samples.double(), samples.double()) / samples.shape[1] ** 0.5


def diversity(samples: Float[Tensor, "S D"]) -> float:
    """The mean distance of two different samples, an unbiased estimate of that of two draws; 0 of one sample."""
    return float(apart(samples).sum()) / max(len(samples) * (len(samples) - 1), 1)


def energy_score(samples: Float[Tensor, "S D"], truth: Float[Tensor, " D"]) -> float:
    """E|X - y| - E|X - X'| / 2 for independent draws X, X' of the model (Gneiting & Raftery 2007,
    doi:10.1198/016214506000001437, eq. 22 with beta = 1), estimated without bias from S > 1 samples; |.| is the root-
    mean-square over pixels.

    A proper score: its mean is lowest for the model that draws from the truth. One sample stands for a model that
    always says the same, so its second part is 0.
    """
    distance = (samples.double() - truth.double()).square().mean(1).sqrt()
    return float(distance.mean()) - 0.5 * diversity(samples)


def crps(samples: Float[Tensor, "S D"], truth: Float[Tensor, " D"]) -> float:
    """The same of each pixel alone, mean over pixels: the continuous ranked probability score (eq. 21), which does not
    see whether pixels go together.

    The sum over pairs is that of sorted values, the k-th of S counted 2k - S - 1 times.
    """
    count = len(samples)
    error = (samples - truth).abs().double().mean()
    weight = 2 * torch.arange(1, count + 1, dtype=torch.float64) - count - 1
    pairs = (samples.sort(0).values.double() * weight[:, None]).sum(0).mean()
    return float(error - pairs / max(count * (count - 1), 1))


def of_distribution(
    values: Float[Tensor, "K D"], probability: Float[Tensor, " K"], truth: Float[Tensor, " D"]
) -> tuple[float, float]:
    """Energy score and diversity (of two independent draws) of a distribution over a few values."""
    distance = (values.double() - truth.double()).square().mean(1).sqrt()
    probability = probability.double()
    spread = float(probability @ apart(values) @ probability)
    return float(probability @ distance) - 0.5 * spread, spread
