"""Whether single episodes end alike, whatever the strength of their policies. Knows no rates."""

from collections.abc import Sequence

import numpy as np

from worldsim.statistics.agreement import EPSILON, checked_outcomes


def phi_within(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float | None:
    """Correlation of imagined and real outcomes of the same episodes within policies: `phi` of outcomes less their own policy's means.

    `phi` of all policies pooled is high already where strong policies succeed and weak ones fail in both worlds, though no single episode
    ends like its twin; this is not.

    Args:
        pairs: imagined and real outcomes 0/1 `[n]` of each policy, NaN where unscored.

    Returns:
        None where one side never varies within any policy.

    Raises:
        InvalidInput: as `phi`.
    """
    products = np.zeros(3)
    for simulated, real in pairs:
        s, r = checked_outcomes(simulated, real, axes=1)
        known = np.isfinite(s + r)
        if known.any():
            s, r = s[known] - s[known].mean(), r[known] - r[known].mean()
            products += (s @ r, s @ s, r @ r)
    covariance, *spreads = products
    return float(covariance / np.sqrt(np.prod(spreads))) if min(spreads) > EPSILON else None
