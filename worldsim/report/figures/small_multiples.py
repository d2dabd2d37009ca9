"""One small scatter per task on the same axes, since rates of several tasks pooled in one plot would mix difficulty into r."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from worldsim import statistics
from worldsim.report.figures.rows import Row
from worldsim.report.figures.scatter import draw_scatter, name_points
from worldsim.report.figures.style import INK, plainly, plot, shown

COLUMNS = 3


def small_multiples(tasks: Mapping[str, Sequence[Row]]) -> Figure:
    """A panel per task, in the order given, with r and MMRV above it.

    Args:
        tasks: the policies of each task; at least one task. Those without both rates are left out.
    """
    columns = min(COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    figure, grid = plot(3.3 * columns, 3.5 * lines, rows=lines, columns=columns)
    panels = list(grid.flat) if len(tasks) > 1 else [grid]
    for place, (axes, (task, rows)) in enumerate(zip(panels, tasks.items(), strict=False)):
        draw_scatter(axes, rows)
        axes.set(xlabel=axes.get_xlabel() if place + columns >= len(tasks) else "", ylabel="" if place % columns else axes.get_ylabel())
        plainly([axes.set_title(f"{shown(task)}\n{_measures(rows)}", fontsize=9.5, color=INK, loc="left")])
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    for axes, rows in zip(panels, tasks.values(), strict=False):
        name_points(figure, axes, rows, size=7.5)
    return figure


def _measures(rows: Sequence[Row]) -> str:
    both = [row for row in rows if row.paired]
    if len(both) < 2:
        return f"n = {len(both)}"
    sides = {"simulated": [row.simulated.rate for row in both], "real": [row.real.rate for row in both]}
    r, mmrv = statistics.pearson(**sides), statistics.mmrv(**sides, tie_rule="strict_gt", gap="real")
    return f"r = {r:.3f}, MMRV = {mmrv:.3f}, n = {len(both)}"
