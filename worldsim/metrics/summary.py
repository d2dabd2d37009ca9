"""How sure a mean over clips is: a bootstrap. Knows nothing of what was measured."""

import numpy as np

from worldsim.statistics import Interval

DRAWS = 2000


def mean_interval(values: np.ndarray, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile bootstrap interval of the mean of independent values `[N]`: 2000 resamples, the same ones for the same seed and N.

    One value alone gives an interval of no width.
    """
    values = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
