"""How far simulated success rates can be trusted: their agreement with real ones, with intervals and the best value attainable.

One task at a time, in SIMPLER's conventions (Li et al. 2024, arXiv 2405.05941) unless another is named. `simulated` and
`real` are given by keyword, because MMRV changes when they are swapped. Knows nothing of episodes or files.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau, rankdata

from worldsim.errors import InvalidInput
from worldsim.registry import did_you_mean

EPSILON = 1e-8  # SIMPLER's guard against a vanishing variance
TIE_RULES = ("strict_gt", "strict_lt", "sign_product", "any_difference")
GAPS = ("real", "sim")


class Band(NamedTuple):
    """A median between two percentiles: the 5th and the 95th unless a level is named."""

    median: float
    low: float
    high: float


class NoiseCeiling(NamedTuple):
    """What a perfect simulator would reach, given that both sides are estimated from finitely many trials."""

    pearson: Band
    mmrv: Band


def pearson(*, simulated: Sequence[float], real: Sequence[float]) -> float:
    """Linear correlation of the policies' rates `[P]`; 1 is best.

    `sum(s r) / (sqrt(sum s^2 sum r^2) + 1e-8)` of centred rates, so a constant side gives 0 and never NaN; centred sides that
    are equal give 1.

    Raises:
        InvalidInput: fewer than two policies, sides of different length, or a NaN.
    """
    return float(pearson_of(*checked_rates(simulated, real)))


def spearman(*, simulated: Sequence[float], real: Sequence[float]) -> float:
    """Correlation of the policies' ranks; tied rates share their mean rank.

    Raises:
        InvalidInput: as `pearson`.
    """
    simulated, real = checked_rates(simulated, real)
    return float(pearson_of(rankdata(simulated), rankdata(real)))


def kendall(*, simulated: Sequence[float], real: Sequence[float]) -> float:
    """Kendall's tau-b: pairs of policies in the same order less pairs in opposite orders, corrected for ties; 0 for a constant side.

    Raises:
        InvalidInput: as `pearson`.
    """
    simulated, real = checked_rates(simulated, real)
    return float(np.nan_to_num(kendalltau(simulated, real).statistic))


def mmrv(*, simulated: Sequence[float], real: Sequence[float], tie_rule: str = "strict_gt", gap: str = "real") -> float:
    """Mean maximum rank violation: the real rate lost, per policy, by its worst wrongly ordered pair; 0 is best.

    For every policy i the largest `|real_i - real_j|` over all j whose order disagrees, averaged over i (SIMPLER, section IV).

    Args:
        simulated: rates `[P]`.
        real: rates `[P]`.
        tie_rule: when a pair disagrees. "strict_gt": `(s_i > s_j) != (r_i > r_j)`, SIMPLER's code; "strict_lt": the same with
            `<`, the paper's formula; "sign_product": opposite strict orders only, so ties are free; "any_difference": any
            difference between the two orders, so a tie on one side only is charged to both.
        gap: whose rates measure the violation, "real" or "sim".

    Raises:
        InvalidInput: as `pearson`, or an unknown `tie_rule` or `gap`.
    """
    for option, known in ((tie_rule, TIE_RULES), (gap, GAPS)):
        if option not in known:
            raise InvalidInput(f'unknown MMRV convention "{option}"; {did_you_mean(option, known)}')
    return float(mmrv_of(*checked_rates(simulated, real), tie_rule=tie_rule, gap=gap))


def mean_absolute_error(*, simulated: Sequence[float], real: Sequence[float]) -> float:
    """Mean distance between simulated and real rate."""
    simulated, real = checked_rates(simulated, real, fewest=1)
    return float(np.mean(np.abs(simulated - real)))


def bias(*, simulated: Sequence[float], real: Sequence[float]) -> float:
    """Mean of simulated minus real rate: above 0 the simulator is too lenient."""
    simulated, real = checked_rates(simulated, real, fewest=1)
    return float(np.mean(simulated - real))


def regret(*, simulated: Sequence[float], real: Sequence[float]) -> float:
    """Real rate lost by taking the policy that the simulator ranks first; the mean over those it ties at the top."""
    simulated, real = checked_rates(simulated, real, fewest=1)
    return float(np.mean(real.max() - real[simulated == simulated.max()]))


def top1_correct(*, simulated: Sequence[float], real: Sequence[float]) -> bool:
    """Whether every policy that the simulator ranks first is really a best one: a regret of 0."""
    return regret(simulated=simulated, real=real) == 0


def phi(simulated: Sequence[float], real: Sequence[float]) -> float | None:
    """Correlation of two 0/1 outcomes over paired episodes `[n]`: does the imagined episode end like its real twin?

    Pairs with a NaN are left out. None where it is undefined, that is where one side never varies.

    Raises:
        InvalidInput: outcomes of different length or other than 0, 1 and NaN.
    """
    value = float(phi_of(np.sum(contingency(*checked_outcomes(simulated, real, axes=1)), axis=-1)))
    return None if np.isnan(value) else value


def noise_ceiling(
    rates: Sequence[float], real_trials: int | Sequence[int], simulated_trials: int | Sequence[int], seed: int = 0, draws: int = 4000
) -> NoiseCeiling:
    """What r and MMRV a perfect simulator reaches: both sides are independent binomial draws from the same true `rates`.

    No simulator can be told from a perfect one inside this range, and none should be blamed for staying below 1.

    Args:
        rates: true success rates `[P]`, in practice the real ones.
        real_trials: real episodes of each policy, one number or `[P]`.
        simulated_trials: simulated episodes of each policy, one number or `[P]`.
        seed: of the draws.
        draws: how many.

    Returns:
        Median, 5th and 95th percentile of r and MMRV.

    Raises:
        InvalidInput: fewer than two rates, a rate outside [0, 1], or a trial count below 1.
    """
    rates, _ = checked_rates(rates, rates)
    sides = [np.broadcast_to(np.asarray(trials, dtype=int), rates.shape) for trials in (simulated_trials, real_trials)]
    if min(rates.min(), 1 - rates.max()) < 0 or np.min(sides) < 1:
        raise InvalidInput(
            f"a noise ceiling needs rates in [0, 1] and trials of at least 1, got {rates.tolist()} and {[s.tolist() for s in sides]}"
        )
    generator = np.random.default_rng(seed)
    simulated, real = (generator.binomial(trials, rates, size=(draws, len(rates))) / trials for trials in sides)  # [D, P]
    return NoiseCeiling(_band(pearson_of(simulated, real)), _band(mmrv_of(simulated, real)))


def checked_rates(simulated: Sequence[float], real: Sequence[float], fewest: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Both columns of rates as arrays `[P]`.

    Raises:
        InvalidInput: not one finite rate per policy on both sides, or fewer policies than `fewest`.
    """
    simulated, real = np.asarray(simulated, dtype=float), np.asarray(real, dtype=float)
    if simulated.ndim != 1 or simulated.shape != real.shape or len(real) < fewest or not np.isfinite(simulated + real).all():
        shapes = f"{list(simulated.shape)} and {list(real.shape)}"
        raise InvalidInput(
            f"simulated and real rates have shapes {shapes}, expected one finite rate per policy on both sides, at least {fewest}"
        )
    return simulated, real


def checked_outcomes(simulated: Sequence[float], real: Sequence[float], axes: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of both sides as arrays of so many axes.

    Raises:
        InvalidInput: of different shape, or other than 0, 1 and NaN.
    """
    simulated, real = np.asarray(simulated, dtype=float), np.asarray(real, dtype=float)
    if simulated.ndim != axes or simulated.shape != real.shape or (axes == 2 and simulated.size == 0):
        shapes = f"{list(simulated.shape)} and {list(real.shape)}"
        raise InvalidInput(f"simulated and real outcomes have shapes {shapes}, expected the same on both sides, with {axes} axes")
    if not all((np.isnan(side) | np.isin(side, (0, 1))).all() for side in (simulated, real)):
        raise InvalidInput("outcomes must be 0, 1 or NaN for unscored; threshold scores first")
    return simulated, real


def pearson_of(simulated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Correlation along the last axis: `[..., P]` to `[...]`."""
    s, r = _centred(simulated), _centred(real)
    value = np.sum(s * r, axis=-1) / (np.sqrt(np.sum(s * s, axis=-1) * np.sum(r * r, axis=-1)) + EPSILON)
    return np.where((s == r).all(axis=-1), 1.0, value)


def _centred(rates: np.ndarray) -> np.ndarray:
    """Rates less their mean; exactly 0 where all are equal, which rounding of the mean would spoil."""
    constant = (rates == rates[..., :1]).all(axis=-1, keepdims=True)
    return np.where(constant, 0.0, rates - rates.mean(axis=-1, keepdims=True))


def mmrv_of(simulated: np.ndarray, real: np.ndarray, tie_rule: str = "strict_gt", gap: str = "real") -> np.ndarray:
    """MMRV along the last axis: `[..., P]` to `[...]`."""
    s, r = (side[..., :, None] - side[..., None, :] for side in (simulated, real))  # [..., P, P], row i less column j
    disagree = {
        "strict_gt": (s > 0) != (r > 0),
        "strict_lt": (s < 0) != (r < 0),
        "sign_product": np.sign(s) * np.sign(r) < 0,
        "any_difference": np.sign(s) != np.sign(r),
    }[tie_rule]
    distance = np.abs({"real": r, "sim": s}[gap])
    return np.where(disagree, distance, 0.0).max(axis=-1).mean(axis=-1)


def contingency(simulated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Indicators of (both, only simulated, only real, neither), float `[4, ...]`; all 0 where one side is NaN."""
    s, r = simulated == 1, real == 1
    not_s, not_r = simulated == 0, real == 0
    return np.stack([s & r, s & not_r, not_s & r, not_s & not_r]).astype(float)


def phi_of(table: np.ndarray) -> np.ndarray:
    """Phi of 2 x 2 tables `[4, ...]`; NaN where a margin is empty."""
    both, only_s, only_r, neither = table
    margins = (both + only_s) * (only_r + neither) * (both + only_r) * (only_s + neither)
    safe = np.where(margins > 0, margins, 1.0)
    return np.where(margins > 0, (both * neither - only_s * only_r) / np.sqrt(safe), np.nan)


def _band(values: np.ndarray) -> Band:
    low, median, high = np.percentile(values, (5, 50, 95)).tolist()
    return Band(median, low, high)
