"""Intervals that hold at every look: count, look and go on as often as you like. They know successes and trials, and no plan."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

from worldsim.statistics.checks import check_counts, check_level
from worldsim.statistics.intervals import Interval


def anytime_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """The rates that have not lost a bet against the uniform mixture: with probability `level` it holds the true rate at all looks at once.

    All p with `B(k+1, n-k+1) / (p^k (1-p)^(n-k)) < 1 / (1 - level)` (Robbins 1970, Annals of Mathematical Statistics 41, with the
    uniform prior; Ville's inequality). Wider than Clopper and Pearson's: the price of looking after every rollout.

    Raises:
        InvalidInput: counts or a level out of range.
    """
    check_counts(successes, trials)
    check_level(level)
    evidence = betaln(successes + 1, trials - successes + 1) + np.log(1 - level)

    def above(rate: float) -> float:  # the log of the mixture's wealth less the log of the limit: below 0 inside, convex
        return float(evidence - xlogy(successes, rate) - xlog1py(trials - successes, -rate))

    middle = successes / trials
    low = 0.0 if successes == 0 else _end(above, 0.0, middle)
    high = 1.0 if successes == trials else _end(above, 1.0, middle)
    return Interval(low, high)


def _end(above: Callable[[float], float], outside: float, inside: float) -> float:
    """Where `above` changes sign; at the bare end, where it is infinite, nothing is evaluated."""
    step = 1e-15 if outside < inside else -1e-15
    near = outside + step
    return outside if above(near) < 0 else float(brentq(above, near, inside, xtol=1e-14))
