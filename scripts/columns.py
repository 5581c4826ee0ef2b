"""What the tables of README.md and docs/ show: heading, key of evaluation.json and format of each column."""

from video_columns import Columns

WORDS: Columns = (
    ("cross-entropy", "text.cross_entropy", "{:.2f}"),
    ("accuracy", "text.accuracy", "{:.1%}"),
    ("energy AUROC", "energy.auroc", "{:.3f}"),
    ("calibration error", "text.calibration_error", "{:.3f}"),
    ("kNN", "knn.accuracy", "{:.1%}"),
    ("probe", "probe.accuracy", "{:.1%}"),
)
VIEWS: Columns = (
    ("energy AUROC", "energy.auroc", "{:.3f}"),
    ("gap", "energy.gap", "{:.2f}"),
    ("time reversed", "energy.ladder.time_reversed", "{:.3f}"),
    ("sound shifted", "energy.ladder.sound_shifted", "{:.3f}"),
    ("collapse", "collapse.verdict", "{}"),
    ("rank", "collapse.effective_rank", "{:.1f}"),
    ("deviation", "collapse.std", "{:.2f}"),
    ("kNN", "knn.accuracy", "{:.1%}"),
    ("probe", "probe.accuracy", "{:.1%}"),
    ("picture to sound R@1", "retrieval.video_to_audio.r1", "{:.0%}"),
    ("sound to picture R@1", "retrieval.audio_to_video.r1", "{:.0%}"),
    ("PSNR", "video.psnr", "{:.1f}"),
    ("best of 16", "video.best_of.16.psnr", "{:.1f}"),
    ("coverage", "uncertainty.coverage", "{:.0%}"),
)
SHORT = tuple(
    column
    for column in VIEWS
    if column[0] in ("energy AUROC", "collapse", "kNN", "probe", "picture to sound R@1", "best of 16", "coverage")
)
SETS = ("savanna", "folder")
VIEWS_OF_PICTURES = (
    "siamese", "simclr", "npid", "pirl", "moco", "moco_v2", "moco_v3", "deepcluster", "deepercluster", "clusterfit",
    "deepcluster_v2", "swav", "seer", "byol", "simsiam", "dino", "barlow_twins", "w_mse", "vicreg", "lejepa",
)  # fmt: skip
PICTURES = (
    *VIEWS_OF_PICTURES, "mae",
    "denoising_autoencoder", "simmim", "beit", "ijepa", "data2vec", "vae", "conditional_vae", "vqvae", "sparse_coding",
    "gan", "diffusion", "latent_diffusion", "jepa_with_latent",
)  # fmt: skip
LEADERBOARD: Columns = (
    ("kNN", "knn.accuracy", "{:.1%}"),
    ("probe", "probe.accuracy", "{:.1%}"),
    ("energy AUROC", "energy.auroc", "{:.3f}"),
    ("same class", "energy.ladder.same_class", "{:.3f}"),
    ("patches shuffled", "energy.ladder.patches_shuffled", "{:.3f}"),
    ("noise", "energy.ladder.noise", "{:.3f}"),
    ("gap", "energy.gap", "{:.2f}"),
    ("other view R@1", "retrieval.image_to_image.r1", "{:.0%}"),
    ("rank", "collapse.effective_rank", "{:.1f}"),
    ("rank compared", "collapse.compared.effective_rank", "{:.1f}"),
    ("alpha-ReQ", "collapse.alpha_req", "{:.2f}"),
    ("LiDAR", "collapse.lidar", "{:.1f}"),
    ("samples seen", "samples_seen", "{:,.0f}"),
    ("samples/s", "samples_per_second", "{:.0f}"),
    ("memory GB", "peak_memory_bytes", "{:.2f}"),
)
UNCERTAINTY: Columns = (
    ("coverage", "uncertainty.coverage", "{:.0%}"),
    ("precision", "uncertainty.precision", "{:.0%}"),
    ("total variation", "uncertainty.total_variation", "{:.2f}"),
    ("distance", "uncertainty.distance", "{:.2f}"),
    ("possible AUROC", "uncertainty.auroc", "{:.3f}"),
    ("bits of z", "uncertainty.bits", "{:.2f}"),
    ("z", "latent.verdict", "{}"),
    ("energy AUROC", "energy.auroc", "{:.3f}"),
    ("collapse", "collapse.verdict", "{}"),
    ("samples seen", "samples_seen", "{:,.0f}"),
)
TEXT = ("bert", "roberta", "xlm_roberta", "modernbert", "collobert_weston", "text_denoising")

OPTIMIZERS: Columns = (  # of scripts/optimizers.py: held-out losses after the same time
    ("random weights", "random.loss", "{:.4g}"),
    ("AdamW", "adamw.loss", "{:.4g}"),
    ("samples", "adamw.samples_seen", "{:,.0f}"),
    ("Muon", "muon.loss", "{:.4g}"),
    ("samples", "muon.samples_seen", "{:,.0f}"),
    ("Muon was there after", "muon.seconds_to_adamw", "{:.0f} s"),
    ("of", "adamw.seconds", "{:.0f} s"),
    ("times as fast", "times_as_fast", "{:.1f}"),
    ("learning rate", "learning_rate", "{:g}"),
)
