"""How far raters agree on what they both judged: raw agreement, Cohen's kappa with its interval, Krippendorff's alpha. Knows no labels."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from worldsim.errors import InvalidInput
from worldsim.statistics.intervals import Interval, wilson_interval

NO_SPREAD = 1e-12  # a variance below this is a rounding


class Kappa(NamedTuple):
    """Cohen's kappa with its interval, and the two agreements that it is made of; kappa is None where chance alone would agree always."""

    value: float | None
    interval: Interval | None
    observed: float
    expected: float


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable], level: float = 0.95) -> Kappa:
    """Cohen's kappa of two raters: the share of the agreement beyond chance that they reach; 1 is full agreement, 0 what chance gives.

    `(p_o - p_e) / (1 - p_e)`, with the observed agreement `p_o = sum p_ii` and the chance agreement `p_e = sum p_i. p_.i` (Cohen 1960).
    The interval is kappa plus or minus z times the large-sample standard error for a kappa that need not be 0 (Fleiss, Cohen and Everitt
    1969, Psychological Bulletin 72, 323-327; also Agresti, Categorical Data Analysis):

        n (1 - p_e)^4 var = sum_i p_ii [(1 - p_e) - (p_i. + p_.i)(1 - p_o)]^2
                            + (1 - p_o)^2 sum_{i != j} p_ij (p_.i + p_j.)^2 - (p_o p_e - 2 p_e + p_o)^2

    That error is 0 where the raters never disagree, or one of them gave one answer only, however few cases there are. Then both ends follow
    from Wilson's interval for `p_o`, with `p_e` held fixed. No end leaves [-1, 1].

    Args:
        first: answers of one rater, any number of categories.
        second: answers of the other to the same cases, in the same order.
        level: confidence level, inside (0, 1).

    Raises:
        InvalidInput: no cases, sides of different length, or a level out of range.
    """
    table = _table(first, second)
    cases, shares = table.sum(), table / table.sum()
    rows, columns = shares.sum(1), shares.sum(0)
    observed, expected = float(np.trace(shares)), float(rows @ columns)
    if len(table) == 1:
        return Kappa(None, None, observed, expected)
    value = (observed - expected) / (1 - expected)
    spread = _spread(shares, observed, expected)
    if spread < NO_SPREAD:
        low, high = ((end - expected) / (1 - expected) for end in wilson_interval(int(np.trace(table)), int(cases), level))
    else:
        half = float(norm.isf((1 - level) / 2) * (spread / cases) ** 0.5)
        low, high = value - half, value + half
    return Kappa(value, Interval(max(-1.0, low), min(1.0, high)), observed, expected)


def _spread(shares: np.ndarray, observed: float, expected: float) -> float:
    """The count times the variance of kappa, from the shares `[K, K]` of every pair of answers."""
    rows, columns = shares.sum(1), shares.sum(0)
    agreeing = np.diag(shares) * ((1 - expected) - (rows + columns) * (1 - observed)) ** 2
    off = shares * (columns[:, None] + rows[None, :]) ** 2
    differing = off.sum() - np.trace(off)
    total = agreeing.sum() + (1 - observed) ** 2 * differing - (observed * expected - 2 * expected + observed) ** 2
    return max(float(total), 0.0) / (1 - expected) ** 4


def _table(first: Sequence[Hashable], second: Sequence[Hashable]) -> np.ndarray:
    """How often each pair of answers was given, `[K, K]` over the categories that either used."""
    if len(first) != len(second) or not len(first):
        raise InvalidInput(f"raters gave {len(first)} and {len(second)} answers; give both for the same cases, at least one")
    places = {answer: place for place, answer in enumerate(dict.fromkeys([*first, *second]))}
    table = np.zeros((len(places), len(places)))
    for one, other in zip(first, second, strict=True):
        table[places[one], places[other]] += 1
    return table


def krippendorff_alpha(cases: Sequence[Mapping[str, Hashable]]) -> float | None:
    """Krippendorff's alpha for categories, of any number of raters, of whom some may not have answered; 1 is full agreement, 0 chance.

    `1 - D_o / D_e` from the coincidences of all ordered pairs of answers within a case, each weighted by 1 / (answers - 1) (Krippendorff,
    Content Analysis, chapter on reliability). Cases with one answer do not count. None where no two answers can be paired, or only one
    category was ever used.

    Args:
        cases: each case's answers by rater.
    """
    pairs: dict[tuple[Hashable, Hashable], float] = {}
    for answers in cases:
        for pair in permutations(answers.values(), 2):
            pairs[pair] = pairs.get(pair, 0.0) + 1 / (len(answers) - 1)
    totals: dict[Hashable, float] = {}
    for (one, _), weight in pairs.items():
        totals[one] = totals.get(one, 0.0) + weight
    count = sum(totals.values())
    chance = sum(one * other for one, other in permutations(totals.values(), 2))
    if not chance:
        return None
    return 1 - (count - 1) * sum(weight for (one, other), weight in pairs.items() if one != other) / chance
