"""Success rates freed of a judge's errors: what it said, and how often it errs, to a rate whose interval carries both. Knows no episode.

A judge with true positive rate T and false positive rate F says "success" with probability `q = T p + F (1 - p)` of a policy whose true
rate is p, so `p = (q - F) / (T - F)` (Rogan and Gladen 1978). This takes T and F to be the same for every policy.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm

from worldsim.errors import InvalidInput
from worldsim.statistics.intervals import Interval

DRAWS = 4000
CELLS = 400  # of the grid of rates
PRIOR = 0.5  # Jeffreys
WHOLE = Interval(0.0, 1.0)


class Corrected(NamedTuple):
    """A rate without the judge's errors; where the judge tells too little, no value, [0, 1], and the reason."""

    value: float | None
    interval: Interval
    reason: str = ""


@dataclass(frozen=True)
class Labelled:
    """Of `judged` episodes that a judge gave one verdict, `labelled` chosen at random were labelled, `true` of them as successes."""

    true: int
    labelled: int
    judged: int

    def __post_init__(self) -> None:
        if not 0 <= self.true <= self.labelled <= self.judged:
            raise InvalidInput(
                f"{self.true} true of {self.labelled} labelled of {self.judged} judged; give 0 <= true <= labelled <= judged"
            )


class JudgeRates(NamedTuple):
    """How often a judge says "success" of true successes and of true failures, each with its interval; None where undefined."""

    true_positive_rate: float | None
    true_positive_interval: Interval
    false_positive_rate: float | None
    false_positive_interval: Interval


def corrected_rate(
    successes: int, trials: int, *, true_positives: int, positives: int, false_positives: int, negatives: int, level: float = 0.95
) -> Corrected:
    """Rogan and Gladen's rate, with the interval of Lang and Reiczigel, from a judge checked on true successes and true failures.

    Value `(q - F) / (T - F)`, cut to [0, 1]. Interval (Lang and Reiczigel 2014, Preventive Veterinary Medicine 113, 13-22): with
    `q' = (k + z^2/2) / (n + z^2)`, `T' = (tp + 1) / (P + 2)`, `F' = (fp + 1) / (N + 2)`, `J = T' - F'`, `p' = (q' - F') / J`,
    `a = T'(1 - T') / (P + 2)` and `b = F'(1 - F') / (N + 2)`, it is

        p' + 2 z^2 (p' a - (1 - p') b)  -+  z sqrt(q'(1 - q') / (n + z^2) + p'^2 a + (1 - p')^2 b) / J,   cut to [0, 1].

    Args:
        successes: episodes that the judge called a success, of `trials`.
        trials: at least 1.
        true_positives: true successes that it called a success, of `positives`.
        positives: true successes that it was checked on.
        false_positives: true failures that it called a success, of `negatives`.
        negatives: true failures that it was checked on.
        level: confidence level.

    Returns:
        No value and [0, 1] where the check cannot tell the judge from one that guesses: `J` less z standard errors is not above 0.

    Raises:
        InvalidInput: counts or a level out of range.
    """
    if not 0 < level < 1:
        raise InvalidInput(f"level is {level}, expected a number between 0 and 1 such as 0.95")
    for found, of, least in ((successes, trials, 1), (true_positives, positives, 0), (false_positives, negatives, 0)):
        if not (of >= least and 0 <= found <= of):
            raise InvalidInput(f"{found} of {of} is no share; give whole counts with 0 <= part <= whole, and at least one trial")
    z = float(norm.isf((1 - level) / 2))
    t, f = (true_positives + 1) / (positives + 2), (false_positives + 1) / (negatives + 2)
    a, b = t * (1 - t) / (positives + 2), f * (1 - f) / (negatives + 2)
    if t - f - z * (a + b) ** 0.5 <= 0:
        return Corrected(None, WHOLE, _no_better(f"{true_positives} of {positives}", f"{false_positives} of {negatives}"))
    q = (successes + z * z / 2) / (trials + z * z)
    p = float(np.clip((q - f) / (t - f), 0, 1))
    middle = (q - f) / (t - f) + 2 * z * z * (p * a - (1 - p) * b)
    half = z * (q * (1 - q) / (trials + z * z) + p * p * a + (1 - p) ** 2 * b) ** 0.5 / (t - f)
    rates = true_positives / positives, false_positives / negatives
    return Corrected(_rogan_gladen(successes / trials, *rates), _cut(middle - half, middle + half))


def judge_rates_by_verdict(
    *, said_success: Labelled, said_failure: Labelled, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> JudgeRates:
    """A judge's error rates from labels of a sample that was drawn separately among its successes and its failures.

    Such a sample has too many of the rarer verdict, so shares of it are no error rates. With Q the share of all judged episodes called a
    success, g the share of true ones among those called so and h among those called a failure, by Bayes' rule

        T = g Q / (g Q + h (1 - Q)),   F = (1 - g) Q / ((1 - g) Q + (1 - h)(1 - Q)).

    g, h and Q are independent binomial rates. Intervals are quantiles of T and F over draws of all three from their posteriors under
    Jeffreys' prior.
    """
    t, f = _error_rates(*_shares(said_success, said_failure))
    drawn = _error_rates(*_share_draws(said_success, said_failure, draws, np.random.default_rng(seed)))
    return JudgeRates(t, _middle(drawn[0], level), f, _middle(drawn[1], level))


def corrected_rate_by_verdict(
    successes: int, trials: int, *, said_success: Labelled, said_failure: Labelled, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Corrected:
    """Rogan and Gladen's rate of one policy, from labels of a sample that was drawn by the judge's verdict (`judge_rates_by_verdict`).

    The interval is the part of [0, 1] where the posterior density of p is highest, under a uniform prior:
    `mean over draws of (T, F) of (T p + F (1 - p))^k (1 - T p - F (1 - p))^(n - k)`, computed on a grid of p. Unlike quantiles of the
    drawn values it never shrinks to a point where a policy's q leaves [F, T].

    No value where the labels cannot tell the judge from one that guesses: where `T > F` in too few of the draws.

    Raises:
        InvalidInput: counts out of range.
    """
    if not (trials >= 1 and 0 <= successes <= trials):
        raise InvalidInput(f"{successes} successes of {trials} trials is no rate; give 0 <= successes <= trials with at least one trial")
    g, h, q = _shares(said_success, said_failure)
    t, f = _error_rates(*_share_draws(said_success, said_failure, draws, np.random.default_rng(seed)))
    if None in (g, h) or np.mean(t > f) < (1 + level) / 2 or not g > h:
        sides = (f"{side.true} of {side.labelled} labelled" for side in (said_success, said_failure))
        return Corrected(
            None, WHOLE, "the labels cannot tell the judge from one that guesses (true: {} successes, {} failures)".format(*sides)
        )
    return Corrected(_rogan_gladen(successes / trials, *_error_rates(g, h, q)), _densest(successes, trials, t, f, level))


def _densest(successes: int, trials: int, t: np.ndarray, f: np.ndarray, level: float) -> Interval:
    """Ends of the fewest cells of the grid that hold `level` of the posterior of p, with T and F `[D]` integrated out."""
    centres = (np.arange(CELLS) + 0.5) / CELLS
    q = f + centres[:, None] * (t - f)  # [cells, D]
    logs = successes * np.log(q) + (trials - successes) * np.log1p(-q)
    density = np.exp(logs - logs.max()).sum(axis=1)
    order = np.argsort(-density, kind="stable")
    held = order[: np.searchsorted(np.cumsum(density[order]) / density.sum(), level) + 1]
    return Interval(float(held.min() / CELLS), float((held.max() + 1) / CELLS))


def _rogan_gladen(said: float, t: float, f: float) -> float:
    return float(np.clip((said - f) / (t - f), 0, 1))


def _no_better(right: str, wrong: str) -> str:
    return f"the check cannot tell the judge from one that guesses (it called {right} true successes and {wrong} true failures a success)"


def _shares(said_success: Labelled, said_failure: Labelled) -> tuple[float | None, float | None, float]:
    """g, h and Q as they were observed."""
    judged = said_success.judged + said_failure.judged
    if not judged:
        raise InvalidInput("the judge has judged no episode; let it judge the run first")
    g, h = (side.true / side.labelled if side.labelled else None for side in (said_success, said_failure))
    return g, h, said_success.judged / judged


def _share_draws(said_success: Labelled, said_failure: Labelled, draws: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draws `[D]` of g, h and Q."""
    counts = [(side.true, side.labelled - side.true) for side in (said_success, said_failure)]
    return [rng.beta(yes + PRIOR, no + PRIOR, draws) for yes, no in (*counts, (said_success.judged, said_failure.judged))]


def _error_rates(g: Any, h: Any, q: Any) -> tuple[Any, Any]:
    """T and F of numbers or of draws; None where no label says anything of them."""
    if g is None or h is None:
        return None, None
    true, false = g * q + h * (1 - q), (1 - g) * q + (1 - h) * (1 - q)
    return g * q / true if np.all(true) else None, (1 - g) * q / false if np.all(false) else None


def _middle(values: np.ndarray, level: float) -> Interval:
    return Interval(*np.quantile(values, ((1 - level) / 2, (1 + level) / 2)).tolist())


def _cut(low: float, high: float) -> Interval:
    return Interval(float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)))
