"""How far an agreement over a handful of policies carries to new ones: the policy layer. Knows nothing of trials and their noise."""

from collections.abc import Callable, Sequence
from itertools import permutations
from math import factorial
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from worldsim.errors import InvalidInput
from worldsim.statistics.agreement import pearson
from worldsim.statistics.intervals import Interval

EXACT_UP_TO = 8  # policies, whose 40,320 orders are all tried
DRAWS = 99_999  # random orders of more policies than that
SLACK = 1e-12  # orders that give the same r up to rounding count as reaching it


class PermutationTest(NamedTuple):
    """A one-sided p value and what it was counted from: `hits` of `orders`; `exact` where these are all orders there are."""

    p_value: float
    hits: int
    orders: int
    exact: bool


def fisher_z_interval(r: float, policies: int, level: float = 0.95) -> Interval | None:
    """Interval of a Pearson r over independent policies: `tanh(atanh(r) -+ z / sqrt(policies - 3))` (Fisher 1921).

    None where it is undefined: fewer than 4 policies, or a perfect line.

    Raises:
        InvalidInput: r outside [-1, 1], or a level outside (0, 1).
    """
    if not -1 - SLACK <= r <= 1 + SLACK or not 0 < level < 1:
        raise InvalidInput(f"r is {r} and level {level}; expected r in [-1, 1] and a level between 0 and 1 such as 0.95")
    if policies < 4 or abs(r) >= 1:
        return None
    half = float(norm.isf((1 - level) / 2)) / (policies - 3) ** 0.5
    return Interval(float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))


def permutation_test(*, simulated: Sequence[float], real: Sequence[float], seed: int = 0) -> PermutationTest:
    """How often simulated rates dealt to the policies at random correlate with the real ones at least as well as they do.

    One-sided, by Pearson's r. All orders are tried up to 8 policies, so the least p value of P policies is 1/P!; of more policies,
    random orders are drawn with `seed`, and the order that was observed counts among them.

    Raises:
        InvalidInput: as `pearson`.
    """
    pearson(simulated=simulated, real=real)  # refuses what is no pair of columns of rates
    simulated, centred = np.asarray(simulated, dtype=float), np.asarray(real, dtype=float) - np.mean(real)
    observed, exact = simulated @ centred, len(simulated) <= EXACT_UP_TO  # r grows with this product, whatever the order
    if exact:
        orders = np.array(list(permutations(simulated)))
    else:
        orders = np.random.default_rng(seed).permuted(np.tile(simulated, (DRAWS, 1)), axis=1)
    hits = int(np.sum(orders @ centred >= observed - SLACK)) + (not exact)
    total = factorial(len(simulated)) if exact else DRAWS + 1
    return PermutationTest(hits / total, hits, total, exact)


def drop_one(*, simulated: Sequence[float], real: Sequence[float], measure: Callable[..., float] = pearson) -> tuple[float, ...] | None:
    """The measure without each policy in turn `[P]`; their range says whether one policy carries it. None below three policies.

    Raises:
        InvalidInput: as `measure`.
    """
    measure(simulated=simulated, real=real)
    if len(simulated) < 3:
        return None
    left = [np.delete(np.arange(len(simulated)), index) for index in range(len(simulated))]
    return tuple(measure(simulated=np.asarray(simulated)[keep], real=np.asarray(real)[keep]) for keep in left)
