"""Actions as numbers: what a data set's actions look like, and to and from [-1, 1]. Knows nothing of files or robots."""

from dataclasses import dataclass

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.types import ActionSpec

MARGIN = 0.05  # of the range seen, added on either side


@dataclass(frozen=True)
class ActionStatistics:
    """How one component of the actions is distributed: extremes, mean, standard deviation, 1 % and 99 % quantiles."""

    name: str
    min: float
    max: float
    mean: float
    std: float
    q01: float
    q99: float


def normalise(actions: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """Actions as a network takes them: the low bound becomes -1, the high bound 1, linearly; values beyond a bound are clipped to it.

    A component whose bounds are equal carries no information and becomes 0.

    Args:
        actions: `[..., A]`, in the units of the spec.
        spec: its bounds.

    Returns:
        float32 `[..., A]` in [-1, 1].

    Raises:
        InvalidInput: another number of components, or a value that is not finite.
    """
    actions, low, span = _with_bounds(actions, spec)
    unit = np.divide(actions - low, span, out=np.full_like(actions, 0.5), where=span > 0)
    return (2 * np.clip(unit, 0, 1) - 1).astype(np.float32)


def undo(values: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """The inverse of `normalise`: [-1, 1] back to the units of the spec, values beyond clipped.

    Args:
        values: `[..., A]` in [-1, 1].
        spec: its bounds.

    Returns:
        float32 `[..., A]` within the bounds.

    Raises:
        InvalidInput: another number of components, or a value that is not finite.
    """
    values, low, span = _with_bounds(values, spec)
    unit = (np.clip(values, -1, 1) + 1) / 2
    return (low * (1 - unit) + (low + span) * unit).astype(np.float32)


def describe_actions(actions: np.ndarray, names: tuple[str, ...]) -> tuple[ActionStatistics, ...]:
    """The distribution of every component of float `[N, A]`, N at least 1."""
    actions = actions.astype(np.float64)
    rows = (actions.min(0), actions.max(0), actions.mean(0), actions.std(0), *np.quantile(actions, (0.01, 0.99), axis=0))
    return tuple(ActionStatistics(name, *(float(row[axis]) for row in rows)) for axis, name in enumerate(names))


def bounds_of(statistics: tuple[ActionStatistics, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(low, high) that hold all actions seen, with 5 % of the range to spare, or a thousandth of a value that never changed."""
    spare = [MARGIN * (each.max - each.min) or 1e-3 * max(1.0, abs(each.max)) for each in statistics]
    low = tuple(each.min - extra for each, extra in zip(statistics, spare, strict=True))
    high = tuple(each.max + extra for each, extra in zip(statistics, spare, strict=True))
    return low, high


def _with_bounds(values: np.ndarray, spec: ActionSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, low, high - low) as float64, after the checks that both directions share."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim < 1 or values.shape[-1] != spec.size:
        raise InvalidInput(f"actions have shape {list(values.shape)}, expected [..., {spec.size}] for {', '.join(spec.names)}")
    if not np.isfinite(values).all():
        raise InvalidInput("actions hold a value that is not finite; drop the episodes that have one")
    low = np.asarray(spec.low, dtype=np.float64)
    return values, low, np.asarray(spec.high, dtype=np.float64) - low
