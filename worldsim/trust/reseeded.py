"""The same step of a world model imagined again with other noise, and how far two frames are apart. Knows no episode and no limit."""

from dataclasses import replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput

OTHER = 0x5DEECE66D2B7F1A3  # odd, so its multiples below 2^64 differ; flips about half the bits of a seed


def reseeded(state: Any, draw: int = 1) -> Any:
    """The state whose noise to come is another's: the `draw`-th other one, from 1.

    Raises:
        InvalidInput: a state without `seeds`.
    """
    if not hasattr(state, "seeds"):
        raise InvalidInput("the states of this world model have no seeds, so no step can be imagined again with other noise")
    seeds = np.asarray(state.seeds, dtype=np.uint64) ^ np.uint64(draw * OTHER % 2**64)
    return replace(state, seeds=tuple(seeds.tolist()) if isinstance(state.seeds, tuple) else seeds)


def apart(frames: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mean absolute difference of frames uint8 `[..., H, W, 3]` in grey levels, float64 `[...]`."""
    return np.abs(frames.astype(np.int16) - others).mean(axis=(-3, -2, -1))
