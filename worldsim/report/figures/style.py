"""The look that all plots share: colours, axes, error bars, and names made fit to be drawn. Knows no data."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from worldsim.report.printable import printable

INK, MUTED, ACCENT, SECOND, GRID = "#22303c", "#667482", "#2a6f97", "#b5651d", "#e8ecef"
DASHED = (0, (4, 3))
LONGEST = 28  # characters of a name that are drawn
POINTS = {"color": ACCENT, "ecolor": MUTED, "elinewidth": 1, "markersize": 6, "fmt": "o"}
RATES = (-0.04, 1.04)


def plot(width: float, height: float, *, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of so many inches and its axes: one, or an array `[rows, columns]` of them."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(MUTED)
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=INK, labelsize=9)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set(size=10, color=INK)
    return figure, grid if rows * columns > 1 else grid[0, 0]


def unit_square(axes: Any, xlabel: str, ylabel: str) -> None:
    """Rates against rates: both from 0 to 1, with the line of equality."""
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=DASHED, zorder=0)
    axes.set(xlim=RATES, ylim=RATES, xlabel=xlabel, ylabel=ylabel, aspect="equal")


def arms(value: float, interval: Sequence[float] | None) -> list[list[float]] | None:
    """Lengths of the error bar below and above, `[[below], [above]]`; None without an interval."""
    return None if interval is None else [[max(value - interval[0], 0.0)], [max(interval[1] - value, 0.0)]]


def shown(name: str) -> str:
    """A name as it is drawn: what does not print spelled out, and cut where it is long."""
    text = printable(name)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def plainly(texts: Any) -> None:
    """Take text objects literally: a name with dollar signs is no formula."""
    for text in texts:
        text.set_parse_math(False)
