"""Tables about the judge: rates corrected for its errors, its calibration, other judges, and the probe. Knows results.json only."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from worldsim.report.measures import MEASURES
from worldsim.report.printable import plain
from worldsim.report.probe import TRUTHS
from worldsim.report.tables import number, span

NO_PROBE = "No known-failure probe was run: how often this world and judge call a failure a success is not known (probe=100 runs one)."
NOT_CALIBRATED = "The judge is not calibrated on this run, so rates carry its errors (worldsim calibrate RUN --against human)."


def judge_tables(results: Mapping[str, Any]) -> list[Table]:
    """Those that apply, in reading order."""
    tables = [corrected_table(results)] if results["calibration"] else []
    tables += [judges_table(results)] if len(results["judges"]) > 1 else []
    tables += [probe_table(results)] if results["probe"] else []
    return tables + ([gate_table(results["gate"])] if results.get("gate") else [])


def judge_notes(results: Mapping[str, Any]) -> list[str]:
    """What a reader must be told that no table says: that there is no calibration, or no probe."""
    return [line for line, missing in ((NOT_CALIBRATED, not results["calibration"]), (NO_PROBE, not results["probe"])) if missing]


def calibration_sentence(block: Mapping[str, Any]) -> str:
    """Against whom and on how many episodes a judge was calibrated, and what was found."""
    rates = (f"{label} {_share(block[key])}" for label, key in (("TPR", "true_positive_rate"), ("FPR", "false_positive_rate")))
    return f"Calibrated on {block['episodes']} episodes against {block['about']}: {', '.join(rates)}."


def corrected_table(results: Mapping[str, Any]) -> Table:
    """Every rate raw and corrected."""
    block = results["calibration"]
    table = _table("Success rates corrected for judge error", "policy", "raw", "interval", "corrected", "interval")
    for policy in results["policies"]:
        found = policy["corrected"] or {"success_rate": None, "interval": None}
        cells = (
            policy["name"],
            number(policy["success_rate"]),
            span(policy["interval"]),
            number(found["success_rate"]),
            span(found["interval"]),
        )
        table.add_row(*map(plain, cells))
    lines = [
        calibration_sentence(block),
        "One TPR and one FPR are taken to hold for all policies.",
        *correction_notes(results),
        *block["warnings"],
    ]
    table.caption = plain("\n".join(lines))
    return table


def correction_notes(results: Mapping[str, Any]) -> list[str]:
    """Why policies have no corrected rate, or one to be careful with; a line per reason, with the policies that it is of."""
    policies: dict[str, list[str]] = {}
    for policy in results["policies"]:
        if policy["corrected"] and policy["corrected"]["reason"]:
            policies.setdefault(policy["corrected"]["reason"], []).append(policy["name"])
    return [f"{', '.join(names)}: {reason}." for reason, names in policies.items()]


def calibration_table(block: Mapping[str, Any], verifier: str) -> Table:
    """Everything that a calibration found."""
    table = _table(f"{verifier} against {block['against']}", "measure", "value", "interval")
    rows = [
        ("true positive rate", block["true_positive_rate"]),
        ("false positive rate", block["false_positive_rate"]),
        ("agreement in the sample" if block["against"] == "human" else "agreement", block["agreement"]),
        ("Cohen's kappa" + (" in the sample" if block["against"] == "human" else ""), block["kappa"]),
        ("expected calibration error", {"value": block["ece"], "interval": None}),
        ("Brier score", {"value": block["brier"], "interval": None}),
    ]
    rows += [(f"world model and judge: {name.replace('_', ' ')}", found) for name, found in (block["paired"] or {}).items()]
    for label, found in rows:
        of = f" ({found['count']} of {found['of']})" if "of" in found else ""
        table.add_row(plain(label + of), number(found["value"]), plain(span(found["interval"])))
    for each in block["bins"]:
        label = f"scored {each['low']:.1f} to {each['high']:.1f} ({each['cases']}, mean {each['mean_score']:.3f}): true"
        table.add_row(label, number(each["share_true"]), plain(span(each["interval"])))
    unscored = [f"Left out, as judge or reference could not tell: {block['unscored']}."] if block["unscored"] else []
    table.caption = plain("\n".join([f"{block['episodes']} episodes; {block['about']}.", *unscored, *block["warnings"]]))
    return table


def judges_table(results: Mapping[str, Any]) -> Table:
    """Every judge's rates and ranks, and how far its ranking agrees with that of the run's own and with the truth."""
    judges = results["judges"]
    headings = [each["verifier"] + (" (own)" if each["own"] else "") for each in judges]
    table = _table("Other judges: rate (rank)", "policy", *headings)
    for place, policy in enumerate(results["policies"]):
        found = [each["policies"][place] for each in judges]
        table.add_row(plain(policy["name"]), *(f"{number(each['success_rate'])} ({_rank(each['rank'])})" for each in found))
    for label, key in (("Kendall tau to the own", "kendall_to_own"), ("Pearson r to the truth", "pearson"), ("MMRV", "mmrv")):
        table.add_row(label, *(number(each[key]) for each in judges))
    table.add_row("episodes scored", *(str(each["scored"]) for each in judges))
    table.caption = (
        "Tau is over the episodes that both judges scored.\n"
        "The rates of a judge of few, chosen episodes (labels of a sample) are not the run's."
    )
    return table


def probe_table(results: Mapping[str, Any]) -> Table:
    """How often what must fail is called a success."""
    probe = results["probe"]
    table = _table(
        "Known-failure probe: optimism of world model and judge",
        "what must fail",
        "called a success",
        "of",
        "rate",
        "interval",
        "not counted",
    )
    total = probe["optimism"] | {"name": "all: the optimism rate", "not_counted": sum(each["not_counted"] for each in probe["kinds"])}
    for each in [*probe["kinds"], total]:
        cells = (each["name"], each["successes"], each["scored"], number(each["success_rate"]), span(each["interval"]), each["not_counted"])
        table.add_row(*(plain(str(cell)) for cell in cells))
    table.caption = plain("\n".join(probe_notes(probe)))
    return table


def probe_notes(probe: Mapping[str, Any]) -> list[str]:
    """Why each kind must fail, and what was left out."""
    why: dict[str, list[str]] = {}
    for each in probe["kinds"]:
        why.setdefault(each["truth"], []).append(each["name"])
    lines = [f"{', '.join(names)}: {TRUTHS[truth]}." for truth, names in why.items()]
    unscored = sum(each["unscored"] for each in probe["kinds"])
    lines += [f"The judge could not tell {unscored}; these are in no rate."] if unscored else []
    return lines + [f"Left out: {kind} ({reason})." for kind, reason in probe["left_out"].items()]


def gate_table(gate: Mapping[str, Any]) -> Table:
    """Agreement with the truth without the gate and with it, and what the gate withholds."""
    table = _table("Agreement with and without the gate", "measure", "without", "interval", "with", "interval", "change")
    for key, label in MEASURES.items():
        found = (gate["measures"] or {}).get(key)
        if found:
            sides = (cell for side in ("without", "gated") for cell in (number(found[side]["value"]), span(found[side]["interval"])))
            table.add_row(label, *map(plain, sides), plain(span(found["change"])))
    table.caption = plain("\n".join(gate_notes(gate)))
    return table


def gate_notes(gate: Mapping[str, Any]) -> list[str]:
    """What the gate withholds, of whom most, and how the comparison is made."""
    kept = gate["gated"] - gate["withheld"]
    lines = [
        f"The gate lets {kept} of {gate['gated']} imagined rollouts through ({gate['signal'].replace('_', ' ')} up to {gate['limit']:.3g})."
    ]
    most = max(gate["policies"], key=lambda row: row["withheld"], default=None)
    lines += [f"Most are withheld of {most['name']}: {most['withheld']} of {most['gated']}."] if most and most["withheld"] else []
    if told := gate["told"]:
        area = f"{number(told['area'])} {span(told['interval'])}"
        lines.append(f"The signal tells the {told['wrong']} of {told['episodes']} that end otherwise than in truth with an AUC of {area}.")
    if gate["measures"] is None:
        return [*lines, "There is no truth to compare with, so whether it helps is not known here."]
    return [*lines, "Gated rates are over what is let through, true rates over all; the change is a paired bootstrap over starts."]


def _table(title: str, *headings: str) -> Table:
    table = Table(title=plain(title), box=box.SIMPLE_HEAD, caption_justify="left")
    table.add_column(headings[0], overflow="fold")
    for heading in headings[1:]:
        table.add_column(plain(heading), justify="right")
    return table


def _share(found: Mapping[str, Any]) -> str:
    return f"{number(found['value'])} {span(found['interval'])}".strip()


def _rank(rank: float | None) -> str:
    return "–" if rank is None else f"{rank:g}"
