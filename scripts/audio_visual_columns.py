"""What the tables of docs/results/audio_visual.md show: heading, key of evaluation.json and format of each column."""

from video_columns import Columns

SOURCES = ("savanna", "pairs")  # of the runs of scripts/audio_visual.py: ROW-SOURCE
WAYS = (("picture to sound", "video_to_audio"), ("sound to picture", "audio_to_video"))
CAPTIONED = tuple(pair for name in ("image", "audio", "video") for pair in (("text", name), (name, "text")))
RETRIEVED: Columns = (
    *((f"{name} R@{k}", f"retrieval.{way}.r{k}", "{:.0%}") for name, way in WAYS for k in (1, 5, 10)),
    *((f"{name}, other kinds R@1", f"retrieval.{way}.distinct.r1", "{:.0%}") for name, way in WAYS),
    *(
        (f"{x} to {y} R@1".replace("text", "words"), f"retrieval.{x}_to_{y}.r1", "{:.0%}")
        for x, y in (*CAPTIONED, ("image", "audio"), ("audio", "image"))
    ),
    ("candidates", "retrieval.candidates", "{:.0f}"),
    ("of other kinds", "retrieval.distinct_candidates", "{:.0f}"),
    *(
        (f"{name}, {title}", f"energy.{way}.ladder.{kind}", "{:.3f}")
        for name, way in WAYS
        for title, kind in (("other clip", "other"), ("other class", "other_class"), ("shifted", "shifted"))
    ),
    ("sync AUROC", "sync.auroc", "{:.3f}"),
    ("with another picture", "sync.chance_auroc", "{:.3f}"),
    ("offset error, s", "sync.offset_seconds", "{:.2f}"),
)
FEATURES: Columns = (
    ("kNN", "knn.accuracy", "{:.1%}"),
    ("probe", "probe.accuracy", "{:.1%}"),
    *(
        (f"{kind} of {name}", f"{name}.{kind}.accuracy", "{:.1%}")
        for name in ("video", "audio")
        for kind in ("knn", "probe")
    ),
    *(
        (f"{kind} without {name}", f"absent.{name}.{kind}.accuracy", "{:.1%}")
        for name in ("video", "audio")
        for kind in ("knn", "probe")
    ),
    ("collapse", "collapse.verdict", "{}"),
    ("of which", "collapse.modalities", "{}"),
    *((f"rank of {name}", f"{name}.collapse.effective_rank", "{:.1f}") for name in ("video", "audio")),
    ("bits of z", "latent.bits", "{:.2f}"),
    ("samples seen", "samples_seen", "{:,.0f}"),
)  # fmt: skip
FEW_ACROSS: Columns = tuple(
    column
    for column in (*RETRIEVED, *FEATURES)
    if column[0] in ("picture to sound R@1", "sound to picture R@1", "sync AUROC", "kNN", "probe", "collapse")
)
