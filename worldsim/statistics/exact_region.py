"""All tables of two policies at once: which of them Barnard's test rejects. Knows trial counts, and nothing of what was seen."""

from functools import lru_cache

import numpy as np
from scipy.special import gammaln
from scipy.stats import norm

EXACT_UP_TO = 200  # trials of either side; the pooled z test beyond
RATES = np.linspace(0.005, 0.5, 100)  # common rates tried; those above one half mirror them


@lru_cache(maxsize=64)
def rejected(first: int, second: int, alpha: float) -> np.ndarray:
    """Whether Barnard's two-sided test of size alpha rejects, bool `[first + 1, second + 1]` over the successes of each.

    Tables are ordered by the pooled z statistic, and rejected from the value on that keeps the probability of a rejection at or below
    alpha at every common rate of a grid of 100. Beyond 200 trials of either side the limit is the normal quantile.
    """
    statistic = np.abs(_pooled_z(first, second))
    if max(first, second) > EXACT_UP_TO:
        return statistic >= norm.isf(alpha / 2)
    values, place = np.unique(np.round(statistic, 9).ravel(), return_inverse=True)
    ways = _log_ways(first)[:, None] + _log_ways(second)
    successes = np.add.outer(np.arange(first + 1), np.arange(second + 1)).ravel()
    size = np.zeros(len(values))
    for rate in RATES:
        chance = np.exp(ways.ravel() + successes * np.log(rate) + (first + second - successes) * np.log1p(-rate))
        size = np.maximum(size, np.bincount(place, chance)[::-1].cumsum()[::-1])  # P(statistic >= value)
    return (size <= alpha)[place].reshape(statistic.shape)


def _pooled_z(first: int, second: int) -> np.ndarray:
    k, m = np.arange(first + 1)[:, None], np.arange(second + 1)[None, :]
    pooled = (k + m) / (first + second)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / first + 1 / second))
    return np.divide(k / first - m / second, spread, out=np.zeros(spread.shape), where=spread > 0)


def _log_ways(trials: int) -> np.ndarray:
    k = np.arange(trials + 1)
    return gammaln(trials + 1) - gammaln(k + 1) - gammaln(trials - k + 1)
