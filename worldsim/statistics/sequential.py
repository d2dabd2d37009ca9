"""Two policies compared pair by pair, looked at after each, stopped when it is clear. Knows outcomes and no reason for stopping early.

Turner and Gruenwald's e-process for two Bernoulli streams (Turner, Ly and Gruenwald 2024, arXiv 2106.02693): a bettor against "the
first succeeds no less often than the second" whose wealth stays below 1/alpha for ever with probability 1 - alpha, whatever the two
rates are, if that is true. One bettor runs in each direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isnan
from typing import NamedTuple

import numpy as np
from scipy.special import xlog1py, xlogy

from worldsim.errors import InvalidInput
from worldsim.statistics.checks import check_level

CONTINUE, FIRST, SECOND = "continue", "first better", "second better"


def log_e_process(lesser: np.ndarray, greater: np.ndarray) -> np.ndarray:
    """The log e-value after every pair for "the lesser succeeds less often than the greater": outcomes `[..., T]` to `[..., T]`.

    Running means `p = (1 + k) / (3 + n)` and `q = (2 + k) / (3 + n)` of the pairs before (so 1/3 and 2/3 at first). Where `p < q` a pair
    multiplies by `f_p(x) f_q(y) / (f_m(x) f_m(y))` with m their mean; elsewhere by 1.
    """
    pairs = np.arange(lesser.shape[-1])
    p, q = ((prior + np.cumsum(side, axis=-1) - side) / (3 + pairs) for prior, side in ((1, lesser), (2, greater)))
    return np.cumsum(_log_factor(p, q, lesser, greater), axis=-1)


def _log_factor(p: np.ndarray | float, q: np.ndarray | float, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
    middle = (p + q) / 2
    bet = _log_likelihood(p, x) + _log_likelihood(q, y) - _log_likelihood(middle, x) - _log_likelihood(middle, y)
    return np.where(p < q, bet, 0.0)


def _log_likelihood(rate: np.ndarray | float, outcome: np.ndarray | float) -> np.ndarray:
    return xlogy(outcome, rate) + xlog1py(1 - outcome, -rate)


class Advice(NamedTuple):
    """Whether to go on, and about how many more pairs it would take at the present rates; 0 when decided, inf where none would do."""

    decision: str
    more_pairs: float
    text: str


@dataclass(frozen=True)
class SequentialComparison:
    """What a comparison knows after some pairs. Begin with `SequentialComparison()`, and take a pair with `after`.

    A decision stands once made: e-values may fall again, the guarantee does not. Whichever rates are true, a false decision is ever made
    with probability at most 1 - level (each direction at half of it), however often it is looked at and for whatever reason it stops.

    Args:
        level: of confidence.
        pairs: so far.
        first_successes: of the first policy.
        second_successes: of the second.
        log_first: log e-value for "the first is better".
        log_second: log e-value for "the second is better".
        decision: "continue", "first better" or "second better".
    """

    level: float = 0.95
    pairs: int = 0
    first_successes: int = 0
    second_successes: int = 0
    log_first: float = 0.0
    log_second: float = 0.0
    decision: str = CONTINUE

    def __post_init__(self) -> None:
        check_level(self.level)

    @property
    def e_first(self) -> float:
        """The e-value for "the first is better"."""
        return float(np.exp(self.log_first))

    @property
    def e_second(self) -> float:
        """The e-value for "the second is better"."""
        return float(np.exp(self.log_second))

    @property
    def limit(self) -> float:
        """The e-value that decides: 2 / (1 - level), half the error for either direction."""
        return 2 / (1 - self.level)

    def after(self, first: float, second: float) -> "SequentialComparison":
        """With one more pair of outcomes, each 0 or 1.

        Raises:
            InvalidInput: an outcome other than 0 or 1.
        """
        if first not in (0, 1) or second not in (0, 1):
            raise InvalidInput(f"outcomes {first} and {second} must be 0 or 1; leave out pairs with one unscored")
        log_first = self.log_first + self._gain(self.second_successes, self.first_successes, second, first)
        log_second = self.log_second + self._gain(self.first_successes, self.second_successes, first, second)
        return replace(
            self,
            pairs=self.pairs + 1,
            first_successes=self.first_successes + int(first),
            second_successes=self.second_successes + int(second),
            log_first=log_first,
            log_second=log_second,
            decision=self._decided(log_first, log_second),
        )

    def after_all(self, first: Sequence[float], second: Sequence[float]) -> "SequentialComparison":
        """With more pairs, in the order in which they were run; pairs with a NaN are left out.

        Raises:
            InvalidInput: sides of different length, or outcomes other than 0, 1 and NaN.
        """
        if len(first) != len(second):
            raise InvalidInput(f"{len(first)} and {len(second)} outcomes, expected one of each per pair")
        state = self
        for x, y in zip(first, second, strict=True):
            state = state if isnan(x) or isnan(y) else state.after(x, y)
        return state

    def advice(self) -> Advice:
        """Whether to stop, in words; and how many more pairs the present rates would need.

        The estimate divides what the leader's log e-value lacks by its gain per pair were the running rates the true ones,
        `KL(p, m) + KL(q, m)` with m their mean. It leaves out what learning costs, so it is too low early on.
        """
        if self.decision != CONTINUE:
            return Advice(self.decision, 0, f"stop: {self.decision} after {self.pairs} pairs, at level {self.level:g}")
        more = self._more_pairs()
        if more == inf:
            return Advice(CONTINUE, inf, "continue: neither leads, so no number of pairs at the present rates would decide")
        return Advice(CONTINUE, more, f"continue: about {more:g} more pairs at the present rates")

    def _gain(self, lesser: int, greater: int, x: float, y: float) -> float:
        return float(_log_factor((1 + lesser) / (3 + self.pairs), (2 + greater) / (3 + self.pairs), x, y))

    def _decided(self, log_first: float, log_second: float) -> str:
        if self.decision != CONTINUE:
            return self.decision
        ahead = max(log_first, log_second) >= np.log(self.limit)
        return (FIRST if log_first > log_second else SECOND) if ahead else CONTINUE

    def _more_pairs(self) -> float:
        low, high = sorted((1 + k) / (2 + self.pairs) for k in (self.first_successes, self.second_successes))
        middle = (low + high) / 2
        gain = sum(rate * np.log(rate / middle) + (1 - rate) * np.log((1 - rate) / (1 - middle)) for rate in (low, high))
        lacking = np.log(self.limit) - max(self.log_first, self.log_second)
        return float(np.ceil(lacking / gain)) if gain > 0 else inf
