"""How far an agreement would move with new rollouts of the same policies on the same tasks: the trial layer. Knows nothing of new policies.

Policies not in the panel are the other layer: `fisher_z_interval`, `permutation_test` and `drop_one`.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from worldsim.errors import InvalidInput
from worldsim.statistics.agreement import Band, mmrv_of, pearson_of
from worldsim.statistics.checks import check_counts, check_level


def trial_layer(
    *, simulated: Sequence[tuple[int, int]], real: Sequence[tuple[int, int]], level: float = 0.95, draws: int = 5000, seed: int = 0
) -> dict[str, Band]:
    """The posterior of every agreement measure, given k of n on both sides: medians and central intervals.

    Each rate is drawn from Beta(1 + k, 1 + n - k), its posterior under a uniform prior, on both sides independently, and the measure is
    taken of the drawn rates. The medians of r and MMRV are worse than the point values: noise on both sides makes panels disagree.

    Args:
        simulated: (successes, trials) of each policy `[P]`.
        real: (successes, trials) of each policy `[P]`.
        level: of the central intervals.
        draws: from the posterior.
        seed: of the draws.

    Returns:
        `pearson`, `spearman`, `mmrv`, `bias`, `mean_absolute_error`, `regret`, each as of the function of that name.

    Raises:
        InvalidInput: fewer than two policies, sides of different length, counts or a level out of range.
    """
    check_level(level)
    _check_sides(simulated, real)
    generator = np.random.default_rng(seed)
    s, r = (_posterior(side, draws, generator) for side in (simulated, real))  # [D, P]
    chosen = s.argmax(axis=1)
    values = {
        "pearson": pearson_of(s, r),
        "spearman": pearson_of(rankdata(s, axis=1), rankdata(r, axis=1)),
        "mmrv": mmrv_of(s, r),
        "bias": np.mean(s - r, axis=1),
        "mean_absolute_error": np.mean(np.abs(s - r), axis=1),
        "regret": r.max(axis=1) - np.take_along_axis(r, chosen[:, None], axis=1)[:, 0],
    }
    return {name: _band(value, level) for name, value in values.items()}


def top1_probability(*, simulated: Sequence[tuple[int, int]], real: Sequence[tuple[int, int]], draws: int = 5000, seed: int = 0) -> float:
    """The probability that the policy whose simulated rate is highest really is the best, given k of n real trials.

    That policy is the one observed, so the simulator's own sampling error plays no part; the mean over those tied at the top. Real rates
    are drawn from Beta(1 + k, 1 + n - k).

    Raises:
        InvalidInput: as `trial_layer`.
    """
    _check_sides(simulated, real)
    rates = np.array([k / n for k, n in simulated])
    drawn = _posterior(real, draws, np.random.default_rng(seed))  # [D, P]
    best = np.bincount(drawn.argmax(axis=1), minlength=len(real)) / draws
    return float(best[rates == rates.max()].mean())


def _check_sides(simulated: Sequence[tuple[int, int]], real: Sequence[tuple[int, int]]) -> None:
    if len(simulated) != len(real) or len(real) < 2:
        raise InvalidInput(f"counts of {len(simulated)} simulated and {len(real)} real policies, expected both of the same, at least 2")
    for counts in (*simulated, *real):
        check_counts(*counts)


def _posterior(side: Sequence[tuple[int, int]], draws: int, generator: np.random.Generator) -> np.ndarray:
    k, n = np.array(side, dtype=float).T
    return generator.beta(1 + k, 1 + n - k, size=(draws, len(k)))


def _band(values: np.ndarray, level: float) -> Band:
    low, median, high = np.quantile(values, ((1 - level) / 2, 0.5, (1 + level) / 2)).tolist()
    return Band(median, low, high)
