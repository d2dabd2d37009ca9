"""How far simulated and real rates agree, each value with two kinds of uncertainty that are never mixed, and what limits it.

Trial layer: the same policies, new trials. Policy layer: new policies, the rates taken as they are. Knows only joined rows of rates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from worldsim import statistics
from worldsim.report.layers import policy_layer
from worldsim.report.results import LEVEL, rate_agreement

DRAWS = 20_000
Rows = Sequence[Mapping[str, Any]]


def agreement_of(rows: Rows) -> dict[str, Any]:
    """Measures over the joined policies, both layers, and the noise ceiling; what so few policies do not define is None."""
    sides = {side: [row[side]["success_rate"] for row in rows] for side in ("simulated", "real")}
    measures, several = rate_agreement(**sides), len(rows) > 1
    line = statistics.regression_line(**sides) if several else None
    return {
        "policies": len(rows),
        **measures,
        "kendall": statistics.kendall(**sides) if several else None,
        "mmrv_bound": statistics.mmrv_bound(real=sides["real"]) if several else None,
        "slope": line and line.slope,
        "intercept": line and line.intercept,
        "trial_layer": _trial_layer(rows),
        "policy_layer": _policy_layer(sides, [row["name"] for row in rows]),
        "noise_ceiling": _ceiling(rows),
        "paired": None,
    }


def counts_of(rows: Rows, side: str) -> list[tuple[int, int]] | None:
    """(successes, trials) of every policy; None where the trials of some are not known.

    A rate that no whole count gives, as a misprint or a sum of half successes, stands for the nearest one, as in SIMPLER's own test.
    """
    counts = [(row[side]["successes"], row[side]["success_rate"], row[side]["scored"]) for row in rows]
    if any(trials is None for *_, trials in counts):
        return None
    return [(round(rate * trials) if successes is None else successes, trials) for successes, rate, trials in counts]


def _trial_layer(rows: Rows) -> dict[str, Any] | None:
    """Median and range of every measure over posterior draws of both sides' rates; None where the trials of some rate are not known."""
    counts = {side: counts_of(rows, side) for side in ("simulated", "real")}
    if len(rows) < 2 or None in counts.values():
        return None
    return {name: band._asdict() for name, band in statistics.trial_layer(**counts, level=LEVEL, draws=DRAWS).items()}


def _policy_layer(sides: Mapping[str, Sequence[float]], names: Sequence[str]) -> dict[str, Any] | None:
    """What other policies might have shown of r, and the range of MMRV with one policy left out; None for a single policy."""
    layer = policy_layer(names, **sides, level=LEVEL)
    left = statistics.drop_one(**sides, measure=statistics.mmrv) if len(names) > 3 else None
    return layer and {**layer, "drop_one_mmrv": left and [min(left), max(left)]}


def _ceiling(rows: Rows) -> dict[str, Any] | None:
    """What a perfect simulator would reach with these trials; None where the trials of some policy are not known."""
    trials = {side: [row[side]["scored"] for row in rows] for side in ("simulated", "real")}
    if len(rows) < 2 or None in (*trials["simulated"], *trials["real"]):
        return None
    ceiling = statistics.noise_ceiling([row["real"]["success_rate"] for row in rows], trials["real"], trials["simulated"])
    return {"pearson": ceiling.pearson._asdict(), "mmrv": ceiling.mmrv._asdict()}
