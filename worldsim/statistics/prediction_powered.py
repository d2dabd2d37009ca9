"""A real success rate made surer by simulation: some real episodes, their simulated twins, and many more simulated ones.

Knows scores in [0, 1] and not where they came from. What it needs: twins start alike, and the extra simulated starts are drawn from the
same distribution as the paired ones. The simulator may be as wrong as it likes: that costs width, never coverage.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from worldsim.errors import InvalidInput
from worldsim.statistics.betting import betting_interval
from worldsim.statistics.checks import check_counts, check_level, scored_pairs, scores
from worldsim.statistics.intervals import wilson_interval

CAUTION = 1.5  # uncorrelated pairs that a correlation is diluted by


class Estimate(NamedTuple):
    """A rate with both ends of its interval, and the weight that simulation was given: 0 is not used, 1 is trusted like a twin."""

    value: float
    low: float
    high: float
    weight: float


def prediction_powered_rate(
    real: Sequence[float],
    paired_simulated: Sequence[float],
    extra_simulated: Sequence[float],
    level: float = 0.95,
    power_tuning: bool = True,  # noqa: FBT001, FBT002
) -> Estimate:
    """The real rate `w mean(extra) + mean(real - w paired)` with its normal interval (Angelopoulos et al. 2023, arXiv 2301.09633).

    Variance `w^2 var(extra)/N + var(real - w paired)/n`, with divisors N and n. Tuned, `w = cov(real, paired) / ((1 + n/N) var(paired and
    extra))` cut to [0, 1] (PPI++, arXiv 2311.01453); else 1. For robots: SureSim, arXiv 2510.04354. Below about 50 pairs, and near rates
    of 0 and 1, the interval is too short: `prediction_powered_wilson` mends that.

    Args:
        real: scores in [0, 1] `[n]`, NaN where unscored; such pairs are left out.
        paired_simulated: of the same starts, in the same order.
        extra_simulated: of other starts `[N]` of the same distribution.
        level: confidence level.
        power_tuning: choose the weight from the data.

    Raises:
        InvalidInput: no pair or no extra score, scores outside [0, 1], sides of different length, or a level out of range.
    """
    check_level(level)
    y, f, extra = (*scored_pairs(real, paired_simulated), scores(extra_simulated))
    weight = _tuned(y, f, extra) if power_tuning else 1.0
    value = weight * extra.mean() + np.mean(y - weight * f)
    error = np.sqrt(weight**2 * extra.var() / len(extra) + np.var(y - weight * f) / len(y))
    half = norm.isf((1 - level) / 2) * error
    return Estimate(float(value), float(value - half), float(value + half), float(weight))


def prediction_powered_wilson(
    real: Sequence[float], paired_simulated: Sequence[float], extra_simulated: Sequence[float], level: float = 0.95
) -> Estimate:
    """The real rate with Wilson's interval at as many trials as simulation makes the real ones worth: the one to print.

    The normal interval of `prediction_powered_rate` is too short for few pairs or extreme rates. Here, with r the correlation of real and
    simulated scores times `n / (n + 1.5)`, below 0 cut to 0, the weight is `w = r sd(real) / sd(paired and extra) / (1 + n/N)`, cut to 1.
    That leaves the share `v = 1 - 2 x r + x^2 (1 + n/N)` of the variance, `x = w sd(paired and extra) / sd(real)`, and where w is not cut,
    `v = 1 - r^2 N/(n + N)`. The rate then has Wilson's interval with `n / v` trials, as survey samples have theirs at the effective sample
    size (Korn and Graubard 1998, Survey Methodology 24). Without correlation it is `wilson_interval` of the real episodes. The 1.5
    keeps a few agreeing pairs from passing for a perfect simulator; it was chosen by simulated coverage
    (`python -m worldsim.experiments.coverage`). For scores that are not 0 or 1 the interval is wider than need be.

    Raises:
        InvalidInput: as `prediction_powered_rate`.
    """
    check_level(level)
    y, f, extra = (*scored_pairs(real, paired_simulated), scores(extra_simulated))
    everything, ratio = np.concatenate([f, extra]), len(y) / len(extra)
    r = _shrunk_correlation(y, f)
    scale = everything.std() / y.std() if r > 0 else 1.0
    weight = min(r / scale / (1 + ratio), 1.0)
    left = 1 - 2 * weight * scale * r + (weight * scale) ** 2 * (1 + ratio)
    value = min(max(float(y.mean() + weight * (extra.mean() - f.mean())), 0.0), 1.0)
    trials = len(y) / left
    return Estimate(value, *wilson_interval(value * trials, trials, level), weight)


def _shrunk_correlation(y: np.ndarray, f: np.ndarray) -> float:
    spread = y.std() * f.std()
    covariance = np.mean((y - y.mean()) * (f - f.mean()))
    return max(float(covariance / spread), 0.0) * len(y) / (len(y) + CAUTION) if spread > 0 else 0.0


def prediction_powered_bounds(
    real: Sequence[float], paired_simulated: Sequence[float], extra_simulated: Sequence[float], level: float = 0.95
) -> Estimate:
    """As `prediction_powered_rate` with weight 1, with coverage of at least `level` at any n and N: use it where a guarantee is claimed.

    The sum of two betting intervals at half the error each: of `real - paired` on [-1, 1], and of the extra simulated scores on [0, 1];
    cut to [0, 1] (SureSim, arXiv 2510.04354). At 20 and 50 pairs it is more than twice as wide as the intervals of the real episodes
    alone, even at a correlation of 0.8.

    Raises:
        InvalidInput: as `prediction_powered_rate`.
    """
    check_level(level)
    y, f, extra = (*scored_pairs(real, paired_simulated), scores(extra_simulated))
    half = 1 - (1 - level) / 2
    gap, mean = betting_interval(y - f, half, low=-1.0), betting_interval(extra, half)
    value = float(extra.mean() + np.mean(y - f))
    return Estimate(value, max(0.0, gap.low + mean.low), min(1.0, gap.high + mean.high), 1.0)


def control_variate_rate(real: Sequence[float], paired_simulated: Sequence[float], simulated_mean: float, level: float = 0.95) -> Estimate:
    """The real rate where the simulated one is known exactly, or from so many episodes that its error is nothing.

    `mean(real) - b (mean(paired) - simulated_mean)` with `b = cov / var(paired)`: the variance shrinks by 1 - rho^2. The interval is the
    regression estimator's, `t_{n-2} sqrt(sum e^2 / (n - 2) / n)` with residuals e (Cochran 1977, Sampling Techniques, chapter 7). Where
    the paired simulated scores never vary b is 0.

    Args:
        real: scores in [0, 1] `[n]`, NaN where unscored.
        paired_simulated: of the same starts, in the same order.
        simulated_mean: the simulated rate over the whole distribution of starts.
        level: confidence level.

    Raises:
        InvalidInput: fewer than three scored pairs, scores out of range, sides of different length, or a level out of range.
    """
    check_level(level)
    y, f = scored_pairs(real, paired_simulated)
    if len(y) < 3 or not 0 <= simulated_mean <= 1:
        raise InvalidInput(f"{len(y)} pairs and a simulated mean of {simulated_mean}, expected at least 3 and a mean from 0 to 1")
    slope = np.mean((y - y.mean()) * (f - f.mean())) / f.var() if f.var() > 0 else 0.0
    value = y.mean() - slope * (f.mean() - simulated_mean)
    residuals = y - y.mean() - slope * (f - f.mean())
    half = t.isf((1 - level) / 2, len(y) - 2) * np.sqrt(residuals @ residuals / (len(y) - 2) / len(y))
    return Estimate(float(value), float(value - half), float(value + half), float(slope))


def real_trials_saved(correlation: float, trials: int, extra_trials: float = np.inf) -> float:
    """Of so many real trials, how many simulation spares: the rest, with simulated twins and extra trials, are as precise as all alone.

    With m pairs and N extra trials the tuned variance is `var/m (1 - rho^2 N/(m + N))`, which `var/trials` equals at
    `m = (T - N + sqrt((T - N)^2 + 4 T N (1 - rho^2))) / 2`; with N endless, `rho^2 T` are spared.

    Args:
        correlation: of real and simulated scores of a start: `phi` for successes. Below 0 nothing is spared.
        trials: real trials T that would be made without simulation.
        extra_trials: simulated trials N beside the twins.

    Raises:
        InvalidInput: a correlation outside [-1, 1], or counts below 1 and 0.
    """
    check_counts(0, trials)
    if not -1 <= correlation <= 1 or not extra_trials >= 0:
        raise InvalidInput(f"correlation {correlation} and {extra_trials} extra trials, expected -1 to 1 and no fewer than 0")
    unexplained = 1 - max(correlation, 0.0) ** 2
    if np.isinf(extra_trials):
        return trials * (1 - unexplained)
    fewer = trials - extra_trials
    return trials - (fewer + float(np.sqrt(fewer**2 + 4 * trials * extra_trials * unexplained))) / 2


def _tuned(y: np.ndarray, f: np.ndarray, extra: np.ndarray) -> float:
    everything = np.concatenate([f, extra])
    spread = everything.var(ddof=1)
    covariance = np.mean((y - y.mean()) * (f - f.mean()))
    return float(np.clip(covariance / ((1 + len(y) / len(extra)) * spread), 0, 1)) if spread > 0 else 0.0
