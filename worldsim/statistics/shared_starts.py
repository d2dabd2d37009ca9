"""Two policies that met the same starts: their difference by resampling starts. Knows outcomes by start, and no counts.

`mcnemar_exact` is the test of the same thing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from worldsim.statistics.checks import check_level, scored_pairs


class Difference(NamedTuple):
    """The mean score of the first less that of the second, with both ends of its interval, and the starts that both were scored on."""

    value: float
    low: float
    high: float
    starts: int


def paired_bootstrap(first: Sequence[float], second: Sequence[float], level: float = 0.95, draws: int = 4000, seed: int = 0) -> Difference:
    """The difference of mean scores with a percentile bootstrap interval over starts (Efron and Tibshirani 1993, chapter 13).

    A start keeps its pair of outcomes in every resample, so what makes a start hard falls out of the difference. With few starts, or
    where no pair differs, the interval is too short: read it beside `mcnemar_exact`.

    Args:
        first: scores in [0, 1] `[n]`, NaN where unscored; such starts are left out.
        second: scores of the other on the same starts, in the same order.
        level: confidence level.
        draws: resamples.
        seed: of the resampling.

    Raises:
        InvalidInput: sides of different length, no start scored on both, or values out of range.
    """
    check_level(level)
    a, b = scored_pairs(first, second)
    kinds, counts = np.unique(a - b, return_counts=True)  # a resample of starts is a multinomial draw of the differences they show
    drawn = np.random.default_rng(seed).multinomial(len(a), counts / len(a), size=draws) @ kinds / len(a)
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2)).tolist()
    return Difference(float(np.mean(a - b)), low, high, len(a))
