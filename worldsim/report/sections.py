"""Parts of the page that are read from a run and computed nowhere else: warnings, the model's card, failure modes, cost. No HTML."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.report.judge_tables import correction_notes, judge_notes
from worldsim.report.outcomes import Outcome
from worldsim.report.run_folder import RunFolder
from worldsim.report.tables import counted, number, warning_of

COMMON = 5  # failure modes shown per world
NUMBER = re.compile(r"\d+(?:\.\d+)?")
Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Mode:
    """Failures that the judge gave one reason for, numbers aside, and an episode that ended so."""

    world: str
    reason: str
    count: int
    example: Outcome


def warnings_of(results: Mapping[str, Any]) -> list[str]:
    """Everything that a reader must hold against the numbers, most important first."""
    agreement = results["agreement"]
    found = ["This run has no scored true episodes. Nothing in it says how far the ranking can be trusted."] if agreement is None else []
    found += [warning_of(agreement)] if agreement and warning_of(agreement) else []
    found += carried(agreement) if agreement else []
    found += judge_notes(results)
    found += [*(results["calibration"] or {"warnings": ()})["warnings"], *correction_notes(results)]
    for fault, count in results["faults"].items():
        found.append(f"Unscored because they broke off: {counted(count, 'episode', 'episodes')} ({fault}).")
    if results["quarantined"]:
        found.append(f"Damaged episode files put aside and not counted: {', '.join(results['quarantined'])}.")
    leak = results["world_model"]["leak"] or {}
    moved = [key for key, value in leak.items() if isinstance(value, int | float) and value != 0]
    return found + ([f"The world model is not strictly causal: it leaks through {', '.join(moved)}."] if moved else [])


def carried(agreement: Mapping[str, Any]) -> list[str]:
    """That r depends on one policy, where it falls by more than 0.1 without it."""
    dropped = (agreement.get("policy_layer") or {}).get("drop_one")
    if not dropped or agreement["pearson"] is None or agreement["pearson"] - dropped["low"] <= 0.1:
        return []
    return [f"One policy carries r: without {dropped['without']} it falls from {number(agreement['pearson'])} to {number(dropped['low'])}."]


def model_card(run: RunFolder, stated: str) -> Rows:
    """The world model and how it was sampled; `stated` is what its people say of its training data."""
    model = run.identity["world_model"]
    rows = flat("", model) + flat("", run.identity["sampler"])
    return [*rows, ("training data", stated or "not recorded")]


def failure_modes(outcomes: Sequence[Outcome]) -> list[Mode]:
    """The commonest reasons of failed episodes in each world, numbers aside; the example is the first of them."""
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.verdict.success is False:
            groups[outcome.world, NUMBER.sub("…", outcome.verdict.reason) or "no reason given"].append(outcome)
    modes = [Mode(world, reason, len(group), group[0]) for (world, reason), group in groups.items()]
    ranked = sorted(modes, key=lambda mode: (mode.world, -mode.count, mode.reason))
    return [mode for world in ("imagined", "truth") for mode in [each for each in ranked if each.world == world][:COMMON]]


def cost(throughput: Mapping[str, Any]) -> str:
    """What a hundred rollouts take, in words; empty where nothing was timed."""
    if not throughput["rollouts_per_hour"]:
        return ""
    return (
        f"A hundred imagined episodes take {number(6000 / throughput['rollouts_per_hour'], 1)} minutes on this machine, judging included."
    )


def flat(prefix: str, value: Any) -> Rows:
    """Nested values as (dotted key, text)."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in flat(f"{prefix}.{key}".lstrip("."), inner)]
    return [(prefix, "–" if value is None else str(value))]
