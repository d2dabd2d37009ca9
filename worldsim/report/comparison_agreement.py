"""The agreement of both sides with each kind of uncertainty in its own column. Computes nothing."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from worldsim.report.printable import plain
from worldsim.report.tables import ceiling_text, counted, number, paired_counts, span

MEASURES = (("spearman", "Spearman"), ("kendall", "Kendall"))
ERRORS = (
    ("slope", "slope (real on sim)"),
    ("intercept", "intercept"),
    ("bias", "bias (sim - real)"),
    ("mean_absolute_error", "mean absolute error"),
)
NO_LAYER = dict.fromkeys(("pearson_interval", "permutation", "drop_one", "drop_one_mmrv"))


def agreement_table(agreement: Mapping[str, Any], level: float) -> Table:
    """How far both sides agree, with each kind of uncertainty in its own column, beside what a perfect simulator would reach."""
    title = f"Agreement over {counted(agreement['policies'], 'policy', 'policies')}"
    table = Table(title=title, box=box.SIMPLE_HEAD, caption_justify="left", pad_edge=False)
    table.add_column("measure")
    for heading in ("value", f"trial layer ({level:.0%})", "policy layer", "noise ceiling (5% to 95%)"):
        table.add_column(heading, justify="right", no_wrap=True)
    layer, trials = agreement["policy_layer"] or NO_LAYER, agreement["trial_layer"] or {}
    rows = [
        (
            "Pearson r",
            number(agreement["pearson"]),
            trial_range(trials, "pearson"),
            span(layer["pearson_interval"]) or "needs 4 policies",
            "pearson",
        ),
        ("  without one policy", "", "", span(layer["drop_one"] and (layer["drop_one"]["low"], layer["drop_one"]["high"])), ""),
        ("  p of it by chance", *_permutation(layer["permutation"]), ""),
        *((label, number(agreement[key]), trial_range(trials, key), "", "") for key, label in MEASURES),
        ("MMRV", number(agreement["mmrv"]), trial_range(trials, "mmrv"), span(layer["drop_one_mmrv"]), "mmrv"),
        ("  worst possible", number(agreement["mmrv_bound"]), "", "", ""),
        *((label, number(agreement[key]), trial_range(trials, key), "", "") for key, label in ERRORS),
        ("first choice is best", {None: "–", True: "yes", False: "no"}[agreement["top1_correct"]], _chance(agreement), "", ""),
        ("  real rate it loses", number(agreement["regret"]), trial_range(trials, "regret"), "", ""),
    ]
    if agreement["paired"]:
        rows.append(("phi of pairs, policies pooled", number(agreement["paired"]["phi"]), "", "", ""))
        rows.append(("  within policies", number(agreement["paired"]["phi_within"]), "", "", ""))
    for label, value, trial, policy, ceiling in rows:
        table.add_row(label, value, plain(trial), plain(policy), plain(ceiling_text(agreement, ceiling)))
    table.caption = "\n".join(_agreement_notes(agreement))
    return table


def _chance(agreement: Mapping[str, Any]) -> str:
    value = agreement["top1_probability"]
    return "" if value is None else f"with p = {number(value)}"


def _agreement_notes(agreement: Mapping[str, Any]) -> list[str]:
    lines = [
        "Trial layer: these policies in new trials (posterior draws, uniform priors).",
        "Policy layer: other policies, these rates taken as they are (Fisher z of r; the range when one is dropped; all orders).",
        "Noise ceiling: a perfect simulator in as many trials.",
        f"MMRV tie rule {agreement['tie_rule']}, gap {agreement['gap']}.",
    ]
    if paired := agreement["paired"]:
        lines.append(f"{paired_counts(paired)}.")
    return lines


def trial_range(trials: Mapping[str, Any], key: str, digits: int = 3) -> str:
    """The trial layer's range of one measure; nothing where it has none."""
    return span((trials[key]["low"], trials[key]["high"]), digits) if key in trials else ""


def _permutation(test: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if test is None:
        return "–", "", ""
    return (
        "<.0001" if test["p_value"] < 1e-4 else number(test["p_value"], 4),
        "",
        f"{test['hits']} of {test['orders']}{'' if test['exact'] else ' random'} orders",
    )
