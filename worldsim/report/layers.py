"""How sure an agreement is, in two layers kept apart: trials drawn anew for the same policies, and other policies. Reads no files."""

from collections.abc import Mapping, Sequence
from typing import Any

from worldsim import statistics


def line(*, simulated: Sequence[float], real: Sequence[float]) -> dict[str, float] | None:
    """Slope and intercept of real rates on simulated ones; None for a single policy, or where all simulated rates are equal."""
    found = statistics.regression_line(simulated=simulated, real=real) if len(real) > 1 else None
    return found and found._asdict()


def trial_layer(policies: Sequence[Mapping[str, Any]], level: float) -> dict[str, Any] | None:
    """Where each measure would lie if these policies were run again, from rows of results.json with both rates; None for a single one."""
    if len(policies) < 2:
        return None
    simulated = [(each["successes"], each["scored"]) for each in policies]
    real = [(each["real"]["successes"], each["real"]["scored"]) for each in policies]
    return {name: band._asdict() for name, band in statistics.trial_layer(simulated=simulated, real=real, level=level).items()}


def policy_layer(names: Sequence[str], *, simulated: Sequence[float], real: Sequence[float], level: float) -> dict[str, Any] | None:
    """How far Pearson's r carries to other policies; None for a single policy.

    Fisher's z interval (None below 4 policies), a one-sided permutation test, and from 4 policies on the range of r with one of them left
    out (of three, two would be left, and their r is 1 or -1).
    """
    if len(names) < 2:
        return None
    sides = {"simulated": simulated, "real": real}
    interval = statistics.fisher_z_interval(statistics.pearson(**sides), len(names), level)
    left = statistics.drop_one(**sides) if len(names) > 3 else None
    return {
        "pearson_interval": interval and list(interval),
        "permutation": statistics.permutation_test(**sides)._asdict(),
        "drop_one": left and {"low": min(left), "high": max(left), "without": names[left.index(min(left))]},
    }
