"""What counts, levels and outcomes must look like, refused in one line each where they do not. Knows nothing of what is made of them."""

from collections.abc import Sequence

import numpy as np

from worldsim.errors import InvalidInput


def check_counts(successes: float, trials: float) -> None:
    """Refuse what is no k successes of n trials.

    Raises:
        InvalidInput: fewer than one trial, or successes outside [0, trials].
    """
    if not (trials >= 1 and 0 <= successes <= trials):
        raise InvalidInput(f"{successes} successes of {trials} trials is no rate; give 0 <= successes <= trials with at least one trial")


def check_level(level: float) -> None:
    """Refuse a confidence level (or power) outside (0, 1).

    Raises:
        InvalidInput: it is.
    """
    if not 0 < level < 1:
        raise InvalidInput(f"level is {level}, expected a number between 0 and 1 such as 0.95")


def check_rate(rate: float) -> None:
    """Refuse a success rate outside [0, 1].

    Raises:
        InvalidInput: it is.
    """
    if not 0 <= rate <= 1:
        raise InvalidInput(f"rate is {rate}, expected a number from 0 to 1 such as 0.7")


def scored_pairs(first: Sequence[float], second: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Two columns of scores in [0, 1] `[n]` without the pairs where either is NaN, that is unscored.

    Raises:
        InvalidInput: columns of different length, values outside [0, 1], or no pair with both scores.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise InvalidInput(f"paired scores have shapes {list(a.shape)} and {list(b.shape)}, expected one score per start in both")
    scored = ~np.isnan(a + b)
    return scores(a[scored]), scores(b[scored])


def scores(values: Sequence[float], low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Scores in [low, high] `[n]` without the NaN, that is unscored, ones.

    Raises:
        InvalidInput: values out of range or in no list, or none that is scored.
    """
    x = np.asarray(values, dtype=float)
    flat, x = x.ndim == 1, x[~np.isnan(x)]
    if not flat or not len(x) or not ((x >= low) & (x <= high)).all():
        raise InvalidInput(f"{len(x)} scores, expected at least one, each from {low:g} to {high:g}; NaN is unscored")
    return x
