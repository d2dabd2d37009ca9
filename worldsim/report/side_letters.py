"""Compact letters for one side of a comparison: paired exact tests where its trials share starts, else exact tests of the counts."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from worldsim import statistics
from worldsim.report.sides import Side

MCNEMAR, BARNARD = "McNemar's exact test on shared starts", "Barnard's exact test"


def side_letters(side: Side, names: Sequence[str], alpha: float) -> dict[str, Any]:
    """The letters of these policies, best first, and how they were found: test, correction, alpha and the number of pairs.

    Policies without counts get none, and `reason` names them; `letters` is None where no two policies can be tested. McNemar's test is
    taken where every trial behind every rate is known with its start and the policies share all starts; Barnard's takes the policies for
    independent.
    """
    names = sorted(names, key=lambda name: (-side.rates[name].rate, name))
    paired = paired_trials(side, names)
    unknown = [name for name in names if not side.rates[name].counted]
    couples = list(combinations([name for name in names if name not in unknown], 2))
    found: dict[str, Any] = {"letters": None, "test": None, "correction": "Holm", "alpha": alpha, "pairs": len(couples), "reason": None}
    if paired is not None:
        found["test"] = MCNEMAR
        p_values = [statistics.mcnemar_exact(paired[one], paired[other]) for one, other in couples]
    elif couples:
        found["test"] = BARNARD
        counts = {name: (side.rates[name].successes, side.rates[name].trials) for name in names}
        p_values = [statistics.barnard(counts[one], counts[other]) for one, other in couples]
    if unknown:
        found["reason"] = f"no count of trials is known of {', '.join(unknown)}"
    if not couples:
        return found
    different = [couple for couple, p in zip(couples, statistics.holm(p_values), strict=True) if p <= alpha]
    known = [name for name in names if name not in unknown]
    return found | {"letters": statistics.compact_letters(known, different)}


def paired_trials(side: Side, names: Sequence[str]) -> dict[str, list[float]] | None:
    """Outcomes 0/1 by policy, in one order of starts, NaN where unscored; None unless they are all the trials and share all starts."""
    tried = {name: side.outcomes.get(name, {}) for name in names}
    order = {name: [(start, repeat) for start in sorted(tried[name]) for repeat in range(len(tried[name][start]))] for name in names}
    if not order[names[0]] or any(order[name] != order[names[0]] for name in names):
        return None
    found = {name: [tried[name][start][repeat] for start, repeat in order[name]] for name in names}
    whole = all(sum(each is not None for each in found[name]) == side.rates[name].trials for name in names)
    return {name: [float("nan") if each is None else float(each) for each in found[name]] for name in names} if whole else None
