"""What the counts say of each policy's true rate: Beta(1 + k, 1 + n - k), the posterior from a uniform prior, simulated and real."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.stats import beta

from worldsim.report.figures.rows import Estimate, Row
from worldsim.report.figures.style import ACCENT, INK, MUTED, RATES, SECOND, plainly, plot, shown

GRID = np.linspace(0, 1, 161)
HALF = 0.42  # height of half a violin, where the distance of two policies is 1
TALL, LEAST = 0.46, 1.4  # inches per policy, and in all


def posteriors(rows: Sequence[Row]) -> Figure:
    """Split violins, the first row on top: simulated above each line, real below; a dot at the median, a bar over the middle 95 %.

    Sides whose counts are not known stay empty. The letters of each policy stand at the right.
    """
    figure, axes = plot(4.7, LEAST + TALL * len(rows))
    for place, row in enumerate(rows):
        for estimate, color, side in ((row.simulated, ACCENT, -1), (row.real, SECOND, 1)):
            if estimate and estimate.counted:
                _half(axes, place, estimate, color, side)
        plainly([axes.text(1.07, place, row.letters, fontsize=9.5, color=INK, va="center")])
    axes.set_yticks(range(len(rows)), [shown(row.name) for row in rows])
    plainly(axes.get_yticklabels())
    axes.set(xlim=RATES, ylim=(len(rows) - 0.4, -0.6), xlabel="success rate")
    axes.grid(visible=False, axis="y")
    if any(row.letters for row in rows):
        axes.text(1.07, -0.6, "letters", fontsize=8.5, color=MUTED, va="bottom")
    sides = [Patch(color=ACCENT, alpha=0.75, label="simulated"), Patch(color=SECOND, alpha=0.75, label="real")]
    drawn = sides if any(row.real and row.real.counted for row in rows) else sides[:1]
    figure.legend(handles=drawn, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def _half(axes: Any, place: float, estimate: Estimate, color: str, side: int) -> None:
    """One half of a violin, below (1) or above (-1) the line of its policy."""
    posterior = beta(1 + estimate.successes, 1 + estimate.trials - estimate.successes)
    density = posterior.pdf(GRID)
    edge = place + side * (0.03 + HALF * density / density.max())
    drawn = density > density.max() / 1000
    axes.fill_between(GRID[drawn], place + side * 0.03, edge[drawn], color=color, alpha=0.75, linewidth=0)
    low, middle, high = posterior.ppf([0.025, 0.5, 0.975])
    axes.plot([low, high], [place + side * 0.1] * 2, color=INK, linewidth=1)
    axes.plot([middle], [place + side * 0.1], "o", color=INK, markersize=3)
