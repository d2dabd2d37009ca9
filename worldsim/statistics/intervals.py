"""How sure one number is: k successes in n trials, or a mean of a few values, to an interval. Knows nothing of a second number."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import beta, norm, t

from worldsim.errors import InvalidInput
from worldsim.statistics.checks import check_counts, check_level


class Interval(NamedTuple):
    """Both ends of an interval, inclusive."""

    low: float
    high: float


def wilson_interval(successes: float, trials: float, level: float = 0.95) -> Interval:
    """Wilson's score interval: the rates that a normal test of size 1 - level does not reject. The default in every table.

    Centre `(p + z^2/2n) / (1 + z^2/n)`, half width `z / (1 + z^2/n) * sqrt(p(1-p)/n + z^2/4n^2)` (Wilson 1927).

    Args:
        successes: between 0 and `trials`; need not be whole, so that a rate at an effective number of trials has one too.
        trials: at least 1.
        level: confidence level, inside (0, 1).

    Raises:
        InvalidInput: counts or a level out of range.
    """
    tail = _tail(successes, trials, level)
    z = float(norm.isf(tail))
    rate, spread = successes / trials, z * z / trials
    centre = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (rate * (1 - rate) / trials + spread / (4 * trials)) ** 0.5
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Interval(low, high)


def clopper_pearson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The exact interval: it covers the true rate at least `level` of the time, whatever that rate is. Use it where a guarantee is claimed.

    Quantiles of Beta(k, n-k+1) and Beta(k+1, n-k), with 0 and 1 at the ends (Clopper and Pearson 1934).

    Raises:
        InvalidInput: counts or a level out of range.
    """
    tail, failures = _tail(successes, trials, level), trials - successes
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, failures + 1))
    high = 1.0 if failures == 0 else float(beta.isf(tail, successes + 1, failures))
    return Interval(low, high)


def jeffreys_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The central interval of the posterior under Jeffreys' prior: quantiles of Beta(k+1/2, n-k+1/2), with 0 and 1 at the ends.

    Raises:
        InvalidInput: counts or a level out of range.
    """
    tail, failures = _tail(successes, trials, level), trials - successes
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes + 0.5, failures + 0.5))
    high = 1.0 if failures == 0 else float(beta.isf(tail, successes + 0.5, failures + 0.5))
    return Interval(low, high)


def posterior_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The central interval of the posterior under a uniform prior: quantiles of Beta(k+1, n-k+1). What the violins of a report show.

    With 0 or all successes it leaves out the observed rate itself.

    Raises:
        InvalidInput: counts or a level out of range.
    """
    tail = _tail(successes, trials, level)
    shape = successes + 1, trials - successes + 1
    return Interval(float(beta.ppf(tail, *shape)), float(beta.isf(tail, *shape)))


def student_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval for the mean of a few independent values, such as one per training seed: mean plus or minus t * sd / sqrt(n).

    Raises:
        InvalidInput: fewer than two values, or a level out of range.
    """
    if len(values) < 2:
        raise InvalidInput(f"an interval needs at least 2 values, got {len(values)}")
    check_level(level)
    mean, half = float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5 * t.isf((1 - level) / 2, len(values) - 1))
    return Interval(mean - half, mean + half)


def _tail(successes: float, trials: float, level: float) -> float:
    """The probability left in each tail, once the arguments are known to make sense."""
    check_counts(successes, trials)
    check_level(level)
    return (1 - level) / 2
