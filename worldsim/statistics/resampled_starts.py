"""How sure the agreement of simulated and real outcomes is, by resampling starts; and what changes when some verdicts are withheld.

Start ids are resampled jointly for all policies and both sides, so what makes a start hard stays shared. This is the trial layer: the same
policies on new starts. It says nothing about new policies.
"""

import numpy as np

from worldsim.statistics.agreement import checked_outcomes, contingency, mmrv_of, pearson_of, phi_of
from worldsim.statistics.checks import check_level
from worldsim.statistics.intervals import Interval


def agreement_intervals(
    simulated: np.ndarray, real: np.ndarray, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> dict[str, Interval | None]:
    """Percentile bootstrap intervals of pearson, mmrv, bias, mean_absolute_error and phi over paired starts.

    Args:
        simulated: outcomes 0/1 `[P, S]`, NaN where unscored.
        real: outcomes 0/1 `[P, S]`, NaN where unscored.
        level: confidence level.
        draws: number of resamples.
        seed: of the resampling.

    Returns:
        An interval per name; None where fewer than half of the resamples define the value (r and MMRV need two policies).

    Raises:
        InvalidInput: matrices of different shape, values other than 0, 1 and NaN, or a level outside (0, 1).
    """
    simulated, real = checked_outcomes(simulated, real, axes=2)
    check_level(level)
    drawn = _measures(simulated, real, _weights(simulated.shape[1], draws, seed))
    return {name: _percentiles(values, level) for name, values in drawn.items()}


def agreement_differences(
    before: np.ndarray, after: np.ndarray, real: np.ndarray, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> dict[str, Interval | None]:
    """Intervals of the change of each measure from `before` to `after`, two readings `[P, S]` of the same simulated episodes.

    Both are measured on the same resamples of starts (a paired bootstrap), so what the starts have in common falls out of the change.
    Otherwise as `agreement_intervals`.
    """
    before, real = checked_outcomes(before, real, axes=2)
    after, _ = checked_outcomes(after, real, axes=2)
    check_level(level)
    weights = _weights(real.shape[1], draws, seed)
    old, new = (_measures(each, real, weights) for each in (before, after))
    return {name: _percentiles(new[name] - old[name], level) for name in old}


def agreement_values(simulated: np.ndarray, real: np.ndarray) -> dict[str, float | None]:
    """The measures themselves, by the names of `agreement_intervals`, of outcomes `[P, S]`; None for one that is not defined."""
    simulated, real = checked_outcomes(simulated, real, axes=2)
    found = {name: float(values[0]) for name, values in _measures(simulated, real, np.ones((1, real.shape[1]))).items()}
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def _weights(starts: int, draws: int, seed: int) -> np.ndarray:
    """How often each start is drawn, float `[D, S]`."""
    return np.random.default_rng(seed).multinomial(starts, np.full(starts, 1 / starts), size=draws).astype(float)


def _measures(simulated: np.ndarray, real: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure of outcomes counted `weights [D, S]` times, `[D]` each, NaN where it is not defined."""
    sim, truth = _rates(weights, simulated), _rates(weights, real)  # [D, P]
    several = simulated.shape[0] > 1
    values = {
        "pearson": pearson_of(sim, truth) if several else np.full(len(sim), np.nan),
        "mmrv": mmrv_of(sim, truth) if several else np.full(len(sim), np.nan),
        "bias": np.mean(sim - truth, axis=1),
        "mean_absolute_error": np.mean(np.abs(sim - truth), axis=1),
    }
    known = np.isfinite(sim + truth).all(axis=1)
    values = {name: np.where(known, each, np.nan) for name, each in values.items()}
    return {**values, "phi": phi_of(contingency(simulated, real).sum(axis=1) @ weights.T)}  # [4, P, S] -> [4, S] -> [4, D]


def _rates(weights: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Success rates over scored starts, counted `weights [D, S]` times: outcomes `[P, S]` to `[D, P]`, NaN where none is scored."""
    scored = weights @ (~np.isnan(outcomes)).T.astype(float)
    successes = weights @ np.nan_to_num(outcomes).T
    return np.where(scored > 0, successes / np.maximum(scored, 1), np.nan)


def _percentiles(values: np.ndarray, level: float) -> Interval | None:
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2:
        return None
    return Interval(*np.quantile(known, ((1 - level) / 2, (1 + level) / 2)).tolist())
