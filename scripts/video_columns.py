"""What the tables of docs/results/video.md show: heading, key of evaluation.json and format of each column."""

Columns = tuple[tuple[str, str, str], ...]  # heading, key, format
REAL = {"clips": 2.0, "gestures": 1.5}  # folders of videos: the seconds of a clip
LABELLED = ("clips",)
SOURCES = ("savanna", "digits", *REAL)  # of the runs of scripts/video.py: METHOD-SOURCE
VIDEO: Columns = (
    ("coverage", "uncertainty.coverage", "{:.0%}"),
    ("precision", "uncertainty.precision", "{:.0%}"),
    ("total variation", "uncertainty.total_variation", "{:.2f}"),
    ("distance", "uncertainty.distance", "{:.2f}"),
    ("bits of z", "uncertainty.bits", "{:.2f}"),
    ("z", "latent.verdict", "{}"),
    ("energy score", "video.energy_score", "{:.4f}"),
    ("of the truth", "video.energy_score.of_the_truth", "{:.4f}"),
    ("CRPS", "video.crps", "{:.4f}"),
    ("diversity", "video.diversity", "{:.3f}"),
    ("of the truth", "video.diversity.of_the_truth", "{:.3f}"),
    ("Fréchet", "video.frechet", "{:.2f}"),
    ("true first of 16", "video.rank1", "{:.0%}"),
    ("energy AUROC", "energy.auroc", "{:.3f}"),
    ("kNN", "knn.accuracy", "{:.1%}"),
    ("probe", "probe.accuracy", "{:.1%}"),
    ("collapse", "collapse.verdict", "{}"),
    ("frames", "collapse.temporal_verdict", "{}"),
    ("samples seen", "samples_seen", "{:,.0f}"),
)
FEW_OF_VIDEO = tuple(
    column
    for column in VIDEO
    if column[0] in ("coverage", "precision", "energy score", "true first of 16", "energy AUROC", "kNN", "probe")
)
FRAMES: Columns = (
    ("PSNR", "video.psnr", "{:.2f}"),
    ("mean of samples", "video.mean_of_samples.psnr", "{:.2f}"),
    *((f"best of {count}", f"video.best_of.{count}.psnr", "{:.2f}") for count in (1, 5, 20, 100)),
    ("last frame", "video.copy_last.psnr", "{:.2f}"),
    ("mean of futures", "video.mean_of_futures.psnr", "{:.2f}"),
    ("SSIM", "video.ssim", "{:.3f}"),
    ("mean of samples", "video.mean_of_samples.ssim", "{:.3f}"),
    *((f"best of {count}", f"video.best_of.{count}.ssim", "{:.3f}") for count in (1, 5, 20, 100)),
    ("last frame", "video.copy_last.ssim", "{:.3f}"),
    ("mean of futures", "video.mean_of_futures.ssim", "{:.3f}"),
)

LADDER: Columns = (  # how often a clip's own continuation has less energy than a wrong one
    *(
        (name.replace("_", " "), f"energy.ladder.{name}", "{:.3f}")
        for name in ("other", "same_class", "elsewhere", "time_reversed", "frames_shuffled", "time_shifted")
    ),
    ("true first of 16 clips", "video.rank1.other", "{:.0%}"),
)


def of_source(runs: dict[str, dict], source: str) -> dict[str, dict]:
    """The runs that are named METHOD-SOURCE, by what stands before the source."""
    return {name.removesuffix(f"-{source}"): found for name, found in runs.items() if name.endswith(f"-{source}")}


def filled(runs: dict[str, dict], columns: Columns) -> Columns:
    """The columns that a run fills."""
    return tuple(column for column in columns if any(column[1] in found for found in runs.values()))
