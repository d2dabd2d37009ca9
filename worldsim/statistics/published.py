"""Whether a printed number can be true: the count behind a rate, and the largest MMRV that real rates allow. Estimates nothing."""

from collections.abc import Sequence

import numpy as np

from worldsim.errors import InvalidInput


def lattice_count(rate: float, trials: int, digits: int = 3) -> int | None:
    """The number of successes of `trials` that is printed as `rate` with so many digits; None where there is none or more than one.

    Raises:
        InvalidInput: a rate outside [0, 1] or fewer than one trial.
    """
    if not (0 <= rate <= 1 and trials >= 1):
        raise InvalidInput(f"{rate} of {trials} trials is no rate; give a number in [0, 1] and at least one trial")
    slack = 0.5 * 10**-digits + 1e-9
    low, high = int(np.ceil((rate - slack) * trials)), int(np.floor((rate + slack) * trials))
    return low if low == high else None


def mmrv_bound(*, real: Sequence[float]) -> float:
    """The MMRV of a simulator that reverses the real order, which none exceeds: the mean over policies of the largest real gap.

    At most the largest gap between two real rates. A printed MMRV above it cannot have come from these rates.

    Raises:
        InvalidInput: fewer than two policies, or a rate that is not finite.
    """
    real = np.asarray(real, dtype=float)
    if real.ndim != 1 or len(real) < 2 or not np.isfinite(real).all():
        raise InvalidInput(f"real rates have shape {list(real.shape)}, expected at least two finite rates")
    return float(np.abs(real[:, None] - real).max(axis=1).mean())
