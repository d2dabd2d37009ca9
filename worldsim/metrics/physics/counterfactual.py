"""Whether a world model reacts to actions as much as the world does. Arrays in, one number out; knows no model."""

import numpy as np

from worldsim.metrics.summary import DRAWS, Interval


def clips_apart(clips: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Root mean squared difference of each pair of clips uint8 `[N, T, H, W, 3]`, in [0, 1], `[N]`."""
    apart = (clips.astype(np.float32) - others) / 255
    return np.sqrt((apart**2).mean(axis=(1, 2, 3, 4), dtype=np.float64))


def counterfactual_gap(own: np.ndarray, real: np.ndarray, seed: int = 0) -> tuple[float, Interval]:
    """How far a model's clips under two courses of action lie apart, over how far real ones do: sum d(x(a), x(a')) / sum d(x*(a), x*(a')).

    1 is right, less is a model that listens too little, more one that overreacts. Clips whose real courses do not differ count as they are.

    Args:
        own: `[N]`, distances of the model's clips.
        real: `[N]`, distances of the real ones.
        seed: of the bootstrap.

    Returns:
        The ratio, and its 95 % percentile bootstrap interval over clips; both NaN where no real courses differ.
    """
    own, real = np.asarray(own, dtype=np.float64), np.asarray(real, dtype=np.float64)
    if not real.sum():
        return float("nan"), Interval(float("nan"), float("nan"))
    drawn = np.random.default_rng(seed).integers(0, len(own), (DRAWS, len(own)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = own[drawn].sum(1) / real[drawn].sum(1)
    low, high = np.quantile(ratios[np.isfinite(ratios)], [0.025, 0.975])
    return float(own.sum() / real.sum()), Interval(float(low), float(high))
