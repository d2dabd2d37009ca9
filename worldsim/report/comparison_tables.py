"""A comparison as tables for the terminal. Knows only the form that `build_comparison` and `average_over_tasks` give."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from worldsim.report.printable import plain
from worldsim.report.recipe import Recipe
from worldsim.report.tables import ceiling_text, number, span

MEASURES = (("spearman", "Spearman"), ("kendall", "Kendall"))
ERRORS = (
    ("slope", "slope (real on sim)"),
    ("intercept", "intercept"),
    ("bias", "bias (sim - real)"),
    ("mean_absolute_error", "mean absolute error"),
)
SIDES = ("simulated", "real")
NO_LAYER = dict.fromkeys(("pearson_interval", "permutation", "drop_one", "drop_one_mmrv"))


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
    ranking = _rates_table(f"Average over tasks{setting}", average["policies"], level)
    ranking.caption = plain(f"{average['recipe']}. Intervals: the same policies in new trials.")
    return [ranking, agreement_table(average["agreement"], level)]


def ranking_table(comparison: Mapping[str, Any]) -> Table:
    """Both rates of every policy, with intervals, trials, letters and difference."""
    task = comparison["simulated"]["recipe"]["task"]
    table = _rates_table(f"Simulated beside real{f': {task}' if task else ''}", comparison["policies"], comparison["level"])
    lines = [
        *_recipes(comparison),
        "Wilson intervals; of the difference (sim - real) Newcombe's. p: Kruskal-Wallis, simulated against real trials of one policy, "
        "with the trials that each side had (SIMPLER takes the real number for both), not corrected for their number.",
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


def _letters_notes(letters: Mapping[str, Any] | None) -> list[str]:
    if letters is None:
        return []
    found = ["Letters: policies that share one do not differ significantly on that side."]
    for side in SIDES:
        each = letters[side]
        how = f"{each['test']}, alpha {each['alpha']:g}, {each['correction']} over {each['pairs']} pairs" if each["test"] else "none"
        found.append(f"  {side}: {how}{'; ' + each['reason'] if each['reason'] else ''}.")
    return found


def _rates_table(title: str, rows: Sequence[Mapping[str, Any]], level: float) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, caption_justify="left", collapse_padding=True, pad_edge=False)
    interval, corrected = f"{level:.0%} interval", any(row["simulated"]["corrected"] for row in rows)
    side = (interval, "n", "")
    headings = ["sim", *side, *(["corrected"] if corrected else []), "real", *side, "differ", interval, "p"]
    cells = [_cells(row, corrected=corrected) for row in rows]
    table.add_column("policy", overflow="fold")
    for heading, column in zip(headings, list(zip(*cells, strict=True))[1:], strict=True):
        table.add_column(
            heading, justify="right", min_width=max(map(len, (heading, *column)))
        )  # digits are never cut off; names are folded
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


def agreement_table(agreement: Mapping[str, Any], level: float) -> Table:
    """How far both sides agree, with each kind of uncertainty in its own column, beside what a perfect simulator would reach."""
    table = Table(title=f"Agreement over {agreement['policies']} policies", box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False)
    table.add_column("measure")
    for heading in ("value", f"trial layer ({level:.0%})", "policy layer", "noise ceiling (5% to 95%)"):
        table.add_column(heading, justify="right", no_wrap=True)
    layer, trials = agreement["policy_layer"] or NO_LAYER, agreement["trial_layer"] or {}
    rows = [
        ("Pearson r", number(agreement["pearson"]), _range(trials, "pearson"), span(layer["pearson_interval"]), "pearson"),
        ("  without one policy", "", "", span(layer["drop_one"] and (layer["drop_one"]["low"], layer["drop_one"]["high"])), ""),
        ("  p of it by chance", *_permutation(layer["permutation"]), ""),
        *((label, number(agreement[key]), _range(trials, key), "", "") for key, label in MEASURES),
        ("MMRV", number(agreement["mmrv"]), _range(trials, "mmrv"), span(layer["drop_one_mmrv"]), "mmrv"),
        ("  worst possible", number(agreement["mmrv_bound"]), "", "", ""),
        *((label, number(agreement[key]), _range(trials, key), "", "") for key, label in ERRORS),
        ("first choice is best", {None: "–", True: "yes", False: "no"}[agreement["top1_correct"]], _chance(trials), "", ""),
        ("  real rate it loses", number(agreement["regret"]), _range(trials, "regret"), "", ""),
    ]
    if agreement["paired"]:
        rows.append(
            ("phi of paired episodes", number(agreement["paired"]["phi"]), f"{agreement['paired']['paired_episodes']} pairs", "", "")
        )
    for label, value, trial, policy, ceiling in rows:
        table.add_row(label, value, plain(trial), plain(policy), plain(ceiling_text(agreement, ceiling)))
    table.caption = "\n".join(_agreement_notes(agreement))
    return table


def _chance(trials: Mapping[str, Any]) -> str:
    return f"with p = {number(trials['top1_probability']['median'])}" if trials else ""


def _range(trials: Mapping[str, Any], key: str, digits: int = 3) -> str:
    return span((trials[key]["low"], trials[key]["high"]), digits) if key in trials else ""


def _agreement_notes(agreement: Mapping[str, Any]) -> list[str]:
    lines = [
        "Trial layer: these policies in new trials (posterior draws, uniform priors).",
        "Policy layer: other policies, these rates taken as they are (Fisher z of r; the range when one is dropped; all orders).",
        "Noise ceiling: a perfect simulator in as many trials.",
        f"MMRV tie rule {agreement['tie_rule']}, gap {agreement['gap']}.",
    ]
    if paired := agreement["paired"]:
        lines.append(f"Paired episodes: {paired['false_successes']} false successes, {paired['missed']} missed.")
    return lines


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
    for heading, column in zip(headings, list(zip(*rows, strict=True))[1:], strict=True):
        table.add_column(heading, justify="right", min_width=max(map(len, (heading, *column))))
    for row in rows:
        table.add_row(*map(plain, row))
    return table


MARKS = {
    "part": ("(p)", "part of another table's average"),
    "average": ("(a)", "average over tasks"),
    "partial": ("(g)", "partial success, as a grasp"),
}


def _task_cells(comparison: Mapping[str, Any]) -> list[str]:
    agreement = comparison["agreement"]
    trials, ceiling = agreement["trial_layer"] or {}, agreement["noise_ceiling"]
    name = _name_of(comparison).removeprefix(f"{_family_of(comparison)}/")
    mark = MARKS.get(comparison["kind"], ("",))[0]
    return [
        f"{name} {mark}".strip(),
        str(agreement["policies"]),
        number(agreement["pearson"], 4),
        _range(trials, "pearson", 2),
        span((agreement["policy_layer"] or NO_LAYER)["pearson_interval"], 2),
        f">{number(ceiling['pearson']['low'], 2)}" if ceiling else "",
        number(agreement["mmrv"], 4),
        _range(trials, "mmrv", 2),
        f"<{number(ceiling['mmrv']['high'], 2)}" if ceiling else "",
        {None: "–", True: "yes", False: "no"}[agreement["top1_correct"]],
        number(agreement["regret"]),
    ]


def published_table(comparison: Mapping[str, Any]) -> Table:
    """What the simulators that were published with the real rates reach over the same policies."""
    table = Table(title="Published simulators", box=box.SIMPLE_HEAD)
    for heading in ("setting", "Pearson r", "MMRV"):
        table.add_column(heading, justify="left" if heading == "setting" else "right")
    for setting, found in comparison["published"].items():
        table.add_row(setting, number(found["pearson"]), number(found["mmrv"]))
    return table


def _permutation(test: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if test is None:
        return "–", "", ""
    return (
        "<.0001" if test["p_value"] < 1e-4 else number(test["p_value"], 4),
        "",
        f"{test['hits']} of {test['orders']}{'' if test['exact'] else ' random'} orders",
    )


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
