"""Answering only where a signal is low: how well the signal tells what is wrong, and up to where the rest can be guaranteed.

Knows numbers only: `values` of a signal, high where something is likely to be wrong, and whether it was.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import beta, rankdata

from worldsim.errors import InvalidInput
from worldsim.statistics.agreement import pearson_of
from worldsim.statistics.checks import check_counts, check_level

SHARES = tuple(share / 10 for share in range(1, 11))  # of the rollouts, that a limit may keep


class Told(NamedTuple):
    """How well a signal tells: the value, and both ends of its bootstrap interval (NaN where too few resamples define it)."""

    value: float
    low: float
    high: float


class Kept(NamedTuple):
    """What a limit keeps.

    Attributes:
        limit: values up to this are kept.
        coverage: share of all that is kept.
        kept: how many.
        wrong: how many of these are wrong.
        risk: the share of these.
        bound: what the true risk lies below, for all limits of a curve together at the level asked for.
    """

    limit: float
    coverage: float
    kept: int
    wrong: int
    risk: float
    bound: float


def area_under_curve(values: Sequence[float], wrong: Sequence[bool], level: float = 0.95, draws: int = 2000, seed: int = 0) -> Told:
    """The probability that a wrong one has a higher value than a right one, ties counting half (Hanley and McNeil 1982); .5 tells nothing.

    The interval is a percentile bootstrap over rollouts; resamples without both kinds are left out.

    Raises:
        InvalidInput: columns of different length, one that is not of numbers, or no two kinds.
    """
    x, y = _checked(values, wrong)
    if y.all() or not y.any():
        raise InvalidInput(f"{int(y.sum())} of {len(y)} are wrong; telling them apart needs both kinds")
    return _told(lambda rows: _area(x[rows], y[rows]), len(x), level, draws, seed)


def rank_correlation(values: Sequence[float], errors: Sequence[float], level: float = 0.95, draws: int = 2000, seed: int = 0) -> Told:
    """Spearman's correlation of a signal and an error, 0 where one of them never varies, with a percentile bootstrap over rollouts.

    Raises:
        InvalidInput: columns of different length, fewer than two rows, or something that is not a number.
    """
    x, y = _checked(values, errors)
    return _told(lambda rows: float(pearson_of(rankdata(x[rows]), rankdata(y[rows]))), len(x), level, draws, seed)


def upper_bound(wrong: int, trials: int, level: float = 0.95) -> float:
    """What a rate lies below with this confidence: Clopper and Pearson's one-sided bound, the quantile of Beta(k+1, n-k) (1934).

    It holds also where the trials have rates of their own, of their mean, as long as the bound lies above (k+1)/n: a sum of unequal
    trials is less spread than a binomial one of the same mean (Hoeffding 1956).

    Raises:
        InvalidInput: counts or a level out of range.
    """
    check_counts(wrong, trials)
    check_level(level)
    return 1.0 if wrong == trials else float(beta.ppf(level, wrong + 1, trials - wrong))


def coverage_curve(values: Sequence[float], wrong: Sequence[bool], level: float = 0.95) -> list[Kept]:
    """What limits keep that let through 10, 20, ... 100 % of the rollouts; shares that keep the same are one.

    Every bound is `upper_bound` at a level that leaves its part of the doubt, `(1 - level) / limits` (Bonferroni), so that with the
    confidence asked for they hold together, and any of the limits may be chosen afterwards. This is the selective risk of Geifman and
    El-Yaniv (2017, arXiv 1705.08500) on limits fixed by the signal alone. It holds for rollouts like these: of the same mixture of
    tasks, behaviours and starts.

    Raises:
        InvalidInput: as `rank_correlation`, or a level out of range.
    """
    x, y = _checked(values, wrong)
    check_level(level)
    ordered = np.sort(x)
    limits = list(dict.fromkeys(float(ordered[max(0, round(share * len(x)) - 1)]) for share in SHARES))
    each = 1 - (1 - level) / len(limits)
    return [_kept(x, y.astype(bool), limit, each) for limit in limits]


def choose_limit(curve: Sequence[Kept], target: float) -> Kept | None:
    """The largest limit of a curve that promises a risk of at most `target`; None where there is none.

    Raises:
        InvalidInput: a target that is no share.
    """
    if not 0 < target < 1:
        raise InvalidInput(f"target is {target}, expected a share of wrong ones above 0 and below 1 such as 0.05")
    return max((each for each in curve if each.bound <= target), key=lambda each: each.limit, default=None)


def _kept(values: np.ndarray, wrong: np.ndarray, limit: float, level: float) -> Kept:
    below = wrong[values <= limit]
    kept, errors = len(below), int(below.sum())
    return Kept(limit, kept / len(values), kept, errors, errors / kept, upper_bound(errors, kept, level))


def _area(values: np.ndarray, wrong: np.ndarray) -> float:
    count = int(wrong.sum())
    if count in (0, len(wrong)):
        return float("nan")
    return float((rankdata(values)[wrong.astype(bool)].sum() - count * (count + 1) / 2) / (count * (len(wrong) - count)))


def _told(measure: Callable[[np.ndarray], float], count: int, level: float, draws: int, seed: int) -> Told:
    check_level(level)
    rows = np.random.default_rng(seed).integers(count, size=(draws, count))
    found = np.array([measure(each) for each in rows])
    found = found[np.isfinite(found)]
    low, high = np.quantile(found, ((1 - level) / 2, (1 + level) / 2)).tolist() if len(found) >= draws / 2 else (float("nan"),) * 2
    return Told(measure(np.arange(count)), low, high)


def _checked(values: Sequence[float], others: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(values, float), np.asarray(others, float)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2 or not np.isfinite(x + y).all():
        raise InvalidInput(f"columns of shape {x.shape} and {y.shape}, expected as many finite numbers in both, at least 2")
    return x, y
