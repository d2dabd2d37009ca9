"""Difference of the rates against their mean, after Bland and Altman (Lancet 1986): a bias and a trend that r does not show."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from worldsim.report.figures.labels import label_points
from worldsim.report.figures.rows import Row
from worldsim.report.figures.style import ACCENT, DASHED, INK, MUTED, RATES, SECOND, plot

SPREAD = 1.96  # standard deviations on each side of the bias that hold 95 % of normal differences


def limits_of_agreement(rows: Sequence[Row]) -> tuple[float, float, float] | None:
    """Mean of simulated - real, and the limits 1.96 standard deviations (n - 1) below and above; None for fewer than two policies."""
    differences = [row.simulated.rate - row.real.rate for row in rows if row.paired]
    if len(differences) < 2:
        return None
    bias, spread = float(np.mean(differences)), SPREAD * float(np.std(differences, ddof=1))
    return bias, bias - spread, bias + spread


def bland_altman(rows: Sequence[Row]) -> Figure:
    """One point per policy that has both rates; lines at no difference, at the bias, and at the limits of agreement."""
    both = [row for row in rows if row.paired]
    points = [(row.name, (row.simulated.rate + row.real.rate) / 2, row.simulated.rate - row.real.rate) for row in both]
    figure, axes = plot(4.8, 3.5)
    axes.axhline(0, color=MUTED, linewidth=1)
    limits = limits_of_agreement(rows)
    for value, label, color in zip(limits or (), ("bias", "-1.96 sd", "+1.96 sd"), (SECOND, MUTED, MUTED), strict=False):
        axes.axhline(value, color=color, linewidth=1.2, linestyle=DASHED)
        axes.text(1.05, value, f" {label}\n {value:+.3f}", fontsize=8.5, color=INK, va="center")
    axes.plot([x for _, x, _ in points], [y for *_, y in points], "o", color=ACCENT, markersize=6)
    reach = 1.25 * max([0.1, *(abs(y) for *_, y in points), *(abs(value) for value in limits or ())])
    axes.set(xlim=RATES, ylim=(-reach, reach), xlabel="mean of simulated and real rate", ylabel="simulated - real")
    label_points(figure, axes, points)
    return figure
