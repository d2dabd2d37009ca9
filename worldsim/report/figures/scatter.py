"""Simulated against real success rate, with intervals in both directions and the line of equality."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from worldsim.report.figures.labels import label_points
from worldsim.report.figures.rows import Row
from worldsim.report.figures.style import POINTS, arms, plot, unit_square


def scatter(rows: Sequence[Row]) -> Figure:
    """One point per policy that has both rates."""
    figure, axes = plot(4.5, 4.3)
    draw_scatter(axes, rows)
    name_points(figure, axes, rows)
    return figure


def draw_scatter(axes: Any, rows: Sequence[Row]) -> None:
    """Points, bars and the line of equality on given axes; no names."""
    unit_square(axes, "real success rate", "simulated success rate")
    for row in rows:
        if row.paired:
            x, y = row.real, row.simulated
            axes.errorbar([x.rate], [y.rate], xerr=arms(x.rate, x.interval), yerr=arms(y.rate, y.interval), **POINTS)


def name_points(figure: Figure, axes: Any, rows: Sequence[Row], size: float = 8.5) -> None:
    """The names of the policies beside their points, once the limits of all axes are final."""
    both = [row for row in rows if row.paired]
    across = [(row.real.interval[0], row.simulated.rate, row.real.interval[1], row.simulated.rate) for row in both if row.real.interval]
    upright = [
        (row.real.rate, row.simulated.interval[0], row.real.rate, row.simulated.interval[1]) for row in both if row.simulated.interval
    ]
    label_points(figure, axes, [(row.name, row.real.rate, row.simulated.rate) for row in both], [*across, *upright], size)
