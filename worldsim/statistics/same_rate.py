"""Whether one policy succeeds equally often in simulation and in reality. Knows nothing of other policies."""

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2, kruskal

from worldsim.errors import InvalidInput


class KruskalWallis(NamedTuple):
    """The statistic H and its p value."""

    statistic: float
    p_value: float


def kruskal_wallis(*, simulated: tuple[int, int], real: tuple[int, int]) -> KruskalWallis:
    """Kruskal and Wallis' test that simulated and real trials of one checkpoint succeed equally often; SIMPLER's only other test.

    Not corrected for the number of checkpoints. Where all trials end alike H is 0 and p is 1. SIMPLER rebuilds both sides from their rates
    with as many trials as were real.

    Args:
        simulated: (successes, trials).
        real: (successes, trials).

    Raises:
        InvalidInput: counts that are no whole numbers with 0 <= successes <= trials and at least one trial.
    """
    sides = [_outcomes(*counts) for counts in (simulated, real)]
    if len(set(np.concatenate(sides))) == 1:
        return KruskalWallis(0.0, 1.0)
    statistic = max(float(kruskal(*sides).statistic), 0.0)  # rounding may leave it just below 0, where scipy's p value is NaN
    return KruskalWallis(statistic, float(chi2.sf(statistic, 1)))


def _outcomes(successes: int, trials: int) -> np.ndarray:
    if not (trials >= 1 and 0 <= successes <= trials and int(successes) == successes and int(trials) == trials):
        raise InvalidInput(f"{successes} successes of {trials} trials are no counts; give whole numbers, 0 <= successes <= trials")
    return np.repeat((1, 0), (int(successes), int(trials - successes)))
