"""Both rates of every policy beside each other, and under what recipes, intervals and tests. Computes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from worldsim.report.printable import plain
from worldsim.report.recipe import Recipe
from worldsim.report.tables import number, span

SIDES = ("simulated", "real")


def ranking_table(comparison: Mapping[str, Any]) -> Table:
    """Both rates of every policy, with intervals, trials, letters and difference."""
    task = comparison["simulated"]["recipe"]["task"]
    table = rates_table(f"Simulated beside real{f': {task}' if task else ''}", comparison["policies"], comparison["level"])
    lines = [
        *_recipes(comparison),
        *_intervals_notes(comparison),
        *_letters_notes(comparison["letters"]),
    ]
    table.caption = plain("\n".join(lines))
    return table


def _recipes(comparison: Mapping[str, Any]) -> list[str]:
    """What both sides share, and what only one of them says."""
    recipes = {side: comparison[side]["recipe"] for side in SIDES}
    shared = {key: value for key, value in recipes["real"].items() if key != "about" and value == recipes["simulated"][key]}
    lines = [f"both: {Recipe(**shared).words()}."] if any(value is not None for value in shared.values()) else []
    for side in SIDES:
        own = Recipe(**{key: value for key, value in recipes[side].items() if key not in shared})
        lines.append(f"{side}: {comparison[side]['source']}: {own.words()}.")
    return lines


def _intervals_notes(comparison: Mapping[str, Any]) -> list[str]:
    """What the intervals and p values are, where there are any."""
    if all(row["same_rate_p"] is None for row in comparison["policies"]):
        return []
    theirs = " (SIMPLER takes the real number for both)" if comparison["real"]["source"].startswith("simpler:") else ""
    return [
        "Wilson intervals; of the difference (sim - real) Newcombe's. p: Kruskal-Wallis, simulated against real trials of one policy, "
        f"with the trials that each side had{theirs}, not corrected for their number."
    ]


def _letters_notes(letters: Mapping[str, Any] | None) -> list[str]:
    if letters is None:
        return []
    found = ["Letters: policies that share one do not differ significantly on that side."]
    for side in SIDES:
        each = letters[side]
        how = f"{each['test']}, alpha {each['alpha']:g}, {each['correction']} over {each['pairs']} pairs" if each["test"] else "none"
        found.append(f"  {side}: {how}{'; ' + each['reason'] if each['reason'] else ''}.")
    return found


def rates_table(title: str, rows: Sequence[Mapping[str, Any]], level: float) -> Table:
    """One row per policy: simulated and real rate with interval, trials and letters, and their difference."""
    table = Table(title=title, box=box.SIMPLE_HEAD, caption_justify="left", collapse_padding=True, pad_edge=False)
    interval, corrected = f"{level:.0%} interval", any(row["simulated"]["corrected"] for row in rows)
    sides = [[side, interval, "n", f"letters ({side})"] for side in ("sim", "real")]
    headings = [*sides[0], *(["corrected"] if corrected else []), *sides[1], "differ", interval, "p"]
    cells = [_cells(row, corrected=corrected) for row in rows]
    table.add_column("policy", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in cells:
        table.add_row(*map(plain, row))
    return table


def _cells(row: Mapping[str, Any], *, corrected: bool) -> list[str]:
    name = row["name"] if row["name"] == row["real_name"] else f"{row['name']} = {row['real_name']}"
    freed = row["simulated"]["corrected"]
    beside = [f"{number(freed['success_rate'])} {span(freed['interval'], 2)}" if freed else "–"] if corrected else []
    difference = [f"{row['difference']:+.3f}", span(row["difference_interval"], 2) or "–", _p(row["same_rate_p"])]
    return [name, *_side_cells(row["simulated"]), *beside, *_side_cells(row["real"]), *difference]


def _side_cells(side: Mapping[str, Any]) -> list[str]:
    trials = "–" if side["scored"] is None else str(side["scored"])
    return [number(side["success_rate"]), span(side["interval"], 2) or "–", trials, side["letters"] or ""]


def _p(value: float | None) -> str:
    return "<.001" if value is not None and value < 0.001 else number(value)
