"""Methods whose encoder reads all of a picture or spectrogram, noisy or masked, and answers in input space or in
codes.
"""

from typing import Any, Literal

from mmssl.augment import DEVIATION, MEAN
from mmssl.corruption import Corruption
from mmssl.energy import absolute_error, cross_entropy, squared_error
from mmssl.errors import ConfigError
from mmssl.methods.hiding import Mask, Ratio, hiding
from mmssl.methods.pixels import Count, Positive, only
from mmssl.modalities.grids import Cut
from mmssl.models.mask import MaskPatch, zeros
from mmssl.models.predictor import TokenHead
from mmssl.models.target import Codes
from mmssl.models.transformer import TransformerEncoder
from mmssl.noise import gaussian_noise, masking_noise, salt_and_pepper_noise, signal_to_noise
from mmssl.objectives import Objective, Predictive, SampledCodes, Stream
from mmssl.objectives.predictive import Energy, Fill
from mmssl.pretrained import tokenizer_of_run
from mmssl.sections import Text
from mmssl.tokens import in_place

Noise = Literal["masking", "gaussian", "salt_and_pepper"]
SoundNoise = Literal["masking", "gaussian", "snr"]
Decibels = tuple[float, float]
LOWEST, HIGHEST = (0 - MEAN) / DEVIATION, (1 - MEAN) / DEVIATION  # of a normalised picture's numbers


def whole_stream(cut: Cut, width: int, corrupt: Corruption, energy: Energy, fill: Fill, answer_width: int) -> Stream:
    """Samples of which an encoder of this width reads all places, answered by one linear layer from each embedding."""
    return Stream(
        tokenize=cut.tokenize, corrupt=corrupt, energy=energy, pairing=in_place, fill=fill,
        predictor=TokenHead(width, answer_width, cut.name),
    )  # fmt: skip


def denoised(encoder: TransformerEncoder, name: str, corrupt: Corruption) -> Predictive:
    """All numbers of a modality from noisy ones; hidden patches are 0."""
    cut = encoder.cut(name)
    stream = whole_stream(cut, encoder.width, corrupt, squared_error, zeros, cut.width)
    return Predictive(streams={name: stream}, encoder=encoder)


def denoising_autoencoder(
    encoder: Any, modalities: Any, *, noise: Noise = "masking", noise_ratio: Ratio = 0.25,
    noise_deviation: Positive = 0.3,
) -> Objective:  # fmt: skip
    """Denoising autoencoder: all of a picture from a noisy one, squared error, an affine decoder (Vincent et al. 2008,
    ICML; 2010, JMLR 11).

    `noise_ratio` of the single numbers are set to 0, a middle grey (masking), or to black or white (salt_and_pepper);
    `noise_deviation` is that of gaussian noise, where black is 0 and white 1. Hidden patches are 0: masking noise upon
    whole patches.
    """
    kinds = {
        "masking": masking_noise(noise_ratio), "gaussian": gaussian_noise(noise_deviation / DEVIATION),
        "salt_and_pepper": salt_and_pepper_noise(noise_ratio, LOWEST, HIGHEST),
    }  # fmt: skip
    return denoised(only(encoder, "image"), "image", kinds[noise])


def audio_denoising(
    encoder: Any, modalities: Any, *, noise: SoundNoise = "snr", noise_ratio: Ratio = 0.25,
    noise_deviation: Positive = 0.3, noise_decibels: Decibels = (-5.0, 20.0),
) -> Objective:  # fmt: skip
    """Denoising autoencoder on log-mel spectrograms: all of one from a noisy one, squared error, an affine decoder
    (Vincent et al. 2008, ICML; 2010, JMLR 11, here upon spectrograms).

    Normal noise of a signal-to-noise ratio drawn for each sound from `noise_decibels` (snr), or of `noise_deviation` in
    units of the spectrogram, 20 dB (gaussian), or `noise_ratio` of the single numbers set to 0, -45 dB (masking).
    Hidden patches are 0: masking noise upon whole patches.
    """
    low, high = noise_decibels
    if low > high:
        raise ConfigError(f"method.noise_decibels [{low:g}, {high:g}]: expected the lower ratio first")
    kinds = {
        "masking": masking_noise(noise_ratio), "gaussian": gaussian_noise(noise_deviation),
        "snr": signal_to_noise(low, high),
    }  # fmt: skip
    return denoised(only(encoder, "audio"), "audio", kinds[noise])


def simmim(
    encoder: Any, modalities: Any, *, mask: Mask = "random", hidden_ratio: Ratio = 0.6, unit: Count = 2
) -> Objective:
    """SimMIM: mask patches among the seen ones go through the encoder, one linear layer says the hidden pixels, L1 (Xie
    et al. 2021, arXiv:2111.09886).

    A random mask hides squares of `unit` x `unit` patches: the paper's 32 pixels are two patches of a ViT.
    """
    found = only(encoder, "image")
    width = found.cut("image").width
    corrupt = hiding(mask, hidden_ratio, unit=whole_units(found, unit))
    stream = whole_stream(found.cut("image"), found.width, corrupt, absolute_error, MaskPatch(width), width)
    return Predictive(streams={"image": stream}, encoder=found)


def whole_units(encoder: TransformerEncoder, unit: int) -> int:
    """The unit, if a picture is several whole ones; else ConfigError."""
    grid = encoder.cut("image").grid
    if any(side % unit for side in grid) or all(side == unit for side in grid):
        raise ConfigError(
            f"method.unit {unit}: a picture has {' x '.join(map(str, grid))} patches; "
            "expected a divisor of both that leaves more than one square"
        )
    return unit


def beit(
    encoder: Any, modalities: Any, *, pretrained: Text, mask: Mask = "blocks", hidden_ratio: Ratio = 0.4,
    block_ratio: Ratio = 0.1, rounds: Count = 8,
) -> Objective:  # fmt: skip
    """BEiT: a softmax over the codes of hidden patches (Bao et al. 2021, arXiv:2106.08254, eq. 2). `pretrained` is the
    folder of a `vqvae` run, whose codes they are.

    Blocks cover about `block_ratio` of a picture each (the paper's at least 16 of 196 patches). A drawn answer takes
    `rounds` passes of the encoder, one for each hidden place at most.
    """
    found = only(encoder, "image")
    cut = found.cut("image")
    tokenizer = tokenizer_of_run(pretrained, modalities, cut)
    stream = whole_stream(
        cut,
        found.width,
        hiding(mask, hidden_ratio, block_ratio),
        cross_entropy,
        MaskPatch(cut.width),
        tokenizer.num_codes,
    )
    return SampledCodes(streams={"image": stream}, encoder=found, target=Codes(tokenizer), rounds=rounds)
