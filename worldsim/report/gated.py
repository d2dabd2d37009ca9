"""A run whose judge stands behind a gate: how far it agrees with the truth with the gate and without, and how much the gate withholds.

What was withheld is read from the verdicts themselves; nothing is judged or imagined anew.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from worldsim import statistics
from worldsim.report.measures import MEASURES
from worldsim.report.outcomes import Outcome, outcome_matrix, pairs, select
from worldsim.types import Verdict


def gate_block(outcomes: Sequence[Outcome], ranked: Sequence[str], level: float) -> dict[str, Any] | None:
    """The results' "gate": coverage, how well the signal tells, and each measure before, after and changed; None without a gate.

    A policy that has no scored true episode, or none left by the gate, is not compared.
    """
    gates = [each.verdict.details["gate"] for each in outcomes if each.world == "imagined" and each.verdict.details.get("gate")]
    if not gates:
        return None
    before = [replace(each, verdict=ungated(each.verdict)) for each in outcomes]
    rows = [_coverage(outcomes, policy) for policy in ranked]
    return {
        "signal": gates[0]["signal"],
        "limit": gates[0]["limit"],
        "gated": len(gates),
        "withheld": sum("withheld" in gate for gate in gates),
        "policies": rows,
        "told": _told(before, ranked, level),
        "measures": _measures(before, outcomes, [row["name"] for row in rows], level),
    }


def ungated(verdict: Verdict) -> Verdict:
    """What the judge behind the gate said."""
    said = verdict.details.get("gate", {}).get("withheld")
    return replace(verdict, score=said["score"], reason=said["reason"]) if said else verdict


def _coverage(outcomes: Sequence[Outcome], policy: str) -> dict[str, Any]:
    gates = [gate for each in select(outcomes, policy, "imagined") if (gate := each.verdict.details.get("gate"))]
    return {"name": policy, "gated": len(gates), "withheld": sum("withheld" in gate for gate in gates)}


def _told(before: Sequence[Outcome], policies: Sequence[str], level: float) -> dict[str, Any] | None:
    """How well the signal tells the imagined episodes that end otherwise than their true twins; None without any, or without others."""
    paired = [pair for policy in policies for pair in pairs(before, policy) if pair.scored and pair.imagined.verdict.details.get("gate")]
    wrong = [not pair.agrees for pair in paired]
    if not any(wrong) or all(wrong):
        return None
    values = [pair.imagined.verdict.details["gate"]["value"] for pair in paired]
    value, low, high = statistics.area_under_curve(values, wrong, level)
    return {"episodes": len(paired), "wrong": sum(wrong), "area": value, "interval": [low, high]}


def _measures(before: Sequence[Outcome], after: Sequence[Outcome], policies: list[str], level: float) -> dict[str, Any] | None:
    """By measure: value and interval without the gate and with it, and the interval of the change; None without a truth to compare with."""
    compared = [
        policy
        for policy in policies
        if all(any(e.verdict.success is not None for e in select(after, policy, world)) for world in ("imagined", "truth"))
    ]
    if not compared:
        return None
    without, gated = (outcome_matrix(each, compared, "imagined") for each in (before, after))
    real = outcome_matrix(after, compared, "truth")
    change = statistics.agreement_differences(without, gated, real, level)
    sides = {
        name: (statistics.agreement_values(side, real), statistics.agreement_intervals(side, real, level))
        for name, side in (("without", without), ("gated", gated))
    }
    return {
        "policies": len(compared),
        **{name: {key: _row(*found, name) for key, found in sides.items()} | {"change": _list(change[name])} for name in MEASURES},
    }


def _row(values: dict[str, Any], intervals: dict[str, Any], name: str) -> dict[str, Any]:
    return {"value": values[name], "interval": _list(intervals[name])}


def _list(interval: Any) -> list[float] | None:
    return None if interval is None else list(interval)
