"""The plots that a run's numbers allow, each inside the page as SVG and beside it as PDF and PNG. Knows results.json and no HTML page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.data.files import written_whole
from worldsim.report import figures

FOLDER = "figures"
CAPTIONS = {
    "scatter": "Simulated against real success rate. Bars are Wilson intervals; on the dashed line both worlds agree.",
    "bland-altman": "Difference of the rates against their mean, with the bias and the limits of agreement: what r does not show.",
    "posteriors": "What the counts say of each policy's rate: Beta(1 + k, 1 + n - k), median and middle 95 %, letters at the right.",
    "reliability": "Of the episodes with about this score, this share is a true success; bars are Wilson intervals, numbers are episodes.",
    "horizon": "Recorded actions replayed: picture quality by imagined step, against copying the last real frame; bands: 95 % intervals.",
}


@dataclass(frozen=True)
class Plot:
    """A plot for the page: its `<svg>`, what it shows in words, and its files beside the page by form."""

    svg: str
    caption: str
    files: Mapping[str, str]


def write_plots(results: Mapping[str, Any], report: Path) -> dict[str, Plot]:
    """Draw what the results allow and write report/figures/NAME.pdf and .png; by name."""
    return {name: write_plot(name, figure, CAPTIONS[name], report) for name, figure in _drawn(results).items()}


def rows_of(results: Mapping[str, Any]) -> list[figures.Row]:
    """The policies of results.json as the plots take them."""
    return [
        figures.Row(each["name"], figures.Estimate.of(each), figures.Estimate.of(each["real"]), each["letters"] or "")
        for each in results["policies"]
    ]


def _drawn(results: Mapping[str, Any]) -> dict[str, Any]:
    rows = rows_of(results)
    drawn = {"scatter": figures.scatter(rows), "bland-altman": figures.bland_altman(rows)} if results["agreement"] else {}
    drawn |= {"posteriors": figures.posteriors(rows)} if any(row.simulated or row.real for row in rows) else {}
    drawn |= {"reliability": figures.reliability_curve(results["calibration"])} if results["calibration"] else {}
    return drawn | ({"horizon": figures.horizon(results["open_loop"])} if results["open_loop"] else {})


def write_plot(name: str, figure: Any, caption: str, report: Path) -> Plot:
    """One figure for a page in `report`: its SVG, and its files in figures/."""
    files = {"PDF": f"{FOLDER}/{name}.pdf", "PNG": f"{FOLDER}/{name}.png"}
    for form, content in (("PDF", figures.pdf_of(figure)), ("PNG", figures.png_of(figure))):
        with written_whole(report / files[form]) as aside:
            aside.write_bytes(content)
    return Plot(figures.svg_of(figure, name, caption), caption, files)
