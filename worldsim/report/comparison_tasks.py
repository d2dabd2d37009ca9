"""Several tasks, one line of agreement each; cells of policy and task are never pooled. Computes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from worldsim.report.comparison_agreement import NO_LAYER, trial_range
from worldsim.report.printable import plain
from worldsim.report.tables import number, span

MARKS = {
    "part": ("(p)", "part of another table's average"),
    "average": ("(a)", "average over tasks"),
    "partial": ("(g)", "partial success, as a grasp"),
}


def tasks_tables(comparisons: Sequence[Mapping[str, Any]]) -> list[Table]:
    """One line of agreement per task, a table per family and simulator; cells of policy and task are never pooled into one r."""
    groups: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    for each in comparisons:
        groups.setdefault((_family_of(each), each["setting"]), []).append(each)
    tables = [_tasks_table(family, setting, group) for (family, setting), group in groups.items()]
    agreement, kinds = comparisons[0]["agreement"], {each["kind"] for each in comparisons} - {"task"}
    marks = ", ".join(f"{mark} {meaning}" for kind, (mark, meaning) in MARKS.items() if kind in kinds)
    tables[-1].caption = plain(
        f"Trial layer: {comparisons[0]['level']:.0%} range of the same policies in new trials; policy layer: of other policies (Fisher z). "
        "Ceiling: the 5% end of r and the 95% end of MMRV of a perfect simulator in as many trials. "
        f"MMRV tie rule {agreement['tie_rule']}, gap {agreement['gap']}. best: is the first choice really best, and the real rate it costs."
        f"{f' {marks}.' if marks else ''}"
    )
    return tables


def _name_of(comparison: Mapping[str, Any]) -> str:
    return comparison["simulated"]["recipe"]["task"] or comparison["simulated"]["source"]


def _family_of(comparison: Mapping[str, Any]) -> str:
    """The part of a reference's name that its family shares; empty for runs, which have no setting."""
    return _name_of(comparison).partition("/")[0] if comparison["setting"] else ""


def _tasks_table(family: str, setting: str | None, comparisons: Sequence[Mapping[str, Any]]) -> Table:
    title = f"Agreement, task by task{f': {family}, {setting}' if family else ''}"
    table = Table(title=title, box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False, collapse_padding=True)
    table.add_column("task", overflow="fold")
    headings = ("policies", "r", "trial layer", "policy layer", "ceiling", "MMRV", "trial layer", "ceiling", "best", "costs")
    rows = [_task_cells(each) for each in comparisons]
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*map(plain, row))
    return table


def _task_cells(comparison: Mapping[str, Any]) -> list[str]:
    agreement = comparison["agreement"]
    trials, ceiling = agreement["trial_layer"] or {}, agreement["noise_ceiling"]
    name = _name_of(comparison).removeprefix(f"{_family_of(comparison)}/")
    mark = MARKS.get(comparison["kind"], ("",))[0]
    return [
        f"{name} {mark}".strip(),
        str(agreement["policies"]),
        number(agreement["pearson"], 4),
        trial_range(trials, "pearson", 2),
        span((agreement["policy_layer"] or NO_LAYER)["pearson_interval"], 2),
        f">{number(ceiling['pearson']['low'], 2)}" if ceiling else "",
        number(agreement["mmrv"], 4),
        trial_range(trials, "mmrv", 2),
        f"<{number(ceiling['mmrv']['high'], 2)}" if ceiling else "",
        {None: "–", True: "yes", False: "no"}[agreement["top1_correct"]],
        number(agreement["regret"]),
    ]
