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
        `pearson`, `spearman`, `mmrv`, `bias`, `mean_absolute_error`, `regret`, each as of the function of that name; and
        `top1_probability`: over draws of the simulated rates, the probability that the policy then ranked first really is the best.

    Raises:
        InvalidInput: fewer than two policies, sides of different length, counts or a level out of range.
    """
    check_level(level)
    if len(simulated) != len(real) or len(real) < 2:
        raise InvalidInput(f"counts of {len(simulated)} simulated and {len(real)} real policies, expected both of the same, at least 2")
    generator = np.random.default_rng(seed)
    s, r = (_posterior(side, draws, generator) for side in (simulated, real))  # [D, P]
    chosen = s.argmax(axis=1)
    best = np.bincount(r.argmax(axis=1), minlength=len(real)) / draws  # the probability that each policy really is the best
    values = {
        "pearson": pearson_of(s, r),
        "spearman": pearson_of(rankdata(s, axis=1), rankdata(r, axis=1)),
        "mmrv": mmrv_of(s, r),
        "bias": np.mean(s - r, axis=1),
        "mean_absolute_error": np.mean(np.abs(s - r), axis=1),
        "regret": r.max(axis=1) - np.take_along_axis(r, chosen[:, None], axis=1)[:, 0],
        "top1_probability": best[chosen],
    }
    return {name: _band(value, level) for name, value in values.items()}


def _posterior(side: Sequence[tuple[int, int]], draws: int, generator: np.random.Generator) -> np.ndarray:
    for counts in side:
        check_counts(*counts)
    k, n = np.array(side, dtype=float).T
    return generator.beta(1 + k, 1 + n - k, size=(draws, len(k)))


def _band(values: np.ndarray, level: float) -> Band:
    low, median, high = np.quantile(values, ((1 - level) / 2, 0.5, (1 + level) / 2)).tolist()
    return Band(median, low, high)
