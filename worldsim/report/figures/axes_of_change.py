"""Agreement over the size of a change: a row of panels per axis, a panel per measure. Draws what it is given and computes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from worldsim.report.figures.style import ACCENT, INK, MUTED, plainly, plot, shown
from worldsim.report.measures import MEASURES

LIMITS = {"pearson": (-1.02, 1.02), "mmrv": (-0.02, 1.02), "phi": (-1.02, 1.02), "bias": (-1.02, 1.02)}


def axes_of_change(axes: Mapping[str, Sequence[Any]], units: Mapping[str, str]) -> Figure:
    """Rows (`worldsim.report.suite.CaseRow`) of each axis by amount, bars are 95 % intervals, the band what a perfect simulator shows."""
    figure, grid = plot(2.7 * len(MEASURES), 2.1 * len(axes), rows=len(axes), columns=len(MEASURES))
    grid = grid.reshape(len(axes), len(MEASURES))
    for line, (name, rows) in zip(grid, axes.items(), strict=True):
        ordered = sorted(rows, key=lambda row: row.amount)
        for panel, measure in zip(line, MEASURES, strict=True):
            _band(panel, ordered, measure)
            _points(panel, ordered, measure)
            panel.set(ylim=LIMITS[measure])
            plainly([panel.set_xlabel(shown(f"{name}, {units[name]}" if units.get(name) else name), fontsize=9, color=INK)])
    for panel, label in zip(grid[0], MEASURES.values(), strict=True):
        panel.set_title(label, fontsize=10, color=INK, loc="left")
    return figure


def _band(panel: Any, rows: Sequence[Any], measure: str) -> None:
    known = [(row.amount, row.ceiling[measure]) for row in rows if measure in row.ceiling]
    if known:
        amounts, best = zip(*known, strict=True)
        panel.fill_between(amounts, [each.low for each in best], [each.high for each in best], color=MUTED, alpha=0.18, linewidth=0)


def _points(panel: Any, rows: Sequence[Any], measure: str) -> None:
    known = [(row.amount, row.measures[measure]) for row in rows if row.measures[measure].value is not None]
    if not known:
        return
    amounts, found = zip(*known, strict=True)
    values = [each.value for each in found]
    below = [max(each.value - (each.value if each.low is None else each.low), 0) for each in found]
    above = [max((each.value if each.high is None else each.high) - each.value, 0) for each in found]
    panel.errorbar(amounts, values, [below, above], color=ACCENT, ecolor=MUTED, elinewidth=1, marker="o", markersize=4, linewidth=1.4)
