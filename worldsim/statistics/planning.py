"""How many trials: for an interval so narrow, for a difference so small, and what more of them would buy. Knows rates, and no price."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import betabinom, binom, norm

from worldsim.errors import InvalidInput
from worldsim.statistics.checks import check_counts, check_level, check_rate
from worldsim.statistics.exact_region import rejected
from worldsim.statistics.intervals import wilson_interval

MOST = 10**7  # trials that a plan may ask for
EXACT_UP_TO = 200  # trials each, whose tables are all enumerated
NOTHING = 1e-300  # rates up to it count as 0: scipy's probabilities overflow there


class MoreTrials(NamedTuple):
    """The expected width of each policy's interval `[P]`, and for each pair of places the chance that it is told apart."""

    widths: tuple[float, ...]
    separated: dict[tuple[int, int], float]


def trials_for_width(rate: float, width: float, level: float = 0.95) -> int:
    """The fewest trials whose Wilson interval at this observed rate is at most so wide from end to end.

    Raises:
        InvalidInput: a rate outside [0, 1], or a width or level outside (0, 1).
    """
    check_rate(rate)
    check_level(level)
    if not 0 < width < 1:
        raise InvalidInput(f"width is {width}, expected a number between 0 and 1 such as 0.2, from end to end")
    return _fewest(lambda trials: _width(rate, trials, level) <= width)


def width_after(successes: int, trials: int, more: int, level: float = 0.95) -> float:
    """The expected width of the Wilson interval after `more` trials: the mean over what they may show, given what is known.

    The new successes follow the beta-binomial distribution of the posterior Beta(1 + k, 1 + n - k). With 0 of 0 nothing is known yet.

    Raises:
        InvalidInput: counts or a level out of range.
    """
    _check_so_far(successes, trials, more)
    chances = _predictive(successes, trials, more)
    widths = [_width((successes + new) / (trials + more), trials + more, level) for new in range(more + 1)]
    return float(chances @ widths)


def power_of_difference(first: float, second: float, trials: int, level: float = 0.95) -> float:
    """The probability that so many trials each tell two policies of these true rates apart, by Barnard's two-sided test.

    Up to 200 trials each exactly, by enumeration of all tables; beyond that by the normal approximation of the pooled test,
    `Phi((|p - q| - z sqrt(2 m (1 - m) / n)) / sqrt((p (1 - p) + q (1 - q)) / n))` with m the mean of the rates.

    Raises:
        InvalidInput: a rate outside [0, 1], or trials or level out of range.
    """
    check_rate(first)
    check_rate(second)
    check_counts(0, trials)
    check_level(level)
    if trials > EXACT_UP_TO:
        return _normal_power(first, second, trials, level)
    k = np.arange(trials + 1)
    one, other = (binom.pmf(k, trials, rate if rate > NOTHING else 0.0) for rate in (first, second))
    chances = np.outer(one, other)
    return float(chances[rejected(trials, trials, 1 - level)].sum())


def trials_for_difference(first: float, second: float, power: float = 0.8, level: float = 0.95) -> int:
    """The fewest trials of each policy with which a difference of these true rates is found with this probability.

    By `power_of_difference`: exact for Barnard's test up to 200 trials each, the normal approximation beyond. Exact power rises in
    small steps back and forth, so the number returned is enough, one fewer is not, and now and then a few fewer would be again.

    Raises:
        InvalidInput: rates, power or level out of range, or rates that are equal, which no number of trials tells apart.
    """
    check_level(power)
    if first == second:
        raise InvalidInput(f"rates {first} and {second} are equal; no number of trials tells them apart, give two different rates")
    return _fewest(lambda trials: power_of_difference(first, second, trials, level) >= power)


def what_more_trials_buy(successes: Sequence[int], trials: Sequence[int], more: int, level: float = 0.95) -> MoreTrials:
    """What `more` trials of every policy would buy, given their results so far.

    Both are means over what the new trials may show, drawn from the posterior Beta(1 + k, 1 + n - k) of each policy. A pair is told
    apart when Barnard's two-sided test rejects (beyond 200 trials of either the pooled z test, its large-sample form); correction for
    many pairs comes on top.

    Args:
        successes: of each policy `[P]`.
        trials: of each policy `[P]`; 0 of 0 is a policy not yet tried.
        more: new trials of each, 0 or more.
        level: of the intervals and the test.

    Raises:
        InvalidInput: sides of different length, or counts or a level out of range.
    """
    if len(successes) != len(trials):
        raise InvalidInput(f"successes of {len(successes)} policies and trials of {len(trials)}, expected as many")
    widths = tuple(width_after(k, n, more, level) for k, n in zip(successes, trials, strict=True))
    chances = [_predictive(k, n, more) for k, n in zip(successes, trials, strict=True)]
    separated = {}
    for i, j in combinations(range(len(trials)), 2):
        region = rejected(trials[i] + more, trials[j] + more, 1 - level)[successes[i] :, successes[j] :]
        separated[i, j] = float(chances[i] @ region[: more + 1, : more + 1] @ chances[j])
    return MoreTrials(widths, separated)


def _fewest(enough: Callable[[int], bool]) -> int:
    """Trials that are enough where one fewer are not, by doubling and halving."""
    high = 1
    while not enough(high):
        high *= 2
        if high > MOST:
            raise InvalidInput(f"more than {MOST:,} trials would be needed; ask for less")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _width(rate: float, trials: int, level: float) -> float:
    low, high = wilson_interval(rate * trials, trials, level)
    return high - low


def _predictive(successes: int, trials: int, more: int) -> np.ndarray:
    """The probability of every number of new successes `[more + 1]`."""
    return betabinom.pmf(np.arange(more + 1), more, 1 + successes, 1 + trials - successes)


def _check_so_far(successes: int, trials: int, more: int) -> None:
    if not (0 <= successes <= trials and more >= 0 and trials + more >= 1):
        raise InvalidInput(
            f"{successes} successes of {trials} trials and {more} more; give 0 <= successes <= trials and at least one trial"
        )


def _normal_power(first: float, second: float, trials: int, level: float) -> float:
    mean, z = (first + second) / 2, norm.isf((1 - level) / 2)
    spread = np.sqrt(max(first * (1 - first) + second * (1 - second), 1e-12) / trials)
    return float(norm.cdf((abs(first - second) - z * np.sqrt(2 * mean * (1 - mean) / trials)) / spread))
