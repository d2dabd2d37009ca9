"""The tables of a comparison in the order they are read. Knows only the form that `build_comparison` and `average_over_tasks` give."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from worldsim.report.comparison_advice import more_trials_table, powered_table, published_table
from worldsim.report.comparison_agreement import agreement_table
from worldsim.report.comparison_rates import ranking_table, rates_table
from worldsim.report.printable import plain


def comparison_tables(comparison: Mapping[str, Any]) -> list[Table]:
    """The ranking, the agreement, what more real trials would buy, and the published simulators where there are some."""
    tables = [ranking_table(comparison), agreement_table(comparison["agreement"], comparison["level"])]
    if comparison["more_trials"]:
        tables.append(more_trials_table(comparison["more_trials"]))
    if comparison["powered"]:
        tables.append(powered_table(comparison["powered"], comparison["level"]))
    return tables + ([published_table(comparison)] if comparison["published"] else [])


def average_tables(average: Mapping[str, Any], level: float) -> list[Table]:
    """The averaged rates under their recipe, and their agreement."""
    setting = f", {average['setting']}" if average["setting"] else ""
    ranking = rates_table(f"Average over tasks{setting}", average["policies"], level)
    ranking.caption = plain(f"{average['recipe']}. Intervals: the same policies in new trials.")
    return [ranking, agreement_table(average["agreement"], level)]
