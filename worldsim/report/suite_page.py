"""The page of a suite: its table, its curves, a sentence per axis, film strips and links to the reports of its runs. Computes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.table import Table

from worldsim.report.comparison_page import cells
from worldsim.report.environment import environment
from worldsim.report.plots import Plot
from worldsim.report.worst import RULE, Worst


def suite_page(
    name: str,
    about: str,
    table: Table,
    plot: Plot | None,
    lines: Mapping[str, str],
    meanings: Mapping[str, str],
    links: Mapping[str, Path],
    worst: Mapping[str, Worst],
) -> str:
    """HTML that needs nothing but what lies beside it.

    Args:
        name: of the suite.
        about: what it asks.
        table: a line per case, as on the terminal.
        plot: the curves, where it has axes.
        lines: how far the ranking can be trusted, by axis.
        meanings: what each axis is.
        links: a case's report, relative to the page.
        worst: episodes of each case that end otherwise than in truth.
    """
    shown: dict[str, Any] = {"name": name, "about": about, "table": cells(table), "plot": plot, "worst": worst, "rule": RULE}
    axes = [{"name": axis, "meaning": meanings[axis], "line": line} for axis, line in lines.items()]
    addresses = {case: quote(path.as_posix()) for case, path in links.items()}
    return environment({"address": quote}).get_template("suite.html").render(**shown, axes=axes, links=addresses)
