"""Charts as inline SVG: drawn by matplotlib, readable in grey, the same bytes for the same numbers."""

import io
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, RULE = "#1c1c1c", "#666666", "#dddddd"
BLUE, VERMILLION = "#0072b2", "#d55e00"
WIDE, SMALL = (460, 225), (270, 160)  # in CSS pixels at full size
MAX_POINTS = 400  # of one curve; more are averaged
MAX_LABEL = 18  # characters of a label inside a chart
LABEL_HEIGHT = 15.5  # CSS pixels of a line of text
BARS_HEIGHT = 38  # CSS pixels of two bars
AXES_SHARE = 0.78  # of the height of a chart, about

# Okabe & Ito 2008: told apart by all common forms of colour vision; the dashes tell them apart in grey.
STYLES: list[dict[str, Any]] = [
    {"color": BLUE, "linestyle": "-", "marker": "o"},
    {"color": VERMILLION, "linestyle": (0, (5, 2)), "marker": "s"},
    {"color": "#009e73", "linestyle": (0, (1, 1.4)), "marker": "^"},
    {"color": "#cc79a7", "linestyle": (0, (6, 2, 1, 2)), "marker": "D"},
    {"color": "#e69f00", "linestyle": (0, (3, 1)), "marker": "v"},
    {"color": "#56b4e9", "linestyle": (0, (8, 2, 1, 2, 1, 2)), "marker": "P"},
    {"color": "#000000", "linestyle": (0, (1, 3)), "marker": "X"},
]

THEME: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of runs and terms are plain text
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "lines.linewidth": 1.7,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
}


def style(index: int) -> dict[str, Any]:
    """How the line of this number is drawn: after the first seven the colours come again with other dashes."""
    turn = index // len(STYLES)
    return {**STYLES[(index + turn) % len(STYLES)], "color": STYLES[index % len(STYLES)]["color"]}


class Bar(NamedTuple):
    """A measure in [0, 1] of a trained model and, where it was measured, of random weights."""

    label: str
    trained: float
    random: float | None


class Curve(NamedTuple):
    """One line of a chart; `measured` marks each point, for values that are measured seldom."""

    label: str
    x: list[float]
    y: list[float]
    measured: bool = False


def curves(
    lines: Sequence[Curve],
    x_label: str,
    title: str,
    size: tuple[int, int] = SMALL,
    level: tuple[str, float] | None = None,
) -> "Markup":
    """Curves over steps or samples, each named at its end; `level` is a named horizontal line, such as a floor."""
    import matplotlib

    with matplotlib.rc_context(THEME):
        height = max(size[1], round(LABEL_HEIGHT * (len(lines) + 1) / AXES_SHARE))  # room for all names
        figure, (axes,) = _figure((size[0], height))
        styles = [style(index) for index in range(len(lines))]
        for line, drawn in zip(lines, styles):
            x, y = thinned(line.x, line.y)
            is_marked = (line.measured and len(x) <= 40) or len(x) == 1
            shown: dict[str, Any] = drawn if is_marked else {**drawn, "marker": ""}
            axes.plot(x, y, markersize=4, **shown)
        ends = [(line.label, line.y[-1], drawn | {"marker": ""}) for line, drawn in zip(lines, styles)]
        if level is not None:
            ruled = {"color": INK, "linestyle": (0, (2, 2)), "linewidth": 1.0}
            axes.axhline(level[1], **ruled)
            ends.append((level[0], level[1], ruled))
        values = [value for line in lines for value in line.y] + [end[1] for end in ends]
        _ticks(axes, x_label, is_log=is_wide(values))
        if len(ends) > 1:
            _label_ends(axes, ends, height)
        return _svg(figure, f"{title}. {'; '.join(_described(line) for line in lines)}")


def histogram(edges: list[Any], compatible: list[Any], incompatible: list[Any], title: str) -> "Markup":
    """Share of compatible and of incompatible pairs at each energy; `edges` are one more than the counts."""
    import matplotlib

    with matplotlib.rc_context(THEME):
        figure, (axes,) = _figure(WIDE)
        kinds = [
            ("compatible", compatible, BLUE, "-", "////"),
            ("incompatible", incompatible, VERMILLION, "--", "\\\\\\\\"),
        ]
        for label, counts, colour, linestyle, hatch in kinds:
            shares = [count / max(sum(counts), 1) for count in counts]
            outline = {"edgecolor": colour, "linestyle": linestyle, "linewidth": 1.6}
            axes.stairs(shares, edges, fill=True, facecolor="none", hatch=hatch, label=label, **outline)
        _ticks(axes, "energy")
        axes.set_ylabel("share of pairs")
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0, borderaxespad=0.4, handlelength=2.2)
        return _svg(figure, title)


def bars(rows: Sequence[Bar], level: tuple[str, float], x_label: str, title: str) -> "Markup":
    """A bar for each measure, that of random weights below it, and a named level such as chance."""
    import matplotlib

    theme: dict[Any, Any] = {**THEME, "axes.grid.axis": "x"}
    with matplotlib.rc_context(theme):
        figure, (axes,) = _figure((WIDE[0], max(WIDE[1], BARS_HEIGHT * len(rows) + 70)))
        at = list(range(len(rows)))
        axes.barh([y - 0.2 for y in at], [row.trained for row in rows], 0.38, color=BLUE, label="trained")
        random = [(y + 0.2, row.random) for y, row in enumerate(rows) if row.random is not None]
        if random:
            hatched = {"facecolor": "none", "edgecolor": GREY, "hatch": "////", "linewidth": 0.8}
            axes.barh([y for y, _ in random], [value for _, value in random], 0.38, label="random weights", **hatched)
        for y, value in [(y - 0.2, row.trained) for y, row in enumerate(rows)] + random:
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # the level's line ends at a number
            axes.text(max(value, 0) + 0.01, y, f"{value:.3f}", va="center", fontsize=9, bbox=paper)
        axes.axvline(level[1], color=INK, linestyle=(0, (4, 3)), linewidth=1.1, label=level[0])
        axes.set(xlim=(0, 1.12), xlabel=x_label, yticks=at, xticks=[0, 0.25, 0.5, 0.75, 1])
        axes.set_yticklabels([shortened(row.label, 2 * MAX_LABEL) for row in rows], color=INK)
        axes.invert_yaxis()
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0, borderaxespad=0.4, columnspacing=1.2)
        numbers = "; ".join(f"{row.label}: {row.trained:.3f}" for row in rows)
        return _svg(figure, f"{title}. {numbers}; {level[0]}: {level[1]:g}")


def reliability(accuracy: list[Any], confidence: list[Any], count: list[Any], title: str) -> "Markup":
    """Accuracy in each bin of confidence against the diagonal of a calibrated model, and how full the bins are."""
    import matplotlib

    bins = [(index, float(accuracy[index]), float(confidence[index])) for index, n in enumerate(count) if n > 0]
    with matplotlib.rc_context(THEME):
        figure, (upper, lower) = _figure(WIDE, rows=(3.4, 1))
        width = 1 / len(count)
        centres = [(index + 0.5) * width for index, _, _ in bins]
        upper.bar(
            centres, [right for _, right, _ in bins], width * 0.92, facecolor=BLUE + "33", edgecolor=BLUE, linewidth=0.8
        )
        upper.plot([sure for _, _, sure in bins], [right for _, right, _ in bins], "o", color=BLUE, markersize=4)
        upper.plot([0, 1], [0, 1], color=INK, linestyle=(0, (4, 3)), linewidth=1.1)
        upper.text(0.02, 0.93, "dashed: calibrated", transform=upper.transAxes, va="top", color=GREY)
        upper.set(ylim=(0, 1.02), yticks=[0, 0.5, 1], ylabel="accuracy")
        upper.tick_params(labelbottom=False, bottom=False)

        shares = [count[index] / sum(count) for index, _, _ in bins]
        lower.bar(centres, shares, width * 0.92, facecolor="#bbbbbb", edgecolor=GREY, linewidth=0.8)
        lower.set(xlim=(0, 1), xlabel="confidence", yticks=[0, max(shares)], ylabel="share")
        lower.set_yticklabels(["0", f"{max(shares):.0%}"])
        return _svg(figure, title)


def thinned(x: list[float], y: list[float]) -> tuple[list[float], list[float]]:
    """At most MAX_POINTS points: means of equally many neighbours."""
    width = -(-len(x) // MAX_POINTS)
    if width <= 1:
        return x, y
    parts = [slice(start, start + width) for start in range(0, len(x), width)]
    return [sum(x[part]) / len(x[part]) for part in parts], [sum(y[part]) / len(y[part]) for part in parts]


def is_wide(values: Sequence[int | float]) -> bool:
    """Whether the lower values need a logarithmic scale to be seen; not so where they fall to zero, as a rate does."""
    return min(values) > 0 and 4 * min(values) < max(values) < 200 * min(values)


def compact(value: int | float, _position: int | None = None) -> str:
    """A tick's number in few characters: 0.0005, 2,500, 40k, 1.2M."""
    for least, unit, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:.3g}{suffix}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _figure(size: tuple[int, int], rows: Sequence[int | float] = (1,)) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")  # the SVG has 72 units to the inch
    axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=rows, squeeze=False)
    return figure, list(axes[:, 0])


def _ticks(axes: "Axes", x_label: str, is_log: bool = False) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes.set_xlabel(x_label)
    axes.margins(x=0.015, y=0.08)
    if is_log:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5), numticks=8) if is_log else MaxNLocator(nbins=4))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(compact))


def _label_ends(axes: "Axes", ends: list[tuple[str, float, dict[str, Any]]], height: int) -> None:
    """Writes each line's name, after a sample of its dashes, beside its end; names are pushed apart to be readable."""
    from matplotlib.lines import Line2D

    gap = LABEL_HEIGHT / (height * AXES_SHARE)  # in heights of the axes
    inside = axes.transData + axes.transAxes.inverted()
    ends = sorted(ends, key=lambda end: end[1])
    heights: list[float] = []
    for _, value, _ in ends:
        at = float(inside.transform((1.0, value))[1])
        heights.append(max(at, heights[-1] + gap if heights else 0.0))
    ceiling = max(1.0, gap * (len(ends) - 1))
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - gap
    for (label, _, style), at in zip(ends, heights):
        axes.add_artist(Line2D([1.02, 1.1], [at, at], transform=axes.transAxes, clip_on=False, **style))
        axes.text(1.12, at, shortened(label), transform=axes.transAxes, va="center")


def shortened(label: str, most: int = MAX_LABEL) -> str:
    """A label that leaves room for the chart and that can be encoded."""
    label = label.encode(errors="replace").decode()
    return label if len(label) <= most else label[: most - 1] + "…"


def _described(line: Curve) -> str:
    return f"{line.label}: from {compact(line.y[0])} to {compact(line.y[-1])}, lowest {compact(min(line.y))}"


def _svg(figure: "Figure", description: str) -> "Markup":
    """The figure as an element of a page: no prolog, no dates, no names of elements that could occur twice."""
    import matplotlib
    from markupsafe import Markup

    description = description.encode(errors="replace").decode()
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": description}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser's fonts draw the text, not matplotlib's
        figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    drawing = re.sub(r"<!--.*?-->\s*", "", buffer.getvalue(), flags=re.DOTALL)
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    width, height = (round(float(length) * 72) for length in figure.get_size_inches())
    start = Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">').format(description, width, height)
    return start + Markup(drawing[drawing.index(">", drawing.index("<svg")) + 1 :])
