"""Barnard's test by enumeration: of one table, and which of all tables it rejects. Knows trial counts, and nothing of planning."""

from functools import lru_cache

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from scipy.stats import binom, norm

EXACT_UP_TO = 200  # trials of either side; the pooled z test beyond
RATES = np.sin(np.linspace(0, np.pi / 4, 101)[1:]) ** 2  # common rates tried, up to 1/2, closest near 0; those above mirror them
SLACK = 1e-9  # statistics that differ by rounding are equal


@lru_cache(maxsize=64)
def rejected(first: int, second: int, alpha: float) -> np.ndarray:
    """Whether Barnard's two-sided test of size alpha rejects, bool `[first + 1, second + 1]` over the successes of each.

    Tables are ordered by the pooled z statistic, and rejected from the value on that keeps the probability of a rejection at or below
    alpha at every common rate of a grid of 100. Beyond 200 trials of either side the limit is the normal quantile.
    """
    statistic = np.abs(_pooled_z(first, second))
    if max(first, second) > EXACT_UP_TO:
        return statistic >= norm.isf(alpha / 2)
    values, place = np.unique(np.round(statistic / SLACK).ravel(), return_inverse=True)
    ways = _log_ways(first)[:, None] + _log_ways(second)
    successes = np.add.outer(np.arange(first + 1), np.arange(second + 1)).ravel()
    size = np.zeros(len(values))
    for rate in RATES:
        chance = np.exp(ways.ravel() + successes * np.log(rate) + (first + second - successes) * np.log1p(-rate))
        size = np.maximum(size, np.bincount(place, chance)[::-1].cumsum()[::-1])  # P(statistic >= value)
    return (size <= alpha)[place].reshape(statistic.shape)


def enumerated_p_value(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Barnard's two-sided p value: the largest probability of a statistic as large, over common rates; time grows as n^2.

    The best of a grid of 100 rates is refined between its neighbours. Tables whose statistics differ by rounding only are tied, which
    scipy 1.17 overlooks: of 1 of 1 beside 1 of 3 it says 5/16, where p is 1/2.

    Args:
        first: (successes, trials).
        second: (successes, trials).
    """
    statistic = np.abs(_pooled_z(first[1], second[1]))
    extreme = (statistic >= statistic[first[0], second[0]] - SLACK).astype(float)

    def tail(rates: np.ndarray) -> np.ndarray:
        one, other = (binom.pmf(np.arange(trials + 1), trials, rates[:, None]) for _, trials in (first, second))  # [rate, k]
        return np.sum((one @ extreme) * other, axis=1)

    tails = tail(RATES)
    place = int(tails.argmax())
    ends = RATES[max(place - 1, 0)], RATES[min(place + 1, len(RATES) - 1)]
    refined = minimize_scalar(lambda rate: -tail(np.array([rate]))[0], bounds=ends, method="bounded")
    return float(min(max(tails[place], -refined.fun), 1.0))


def z_test(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p value of the pooled z test, which Barnard's becomes with many trials."""
    pooled = (first[0] + second[0]) / (first[1] + second[1])
    spread = (pooled * (1 - pooled) * (1 / first[1] + 1 / second[1])) ** 0.5
    return float(2 * norm.sf(abs(first[0] / first[1] - second[0] / second[1]) / spread)) if spread > 0 else 1.0


def _pooled_z(first: int, second: int) -> np.ndarray:
    k, m = np.arange(first + 1)[:, None], np.arange(second + 1)[None, :]
    pooled = (k + m) / (first + second)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / first + 1 / second))
    return np.divide(k / first - m / second, spread, out=np.zeros(spread.shape), where=spread > 0)


def _log_ways(trials: int) -> np.ndarray:
    k = np.arange(trials + 1)
    return gammaln(trials + 1) - gammaln(k + 1) - gammaln(trials - k + 1)
