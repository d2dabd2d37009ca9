"""What more real trials would buy, real rates with the run's help, and published simulators, as tables. Computes nothing."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from worldsim.report.printable import plain
from worldsim.report.tables import number, span


def more_trials_table(block: Mapping[str, Any]) -> Table:
    """What more real trials of each policy would buy, beside what there is."""
    upper, lower = block["pair"]
    table = Table(title="What more real trials would buy", box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False)
    table.add_column("more each")
    for heading in ("width of these two", "told apart", "width of all", "neighbours told apart"):
        table.add_column(heading, justify="right")
    for step in block["steps"]:
        table.add_row(
            f"+{step['more']}" if step["more"] else "now",
            number(step["pair_width"]),
            f"{step['pair_chance']:.0%}",
            number(step["ranking_width"]),
            f"{number(step['ranking_separated'], 1)} of {block['neighbours']}",
        )
    table.caption = plain(
        f"These two: {upper} and {lower}, the closest real rates. Expected width of the Wilson intervals, and how often Barnard's test at "
        f"0.05 (not corrected) tells neighbours apart, over what new trials may show (posterior predictive, uniform priors).\n"
        f"{block['advice']}"
    )
    return table


def powered_table(block: Mapping[str, Any], level: float) -> Table:
    """The real rate of each policy with the imagined episodes' help, beside the plain one."""
    table = Table(title="Real rates with the run's help", box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False)
    table.add_column("policy", overflow="fold")
    for heading in ("pairs", "extra", "real", f"{level:.0%} interval", "powered", f"{level:.0%} interval", "weight", "phi", "trials saved"):
        table.add_column(heading, justify="right")
    for each in block["policies"]:
        table.add_row(
            plain(each["name"]),
            str(each["pairs"]),
            str(each["extra"]),
            number(each["plain"]),
            plain(span(each["plain_interval"], 2)),
            number(each["powered"]),
            plain(span(each["powered_interval"], 2)),
            number(each["weight"], 2),
            number(each["phi"], 2),
            number(each["trials_saved"], 1),
        )
    table.caption = plain(f"{block['method']}\n{block['advice']}")
    return table


def published_table(comparison: Mapping[str, Any]) -> Table:
    """What the simulators that were published with the real rates reach over the same policies."""
    table = Table(title="Published simulators", box=box.SIMPLE_HEAD)
    for heading in ("setting", "Pearson r", "MMRV"):
        table.add_column(heading, justify="left" if heading == "setting" else "right")
    for setting, found in comparison["published"].items():
        table.add_row(setting, number(found["pearson"]), number(found["mmrv"]))
    return table
