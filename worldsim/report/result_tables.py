"""All tables of a run in reading order. Knows only the form of results.json."""

from typing import Any

from rich.table import Table

from worldsim.report.judge_tables import judge_tables
from worldsim.report.tables import agreement_table, open_loop_table, results_table


def result_tables(results: dict[str, Any]) -> list[Table]:
    """The tables that apply to these results."""
    tables = [results_table(results)]
    tables += [agreement_table(results)] if results["agreement"] else []
    tables += judge_tables(results)
    return tables + ([open_loop_table(results)] if results["open_loop"] else [])
