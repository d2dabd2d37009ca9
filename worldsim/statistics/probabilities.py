"""From what a judge says to a probability that means what it says, a threshold, and a band in which it had better say nothing."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from worldsim.errors import InvalidInput

WIDEST = 6.0  # the temperature is sought between exp(-6) and exp(6)


class AbstentionBand(NamedTuple):
    """Probabilities in [low, high) are no answer; below is failure, from `high` on success. Empty where both are the threshold."""

    low: float
    high: float


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits are divided by so that they predict the labels best (Guo et al. 2017): 1 leaves them, larger is less sure.

    Labels are drawn in by one imagined success and one failure (Platt 1999), so that logits that divide them without a fault
    do not become certainties.

    Args:
        logits: `[N]`, not sigmoided.
        labels: `[N]`, true or false, both among them.

    Raises:
        InvalidInput: no two kinds of labels, or of another length.
    """
    logits, truth = _checked(logits, labels)
    successes = int(truth.sum())
    targets = np.where(truth, (successes + 1) / (successes + 2), 1 / (len(truth) - successes + 2))

    def surprise(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - targets * scaled))

    return float(np.exp(minimize_scalar(surprise, bounds=(-WIDEST, WIDEST), method="bounded", options={"xatol": 1e-6}).x))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: how far the mean probability of a bin is from its rate of successes, weighted by what is in it.

    Bins are `bins` equal parts of [0, 1] (Naeini et al. 2015).

    Raises:
        InvalidInput: nothing there, or of another length.
    """
    p, truth = np.asarray(probabilities, np.float64), np.asarray(labels, bool)
    if not len(p) or p.shape != truth.shape:
        raise InvalidInput(f"{p.shape} probabilities and {truth.shape} labels, expected as many, and at least one")
    places = np.minimum((p * bins).astype(int), bins - 1)
    return float(sum(abs(p[places == place].sum() - truth[places == place].sum()) for place in np.unique(places)) / len(p))


def log_loss(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """The mean surprise at the labels, in nats, of a judge with these logits: how dear its confident mistakes are.

    Raises:
        InvalidInput: nothing there, or of another length.
    """
    scaled, truth = np.asarray(logits, np.float64) / temperature, np.asarray(labels, bool)
    if not len(scaled) or scaled.shape != truth.shape:
        raise InvalidInput(f"{scaled.shape} logits and {truth.shape} labels, expected as many, and at least one")
    return float(np.mean(np.logaddexp(0, np.where(truth, -scaled, scaled))))


def choose_threshold(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The probability from which on a judgement is "success": the mean of both classes' rates of mistakes is least there.

    Between two neighbouring values all thresholds are alike; the one nearest to one half is taken, over all that are equally good.

    Raises:
        InvalidInput: no two kinds of labels, or of another length.
    """
    p, truth = _checked(probabilities, labels)
    values = np.unique(p)
    missed = np.searchsorted(np.sort(p[truth]), values) / truth.sum()  # successes below each value
    false = 1 - np.searchsorted(np.sort(p[~truth]), values) / (~truth).sum()  # failures from each value on
    mistakes = np.append(missed + false, 1.0)  # the last: above all, where every success is missed
    best = np.flatnonzero(mistakes <= mistakes.min() + 1e-12)
    edges = np.concatenate([[0.0], values, [1.0]])  # threshold i may lie in (edges[i], edges[i + 1]]
    nearest = [_nearest_half(edges[place], edges[place + 1]) for place in best]
    return float(min(nearest, key=lambda value: abs(value - 0.5)))


def choose_band(probabilities: np.ndarray, labels: np.ndarray, threshold: float, most_wrong: float) -> AbstentionBand:
    """The narrowest band around `threshold` outside of which at most `most_wrong` of each answer is wrong.

    Of those at `high` or above at most that share are failures, and of those below `low` at most that share are successes.

    Raises:
        InvalidInput: a share that is none, or labels as in `choose_threshold`.
    """
    if not 0 <= most_wrong < 1:
        raise InvalidInput(f"a share of wrong answers of {most_wrong} is none; give a number from 0 to below 1, such as 0.01")
    p, truth = _checked(probabilities, labels)
    lows = (value for value in (threshold, *np.unique(p[p < threshold])[::-1]) if _wrong(truth[p < value]) <= most_wrong)
    highs = (value for value in (threshold, *np.unique(p[p > threshold])) if _wrong(~truth[p >= value]) <= most_wrong)
    return AbstentionBand(float(next(lows)), float(next(highs, np.nextafter(p.max(), 2.0))))


def centred(probability: float, threshold: float) -> float:
    """A probability moved so that `threshold` comes to lie at one half, in two straight pieces; unmoved at a threshold of one half."""
    if probability < threshold:
        return 0.5 * probability / threshold
    return 1.0 if threshold >= 1 else 1 - 0.5 * (1 - probability) / (1 - threshold)


def probability_of(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Calibrated probabilities."""
    return expit(np.asarray(logits, np.float64) / temperature)


def _wrong(mistakes: np.ndarray) -> float:
    """The share of mistakes among answers; none among none."""
    return float(mistakes.mean()) if len(mistakes) else 0.0


def _nearest_half(after: float, upto: float) -> float:
    """The number in (after, upto] nearest to one half; of an interval that one half lies outside of, the middle."""
    return 0.5 if after < 0.5 <= upto else (after + upto) / 2


def _checked(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(values, np.float64), np.asarray(labels, bool)
    if values.shape != truth.shape or values.ndim != 1:
        raise InvalidInput(f"{values.shape} values and {truth.shape} labels, expected as many")
    if truth.all() or not truth.any():
        raise InvalidInput(f"all {len(truth)} labels say the same; calibrating needs successes and failures")
    return values, truth
