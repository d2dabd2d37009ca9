"""Whether a judge's score means what it says: the share of true successes among the episodes that it scored alike."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from worldsim.report.figures.style import INK, POINTS, arms, plot, unit_square


def reliability_curve(block: Mapping[str, Any]) -> Figure:
    """One point per bin of a calibration, with its interval and its number of episodes, and the line of honest probabilities."""
    figure, axes = plot(4.2, 4.0)
    unit_square(axes, "score of the judge", "share that is a true success")
    for each in block["bins"]:
        x, y = each["mean_score"], each["share_true"]
        axes.errorbar([x], [y], yerr=arms(y, each["interval"]), **POINTS)
        left = x > 0.5
        offset, side = ((-7, 0), "right") if left else ((7, 0), "left")
        axes.annotate(str(each["cases"]), (x, y), xytext=offset, textcoords="offset points", fontsize=8.5, color=INK, ha=side, va="center")
    return figure
