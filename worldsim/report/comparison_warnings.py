"""What a reader of a comparison must be told beside its numbers. Knows only the form that `build_comparison` gives."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import factorial
from typing import Any

from worldsim import statistics
from worldsim.report.tables import FEW, counted, number

CARRIES = 0.1  # an r that falls by more than this without one policy is said to be carried by it
ALPHA = 0.05
Rows = Sequence[Mapping[str, Any]]


def comparison_warnings(rows: Rows, missing: Mapping[str, Sequence[str]], agreement: Mapping[str, Any]) -> list[str]:
    """All cautions on rates and agreement, most telling first."""
    found = [*_few(agreement["policies"]), *_carried(agreement), *_ties(rows, agreement)]
    for side, other in (("real", "simulated"), ("simulated", "real")):
        if missing[side]:
            found.append(f"Left out, as they have no {side} rate: {', '.join(missing[side])} ({other} only).")
        found += _of_rates(rows, side, agreement)
    if len(rows) > 1 and not agreement["noise_ceiling"]:
        found.append("No noise ceiling and no trial layer: the number of trials behind some rates is not known.")
    return found


def _few(policies: int) -> Iterator[str]:
    if policies < FEW:
        least = f" (the least p of {policies} is 1/{policies}! = {1 / factorial(policies):.3f})" if policies > 1 else ""
        few = counted(policies, "policy", "policies")
        yield f"Only {few}: with fewer than {FEW} no correlation can reach significance at {ALPHA}{least}."


def _carried(agreement: Mapping[str, Any]) -> Iterator[str]:
    left = (agreement["policy_layer"] or {}).get("drop_one")
    if left and agreement["pearson"] - left["low"] > CARRIES:
        yield f"One policy carries r: without {left['without']} it falls from {number(agreement['pearson'])} to {number(left['low'])}."


def _ties(rows: Rows, agreement: Mapping[str, Any]) -> Iterator[str]:
    """A warning where MMRV depends on who is charged for a tie."""
    if len(rows) < 2:
        return
    sides = {side: [row[side]["success_rate"] for row in rows] for side in ("simulated", "real")}
    values = {rule: statistics.mmrv(**sides, tie_rule=rule) for rule in ("strict_gt", "strict_lt", "sign_product", "any_difference")}
    if max(values.values()) - min(values.values()) < 5e-4:
        return
    tied = [
        f"{a['name']} = {b['name']}" for a, b in combinations(rows, 2) if a["simulated"]["success_rate"] == b["simulated"]["success_rate"]
    ]
    listed = ", ".join(f"{number(value)} by {rule}" for rule, value in values.items())
    yield f"Ties decide MMRV ({', '.join(tied) or 'tied in reality only'}): {listed}; shown is {agreement['tie_rule']}."


def _of_rates(rows: Rows, side: str, agreement: Mapping[str, Any]) -> Iterator[str]:
    """Cautions on one side's rates and the trials behind them."""
    if len(rows) > 1 and len({row[side]["success_rate"] for row in rows}) == 1:
        yield f"All {side} rates are equal, so no order can be compared; r is {number(agreement['pearson'])} by convention."
    unscored = {row["name"]: row[side]["unscored"] for row in rows if row[side]["unscored"]}
    if unscored:
        yield f"Unscored {side} episodes, in no rate: {', '.join(f'{name} {count}' for name, count in unscored.items())}."
    unknown = [row["name"] for row in rows if row[side]["interval"] is None]
    if unknown:
        whose = "any policy" if len(unknown) == len(rows) else ", ".join(unknown)
        yield f"No interval for the {side} rate of {whose}: no whole count of trials is behind it, or none was published."
    trials = {row["name"]: row[side]["scored"] for row in rows if row[side]["scored"]}
    if len(set(trials.values())) > 1:
        least, most = min(trials, key=trials.get), max(trials, key=trials.get)
        yield f"Unequal {side} trials: from {trials[least]} ({least}) to {trials[most]} ({most}); the fewer, the less a rank is worth."
    for row in rows:
        if (row[side]["corrected"] or {}).get("reason"):
            yield f"Corrected rate of {row['name']}: {row[side]['corrected']['reason']}."
