"""A comparison as tables for the terminal. Knows only the form that `build_comparison` gives."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from worldsim.report.printable import plain
from worldsim.report.tables import ceiling_text, number, span


def comparison_tables(comparison: Mapping[str, Any]) -> list[Table]:
    """The ranking, the agreement, and the published simulators where there are some."""
    tables = [ranking_table(comparison), agreement_table(comparison)]
    return tables + ([published_table(comparison)] if comparison.get("published") else [])


def ranking_table(comparison: Mapping[str, Any]) -> Table:
    """Both rates of every policy, with intervals, trials and difference."""
    table = Table(title="Simulated beside real", box=box.SIMPLE_HEAD, caption_justify="left", collapse_padding=True, pad_edge=False)
    table.caption = plain(
        "\n".join(
            [
                *(f"{side}: {comparison[side]['source']}: {comparison[side]['recipe']}." for side in ("simulated", "real")),
                "Wilson intervals. p: Kruskal-Wallis, simulated against real trials of one policy, with the trials that each side had "
                "(SIMPLER takes the real number for both), not corrected for their number.",
            ]
        )
    )
    interval = f"{comparison['level']:.0%} interval"
    headings = ("sim", interval, "n", "real", interval, "n", "differ", "p")
    rows = [_cells(row) for row in comparison["policies"]]
    table.add_column("policy", overflow="fold")
    for heading, cells in zip(headings, list(zip(*rows, strict=True))[1:], strict=True):
        table.add_column(heading, justify="right", min_width=max(map(len, (heading, *cells))))  # digits are never cut off; names are folded
    for cells in rows:
        table.add_row(*map(plain, cells))
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    name = row["name"] if row["name"] == row["real_name"] else f"{row['name']} = {row['real_name']}"
    sides = [cell for side in ("simulated", "real") for cell in _side_cells(row[side])]
    return [name, *sides, f"{row['difference']:+.3f}", _p(row["same_rate_p"])]


def _side_cells(side: Mapping[str, Any]) -> list[str]:
    return [number(side["success_rate"]), span(side["interval"], 2) or "–", "–" if side["scored"] is None else str(side["scored"])]


def _p(value: float | None) -> str:
    return "<.001" if value is not None and value < 0.001 else number(value)


def agreement_table(comparison: Mapping[str, Any]) -> Table:
    """How far both sides agree, beside what a perfect simulator would reach and how far it carries to other policies."""
    agreement = comparison["agreement"]
    table = Table(title=f"Agreement over {agreement['policies']} policies", box=box.SIMPLE_HEAD, caption_justify="left")
    table.add_column("measure")
    for heading in ("value", "range", "noise ceiling (5% to 95%)"):
        table.add_column(heading, justify="right", no_wrap=True)
    worst = agreement["mmrv_bound"]
    rows = [
        ("Pearson r", number(agreement["pearson"]), span(agreement["pearson_interval"]), "pearson"),
        ("  without one policy", "", span(_drop_range(agreement)), ""),
        ("  p of it by chance", *_permutation(agreement), ""),
        ("Spearman", number(agreement["spearman"]), "", ""),
        ("Kendall", number(agreement["kendall"]), "", ""),
        ("MMRV", number(agreement["mmrv"]), span(None if worst is None else (0, worst)), "mmrv"),
        ("bias (sim - real)", number(agreement["bias"]), "", ""),
        ("mean absolute error", number(agreement["mean_absolute_error"]), "", ""),
        ("first choice is best", {None: "–", True: "yes", False: "no"}[agreement["top1_correct"]], "", ""),
        ("  real rate it loses", number(agreement["regret"]), "", ""),
    ]
    if agreement["paired"]:
        rows.append(("phi of paired episodes", number(agreement["paired"]["phi"]), f"{agreement['paired']['paired_episodes']} pairs", ""))
    for label, value, spread, ceiling in rows:
        table.add_row(label, value, plain(spread), plain(ceiling_text(agreement, ceiling)))
    table.caption = "\n".join(_agreement_notes(agreement, comparison["level"]))
    return table


def _agreement_notes(agreement: Mapping[str, Any], level: float) -> list[str]:
    lines = [
        f"Ranges: of r, {level:.0%} for other policies (Fisher z); of MMRV, the best and the worst there can be.",
        f"MMRV tie rule {agreement['tie_rule']}, gap {agreement['gap']}. Noise ceiling: a perfect simulator in as many trials.",
    ]
    if paired := agreement["paired"]:
        lines.append(f"Paired episodes: {paired['false_successes']} false successes, {paired['missed']} missed.")
    return lines


def published_table(comparison: Mapping[str, Any]) -> Table:
    """What the simulators that were published with the real rates reach over the same policies."""
    table = Table(title="Published simulators", box=box.SIMPLE_HEAD)
    for heading in ("setting", "Pearson r", "MMRV"):
        table.add_column(heading, justify="left" if heading == "setting" else "right")
    for setting, found in comparison["published"].items():
        table.add_row(setting, number(found["pearson"]), number(found["mmrv"]))
    return table


def _drop_range(agreement: Mapping[str, Any]) -> tuple[float, float] | None:
    values = list((agreement["drop_one"] or {}).values())
    return (min(values), max(values)) if values else None


def _permutation(agreement: Mapping[str, Any]) -> tuple[str, str]:
    test = agreement["permutation"]
    if test is None:
        return "–", ""
    return number(test["p_value"], 4), f"{test['hits']} of {test['orders']}{'' if test['exact'] else ' random'} orders"
