"""What the keys of evaluation.json are called, which value is the better one, and in which order they are read."""

import re
from typing import NamedTuple

HIGHER, LOWER = 1, -1  # which of two values is the better one; 0 where neither is

# In the order of the table; `{}` stands for what the key says there. Keys that are not here follow, by their own names.
GROUPS: dict[str, dict[str, str]] = {
    "Words": {
        "text.cross_entropy": "Masked cross-entropy, nats",
        "text.floor": "Known floor of the cross-entropy, nats",
        "text.perplexity": "Perplexity",
        "text.accuracy": "Accuracy on hidden tokens",
        "text.calibration_error": "Expected calibration error",
    },
    "Energies": {
        "energy.auroc": "Energy AUROC",
        "energy.gap": "Energy gap, in standard deviations of compatible pairs",
        "energy.ladder.{}": "Energy AUROC, negatives: {}",
        "energy.{}_to_{}.auroc": "{} → {}, energy AUROC",
        "energy.{}_to_{}.gap": "{} → {}, energy gap",
        "energy.{}_to_{}.ladder.{}": "{} → {}, energy AUROC, negatives: {}",
    },
    "Predicted frames": {
        "video.psnr": "PSNR of one prediction, dB",
        "video.best_of.{}.psnr": "PSNR of the best of {} predictions, dB",
        "video.copy_last.psnr": "PSNR of the last seen frame repeated, dB",
        "video.mean_of_samples.psnr": "PSNR of the mean of all samples, dB",
        "video.mean_of_futures.psnr": "PSNR of the mean of all possible futures, dB",
        "video.ssim": "SSIM of one prediction",
        "video.best_of.{}.ssim": "SSIM of the best of {} predictions",
        "video.copy_last.ssim": "SSIM of the last seen frame repeated",
        "video.mean_of_samples.ssim": "SSIM of the mean of all samples",
        "video.mean_of_futures.ssim": "SSIM of the mean of all possible futures",
        "video.energy_score": "Energy score of the samples",
        "video.energy_score.of_the_truth": "Energy score of all possible futures",
        "video.crps": "CRPS of the samples, mean over pixels",
        "video.diversity": "Mean distance between two samples",
        "video.diversity.of_the_truth": "Mean distance between two possible futures",
        "video.frechet": "Fréchet distance in the run's own encoder",
        "video.lpips": "LPIPS of one prediction, by the user's network",
        "video.fvd": "FVD, by the user's network",
        "video.rank1": "True continuation has the lowest energy of 16, chance 0.0625",
        "video.rank1.other": "True continuation has the lowest energy of 16 clips, chance 0.0625",
    },
    "Several futures": {
        "uncertainty.coverage": "Futures covered by the samples",
        "uncertainty.coverage_error": "Standard error of the futures covered",
        "uncertainty.coverage_of_the_truth": "Futures covered by as many draws from the truth",
        "uncertainty.precision": "Samples that show a possible future",
        "uncertainty.total_variation": "Total variation from the true probabilities",
        "uncertainty.total_variation_of_the_truth": "Total variation of as many draws from the truth",
        "uncertainty.distance": "Squared distance to the nearest possible one, 1 = as far as another is from that",
        "uncertainty.auroc": "Energy AUROC, possible against impossible completions",
        "uncertainty.bits": "Information in the latent, bits",
        "uncertainty.true_bits": "Information that is hidden, bits",
        "uncertainty.futures": "Possible futures of a clip",
        "uncertainty.modes": "Possible completions of a picture",
    },
    "Latent variable": {
        "latent.verdict": "Verdict on the latent variable",
        "latent.bits": "What the latent tells of a sample, bits",
        "latent.active_units": "Active units of the latent",
        "latent.units": "Units of the latent",
        "latent.perplexity": "Codes in use (perplexity)",
        "latent.prior_gap": "Posteriors of all samples from the prior, nats a unit",
    },
    "Codes": {
        "codes.perplexity": "Codes of the codebooks in use (perplexity)",
        "codes.entries": "Codes of a codebook",
    },
    "Retrieval": {
        "retrieval.candidates": "Candidates to choose from",
        "retrieval.distinct_candidates": "Candidates of other kinds to choose from, mean",
        "retrieval.{}_to_{}.distinct.r{}": "{} → {}, R@{} among other kinds",
        "retrieval.{}_to_{}.r{}": "{} → {}, R@{}",
    },
    "Synchrony": {
        "sync.auroc": "Synchrony AUROC, the true sound against itself at other times",
        "sync.chance_auroc": "Synchrony AUROC by another clip's picture",
        "sync.offset_seconds": "Error of the offset, s",
        "sync.chance_offset_seconds": "Error of an offset by chance, s",
        "sync.offset_accuracy": "Offset found to one step",
        "sync.chance_offset_accuracy": "Offset found to one step by chance",
        "sync.clips": "Clips with a sound",
        "sync.rolled_ratio": "Share of the moved sounds that begin again at their end",
    },
    "Labels": {
        "knn.accuracy": "kNN accuracy",
        "probe.accuracy": "Linear probe accuracy",
        "finetune.accuracy": "Fine-tuning accuracy",
        "absent.{}.knn.accuracy": "kNN accuracy, without {}",
        "absent.{}.probe.accuracy": "Linear probe accuracy, without {}",
        "logmel.knn.accuracy": "kNN accuracy of log-mel statistics",
        "logmel.probe.accuracy": "Linear probe accuracy of log-mel statistics",
        "labelled.majority_accuracy": "Accuracy of guessing the most frequent class",
        "labelled.classes": "Classes",
        "labelled.train": "Labelled samples for training",
        "labelled.test": "Labelled samples for testing",
    },
    "Collapse": {
        "collapse.verdict": "Collapse verdict",
        "collapse.modalities": "Modalities that are not healthy",
        "collapse.effective_rank": "Effective rank",
        "collapse.reachable_rank": "Effective rank that can be reached",
        "collapse.std": "Standard deviation of embeddings, 1 = isotropic",
        "collapse.temporal_verdict": "Verdict on the frames of a clip",
        "collapse.temporal_rank": "Effective rank of the frames of a clip",
        "collapse.temporal_reachable_rank": "Effective rank that frames can reach",
        "collapse.temporal_share": "Share of the variance that lies within clips",
        "collapse.batch_std": "Standard deviation within a training batch, 1 = isotropic",
        "collapse.mean_ratio": "Error of a view predicted by the other, 1 = of the mean predicted",
        "collapse.alpha_req": "Slope of the eigenspectrum (α-ReQ)",
        "collapse.lidar": "Effective rank of what the views of a sample share (LiDAR)",
        "collapse.alignment": "Squared distance of two views of a sample, 2 = unrelated",
        "collapse.uniformity": "Uniformity, 0 = all equal, -4 = spread evenly",
        "collapse.compared.verdict": "Collapse verdict, where the energy compares",
        "collapse.compared.effective_rank": "Effective rank, where the energy compares",
        "collapse.compared.reachable_rank": "Effective rank that can be reached, where the energy compares",
        "collapse.compared.std": "Standard deviation, where the energy compares, 1 = isotropic",
    },
    "Training": {
        "samples_seen": "Samples seen",
        "seconds": "Training time",
        "encoder.parameters": "Parameters of the encoder",
        "packing.efficiency": "Share of the tokens that are not padding",
        "data.missing.{}": "Training samples without {}",
    },
}
NAMES: dict[str, str] = {key: name for group in GROUPS.values() for key, name in group.items()}
PLACES: dict[str, tuple[int, int]] = {
    key: (number, place) for number, group in enumerate(GROUPS.values()) for place, key in enumerate(group)
}
OTHER = "Other measures"
PATTERNS = {key: re.compile(re.escape(key).replace(r"\{\}", "(.+)")) for key in NAMES if "{}" in key}
BEST: dict[str, int] = {
    **dict.fromkeys(("auroc", "gap", "accuracy", "coverage", "precision", "psnr", "ssim", "rank1", "other"), HIGHER),
    **dict.fromkeys(("r1", "r5", "r10"), HIGHER),
    **dict.fromkeys(("cross_entropy", "perplexity", "calibration_error", "total_variation"), LOWER),
    **dict.fromkeys(("offset_seconds",), LOWER),
    "offset_accuracy": HIGHER,
    **dict.fromkeys(("energy_score", "crps", "frechet", "lpips", "fvd"), LOWER),
}
# Of the data, not of a model: the same whatever was trained, so no row of random weights, and none is the better one.
OF_DATA = {
    *("encoder.parameters", "collapse.reachable_rank", "collapse.compared.reachable_rank"),
    *("collapse.temporal_reachable_rank", "codes.entries", "logmel.knn.accuracy", "logmel.probe.accuracy"),
    *("video.copy_last.psnr", "video.copy_last.ssim", "video.mean_of_futures.psnr", "video.mean_of_futures.ssim"),
    *("video.energy_score.of_the_truth", "video.diversity.of_the_truth"),
    *("uncertainty.coverage_of_the_truth", "uncertainty.total_variation_of_the_truth", "text.floor"),
    *("uncertainty.futures", "uncertainty.modes", "uncertainty.true_bits"),
    *("sync.chance_auroc", "sync.chance_offset_seconds", "sync.chance_offset_accuracy", "sync.clips"),
    *("sync.rolled_ratio", "retrieval.candidates", "retrieval.distinct_candidates"),
    *("labelled.majority_accuracy", "labelled.classes", "labelled.train", "labelled.test"),
}


class Measure(NamedTuple):
    """A key of evaluation.json taken apart: `key` is one of NAMES with `values` for its `{}`, else as it stands.

    `part` is the modality or the part of the objective that was measured alone, "" for the whole model.
    """

    key: str
    values: tuple[str, ...]
    part: str
    is_baseline: bool  # of random weights

    @property
    def name(self) -> str:
        """As it is read."""
        values = [value.replace("_", " ") for value in self.values]
        name = NAMES[self.key].format(*values) if self.key in NAMES else self.key
        name = name[0].upper() + name[1:] if values else name
        return f"{name} ({self.part})" if self.part else name

    @property
    def group(self) -> str:
        """The heading it stands under."""
        return list(GROUPS)[PLACES[self.key][0]] if self.key in PLACES else OTHER

    @property
    def direction(self) -> int:
        """HIGHER, LOWER or 0."""
        if self.key in OF_DATA:
            return 0
        last = self.key.format(*self.values) if self.key in PATTERNS else self.key
        return HIGHER if self.key.endswith("ladder.{}") else BEST.get(last.rpartition(".")[2], 0)

    @property
    def order(self) -> tuple[int, str, int, list[tuple[bool, int, str]], bool]:
        """Its place in the table: the whole model before its parts, a baseline after what it is the baseline of."""
        group, place = PLACES.get(self.key, (len(GROUPS), 0))
        values = " ".join(self.values) if self.key in PATTERNS else self.key
        return group, self.part, place, numbered(values), self.is_baseline


def measure(key: str) -> Measure:
    """A key taken apart: `random_init.`, a part such as `audio.` or `contrast.`, and what was measured."""
    trained = key.removeprefix("random_init.")
    part, _, rest = trained.partition(".")
    for name, whole in (("", trained), (part, rest)):
        if whole in NAMES and whole not in PATTERNS:
            return Measure(whole, (), name, trained != key)
        for pattern, expression in PATTERNS.items():
            if (match := expression.fullmatch(whole)) is not None:
                return Measure(pattern, match.groups(), name, trained != key)
    return Measure(trained, (), "", trained != key)


def numbered(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts sample-2 before sample-10."""
    parts = re.split(r"([0-9]+)", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() and len(part) < 20 else 0, part) for part in parts]
