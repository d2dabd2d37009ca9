"""The straight line from simulated to real success rates. Knows nothing of how sure either is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from worldsim.statistics.agreement import checked_rates


class Line(NamedTuple):
    """`real = slope * simulated + intercept`; a simulator with nothing to mend has slope 1 and intercept 0."""

    slope: float
    intercept: float


def regression_line(*, simulated: Sequence[float], real: Sequence[float]) -> Line | None:
    """The least-squares line that predicts a policy's real rate from its simulated one. None where all simulated rates are equal.

    Noise in the simulated rates flattens it (regression dilution): a slope below 1 alone convicts nobody.

    Raises:
        InvalidInput: as `pearson`.
    """
    simulated, real = checked_rates(simulated, real)
    if np.ptp(simulated) == 0:
        return None
    s = simulated - simulated.mean()
    slope = float(s @ real / (s @ s))
    return Line(slope, float(real.mean() - slope * simulated.mean()))
