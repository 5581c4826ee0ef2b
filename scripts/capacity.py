"""How much may z of a JEPA tell? The sweep of its capacity, for each of the four ways in which it is limited.

usage: python scripts/capacity.py OUT [--steps 1500] [--at-once 2] [--only LIMIT ...]

Runs of scripts/uncertainty.py's row of each limit, with more and less room for z. Writes docs/results/capacity.json
and .png; `python scripts/tables.py write` makes the table. A run that was stopped goes on, a finished one is left as it
is.
"""

import json
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from side_by_side import finished, parser_of, run_and_collect
from tables import RESULTS, recorded
from uncertainty import arguments

from mmssl.report.figures import GREY, STYLES

SWEEP: dict[str, dict[str, list[str]]] = {  # limit -> what it allows, in the order of room -> what it changes
    "noise": {f"{weight:g}": [f"method.limit_weight={weight:g}"] for weight in (1e-1, 1e-2, 2e-3, 5e-4, 1e-4, 1e-5)},
    "dimension": {str(width): [f"method.latent_width={width}"] for width in (1, 2, 4, 8, 32)},
    "sparsity": {f"{weight:g}": [f"method.limit_weight={weight:g}"] for weight in (1e-2, 1e-3, 1e-4, 1e-5)},
    "codes": {str(count): [f"method.num_codes={count}"] for count in (1, 2, 4, 8, 32, 128)},
}
KEYS = {
    "uncertainty.auroc": "AUROC of possible completions", "uncertainty.coverage": "coverage of 16 samples",
    "uncertainty.precision": "precision", "energy.auroc": "AUROC against other pictures",
}  # fmt: skip
PANEL_INCHES = (3.4, 2.8)


def wanted_of(limits: list[str], out: Path, steps: int) -> dict[str, list[str]]:
    """The runs by their names, with what `mmssl pretrain` is told."""
    return {
        f"jepa_with_latent-{limit}-{name}": [*arguments(f"jepa_with_latent: {limit}", out, steps), *options]
        for limit in limits
        for name, options in SWEEP[limit].items()
    }


def curve(limit: str, runs: dict[str, dict]) -> list[dict]:
    """The figures of a limit's runs by the bits that z uses."""
    found = [figures for name, figures in runs.items() if name.startswith(f"jepa_with_latent-{limit}-")]
    return sorted(found, key=lambda figures: figures["uncertainty.bits"])


def panel(axes: Axes, limit: str, points: list[dict]) -> None:
    """What is measured against the bits of z; the grey line is what the hidden half holds."""
    bits = [figures["uncertainty.bits"] for figures in points]
    for (key, name), style in zip(KEYS.items(), STYLES, strict=False):
        axes.plot(bits, [figures[key] for figures in points], label=name, markersize=4, **style)
    if points:
        axes.axvline(points[0]["uncertainty.true_bits"], color=GREY, linewidth=1)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set(title=limit, xlabel="bits of z", ylim=(-0.03, 1.03), xlim=(0, None))


def draw(runs: dict[str, dict]) -> Path:
    """A panel for each limit."""
    figure = Figure(figsize=(len(SWEEP) * PANEL_INCHES[0], PANEL_INCHES[1] + 0.4), layout="constrained")
    for axes, limit in zip(figure.subplots(1, len(SWEEP), sharey=True), SWEEP, strict=True):
        panel(axes, limit, curve(limit, runs))
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(KEYS), frameon=False
    )
    figure.savefig(path := RESULTS / "capacity.png", dpi=110, metadata={"Software": None})
    return path


def main() -> None:
    """All runs, some side by side."""
    parser = parser_of(__doc__, SWEEP)
    parser.add_argument("--steps", type=int, default=1500)
    asked = parser.parse_args()
    run_and_collect("capacity", asked.out, wanted_of(asked.only, asked.out, asked.steps), asked.at_once)
    drawn = draw(recorded("capacity"))
    print(json.dumps({"runs": len(finished(asked.out)), "drawn": str(drawn)}))


if __name__ == "__main__":
    main()
