"""Pictures for a report: plots as matplotlib Figures made without pyplot, and film strips as arrays. Knows nothing of HTML or of runs."""

from worldsim.report.figures.axes_of_change import axes_of_change
from worldsim.report.figures.bland_altman import bland_altman, limits_of_agreement
from worldsim.report.figures.drawing import pdf_of, png_of, svg_of
from worldsim.report.figures.films import enlarge, film_strip, side_by_side, stride
from worldsim.report.figures.horizon import horizon
from worldsim.report.figures.posteriors import posteriors
from worldsim.report.figures.reliability import reliability_curve
from worldsim.report.figures.rows import Estimate, Row
from worldsim.report.figures.scatter import scatter
from worldsim.report.figures.small_multiples import small_multiples
from worldsim.report.figures.style import ACCENT, INK, MUTED, SECOND

__all__ = [
    "ACCENT",
    "INK",
    "MUTED",
    "SECOND",
    "Estimate",
    "Row",
    "axes_of_change",
    "bland_altman",
    "enlarge",
    "film_strip",
    "horizon",
    "limits_of_agreement",
    "pdf_of",
    "png_of",
    "posteriors",
    "reliability_curve",
    "scatter",
    "side_by_side",
    "small_multiples",
    "stride",
    "svg_of",
]
