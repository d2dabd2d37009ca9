"""Whether scores are probabilities: of all cases scored near p, is a share p true? Knows nothing of what the cases are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.statistics.intervals import Interval, wilson_interval


class Bin(NamedTuple):
    """The cases with scores in [low, high) (the last bin holds its upper end too): their number, mean score and share that is true."""

    low: float
    high: float
    cases: int
    mean_score: float
    share_true: float
    interval: Interval


class Reliability(NamedTuple):
    """The bins that hold a case; the expected calibration error, 0 to 1; and Brier's score, 0 at best, 0.25 for saying 0.5 always."""

    bins: tuple[Bin, ...]
    ece: float
    brier: float


def reliability(
    scores: Sequence[float], outcomes: Sequence[float], weights: Sequence[float] | None = None, bins: int = 10, level: float = 0.95
) -> Reliability:
    """The reliability curve of scores in [0, 1] against outcomes 0 or 1, all `[n]`.

    ECE is `sum_b w_b |mean score_b - share true_b|` with w_b a bin's share of all weight, Brier's score the mean of `(score - outcome)^2`.
    Intervals are Wilson's.

    Args:
        scores: of each case.
        outcomes: of each case.
        weights: how many cases of the population each stands for; by default one each. Within a bin they should be equal, or the interval,
            which counts cases, is too narrow.
        bins: equally wide bins.
        level: of the intervals.

    Raises:
        InvalidInput: no case, sides of different length, or values out of range.
    """
    score, outcome = np.asarray(scores, dtype=float), np.asarray(outcomes, dtype=float)
    weight = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=float)
    if not len(score) or not score.shape == outcome.shape == weight.shape:
        counts = f"{len(score)} scores, {len(outcome)} outcomes and {len(weight)} weights"
        raise InvalidInput(f"{counts}; give one of each per case, at least one")
    if not (((score >= 0) & (score <= 1)).all() and np.isin(outcome, (0, 1)).all() and (weight > 0).all()):
        raise InvalidInput("scores must lie in [0, 1], outcomes be 0 or 1, and weights be above 0")
    place = np.minimum((score * bins).astype(int), bins - 1)
    held = {index: np.flatnonzero(place == index) for index in np.unique(place).tolist()}
    found = [
        _bin(index / bins, (index + 1) / bins, *(side[rows] for side in (score, outcome, weight)), level) for index, rows in held.items()
    ]
    shares = [weight[rows].sum() / weight.sum() for rows in held.values()]
    gap = sum(share * abs(each.mean_score - each.share_true) for share, each in zip(shares, found, strict=True))
    return Reliability(tuple(found), float(gap), float(np.average((score - outcome) ** 2, weights=weight)))


def _bin(low: float, high: float, score: np.ndarray, outcome: np.ndarray, weight: np.ndarray, level: float) -> Bin:
    means = (float(np.average(side, weights=weight)) for side in (score, outcome))
    return Bin(low, high, len(score), *means, wilson_interval(int(outcome.sum()), len(score), level))
