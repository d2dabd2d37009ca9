"""Two policies on unrelated trials: tests, an interval for the difference, and how probably one is better. Knows only their counts.

For policies that shared their starts, `mcnemar_exact` and `paired_bootstrap` know more.
"""

import numpy as np
from scipy.special import betaln
from scipy.stats import barnard_exact, boschloo_exact

from worldsim.statistics.checks import check_counts
from worldsim.statistics.intervals import Interval, wilson_interval


def barnard(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p value of Barnard's unconditional exact test for "both succeed equally often"; stronger than Fisher's at small n.

    By scipy: the pooled statistic, maximised over the common rate (Barnard 1947). Where all trials end alike p is 1.

    Args:
        first: (successes, trials).
        second: (successes, trials).

    Raises:
        InvalidInput: counts out of range.
    """
    table = _table(first, second)
    return 1.0 if table.any(axis=1).sum() < 2 else float(min(barnard_exact(table).pvalue, 1.0))


def boschloo(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p value of Boschloo's unconditional exact test, uniformly stronger than Fisher's (Boschloo 1970; by scipy).

    Raises:
        InvalidInput: as `barnard`.
    """
    table = _table(first, second)
    return 1.0 if table.any(axis=1).sum() < 2 else float(min(boschloo_exact(table).pvalue, 1.0))


def newcombe_interval(first: tuple[int, int], second: tuple[int, int], level: float = 0.95) -> Interval:
    """Interval for the rate of the first less that of the second, from Wilson's ends (Newcombe 1998, Statistics in Medicine 17, method 10).

    With rates p, q and Wilson ends (l, u), (m, v): `p - q - sqrt((p - l)^2 + (v - q)^2)` to `p - q + sqrt((u - p)^2 + (q - m)^2)`.

    Raises:
        InvalidInput: counts or a level out of range.
    """
    one, other = wilson_interval(*first, level), wilson_interval(*second, level)
    p, q = first[0] / first[1], second[0] / second[1]
    return Interval(p - q - float(np.hypot(p - one.low, other.high - q)), p - q + float(np.hypot(one.high - p, q - other.low)))


def probability_better(first: tuple[int, int], second: tuple[int, int]) -> float:
    """The posterior probability that the first has the higher rate, from uniform priors and independent trials.

    With `a = 1 + k`, `b = 1 + n - k` of each: `sum_{i < a1} B(a2 + i, b1 + b2) / ((b1 + i) B(1 + i, b1) B(a2, b2))` (closed form for
    whole counts; Cook 2005, exact calculation of beta inequalities).

    Raises:
        InvalidInput: counts out of range.
    """
    for counts in (first, second):
        check_counts(*counts)
    (a1, b1), (a2, b2) = ((1 + k, 1 + n - k) for k, n in (first, second))
    i = np.arange(a1)
    terms = betaln(a2 + i, b1 + b2) - np.log(b1 + i) - betaln(1 + i, b1) - betaln(a2, b2)
    return float(min(np.exp(terms).sum(), 1.0))


def _table(first: tuple[int, int], second: tuple[int, int]) -> np.ndarray:
    """Rows success and failure, columns the policies, as scipy wants it."""
    for counts in (first, second):
        check_counts(*counts)
    return np.array([[k for k, _ in (first, second)], [n - k for k, n in (first, second)]])
