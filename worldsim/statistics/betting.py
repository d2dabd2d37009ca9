"""An interval for the mean of bounded scores that needs no shape of their distribution. Knows nothing of what is scored."""

from collections.abc import Callable, Sequence

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.statistics.checks import check_level, scores
from worldsim.statistics.intervals import Interval

CAP = 0.5  # of the stake that could lose everything
HALVINGS = 50  # of [0, 1] in the search for an end


def betting_interval(
    values: Sequence[float], level: float = 0.95, *, sequence: bool = False, low: float = 0.0, high: float = 1.0
) -> Interval:
    """The means that a hedged gambler could not get rich against: exact coverage at any n for independent scores of one mean.

    Waudby-Smith and Ramdas 2024 (JRSS B 86, arXiv 2010.09686), the hedged capital process. With `a = 1 - level`,
    `mu_t = (1/2 + sum x) / (t + 1)`, `var_t = (1/4 + sum (x_i - mu_i)^2) / (t + 1)` and stakes `l_t = sqrt(2 ln(2/a) / (n var_{t-1}))`,
    cut to `1/(2m)` upwards and `1/(2(1-m))` downwards, a mean m stays while
    `max(1/2 prod(1 + l (x - m)), 1/2 prod(1 - l (x - m))) < 1/a` at every t. Both products are monotone in m, so the ends are found by
    bisection. The order of the values matters a little. Where no constant mean fits them (they drift), the two ends change places, and
    the mean of the values is always inside; both only widen.

    Args:
        values: scores `[n]` such as partial credit; NaN is unscored and left out.
        level: confidence level.
        sequence: stakes for looking after every value (`t ln(1 + t)` in place of n), which hold at all looks at once.
        low: the least score possible.
        high: the largest score possible.

    Raises:
        InvalidInput: no score, a score or a level out of range, or an empty range.
    """
    check_level(level)
    if not low < high:
        raise InvalidInput(f"scores from {low} to {high} have no room; give low below high")
    x = (scores(values, low, high) - low) / (high - low)
    stakes, limit = _stakes(x, 1 - level, sequence=sequence), np.log(2 / (1 - level))
    up = _last(lambda mean: _wealth(x, mean, stakes) >= limit)
    down = 1 - _last(lambda mean: _wealth(1 - x, mean, stakes) >= limit)
    ends = sorted((up, down, float(x.mean())))
    return Interval(low + (high - low) * ends[0], low + (high - low) * ends[-1])


def _stakes(x: np.ndarray, alpha: float, *, sequence: bool) -> np.ndarray:
    """The bet before each value, from the values before it: `[n]`."""
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    return np.sqrt(2 * np.log(2 / alpha) / ((t * np.log1p(t) if sequence else len(x)) * before))


def _wealth(x: np.ndarray, mean: float, stakes: np.ndarray) -> float:
    """The largest log wealth reached by betting on values above `mean`, which falls as `mean` rises."""
    capped = np.minimum(stakes, CAP / mean) if mean > 0 else stakes
    return float(np.cumsum(np.log1p(capped * (x - mean))).max())


def _last(rejected: Callable[[float], bool]) -> float:
    """The largest rate up to which all are rejected, to within 2^-50; 0 where none is."""
    inside, outside = 1.0, 0.0
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return outside
