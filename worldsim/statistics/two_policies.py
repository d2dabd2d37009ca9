"""Two policies on unrelated trials: tests, an interval for the difference, and how probably one is better. Knows only their counts.

For policies that shared their starts, `mcnemar_exact` and `paired_bootstrap` know more.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import betaln
from scipy.stats import barnard_exact, boschloo_exact

from worldsim.errors import InvalidInput
from worldsim.registry import did_you_mean
from worldsim.statistics.checks import check_counts
from worldsim.statistics.exact_region import enumerated_p_value, z_test
from worldsim.statistics.intervals import Interval, wilson_interval

ALTERNATIVES = ("two-sided", "less", "greater")
SCIPY_UP_TO, EXACT_UP_TO = 100, 1000  # trials of either policy


def barnard(first: tuple[int, int], second: tuple[int, int], alternative: str = "two-sided") -> float:
    """The p value of Barnard's unconditional exact test for "both succeed equally often"; stronger than Fisher's at small n.

    The pooled z statistic, its tail maximised over the common rate (Barnard 1947). By scipy; two-sided above 100 trials of either policy,
    where scipy takes seconds, by `enumerated_p_value`, and above 1000 by its normal limit. scipy overlooks some ties and then says a
    slightly smaller p: of 805 tables of 5 to 15 trials in 89, with another verdict at 5 % in 2 (.048 for .051). Where all trials end
    alike p is 1.

    Args:
        first: (successes, trials).
        second: (successes, trials).
        alternative: "two-sided"; or, fixed before looking, "less" or "greater": what the first rate may be, set beside the second.

    Raises:
        InvalidInput: counts out of range, or an unknown alternative.
    """
    most = max(first[1], second[1])
    if most <= SCIPY_UP_TO or alternative != "two-sided":
        return _p_value(barnard_exact, first, second, alternative)
    for counts in (first, second):
        check_counts(*counts)
    return z_test(first, second) if most > EXACT_UP_TO else enumerated_p_value(first, second)


def boschloo(first: tuple[int, int], second: tuple[int, int], alternative: str = "two-sided") -> float:
    """The p value of Boschloo's unconditional exact test, uniformly stronger than Fisher's (Boschloo 1970; by scipy).

    Raises:
        InvalidInput: as `barnard`.
    """
    return _p_value(boschloo_exact, first, second, alternative)


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


def _p_value(test: Callable[..., Any], first: tuple[int, int], second: tuple[int, int], alternative: str) -> float:
    if alternative not in ALTERNATIVES:
        raise InvalidInput(f'unknown alternative "{alternative}"; {did_you_mean(alternative, ALTERNATIVES)}')
    for counts in (first, second):
        check_counts(*counts)
    table = np.array([[k for k, _ in (first, second)], [n - k for k, n in (first, second)]])
    if table.any(axis=1).sum() < 2:  # all trials end alike
        return 1.0
    return float(min(test(table, alternative=alternative).pvalue, 1.0))
