"""A step of a true world for those who cannot go on without a lane. Knows no world."""

import numpy as np

from worldsim.errors import WorldsimError
from worldsim.types import Truth
from worldsim.wrappers.chunked import faults_of


def stepped(truth: Truth, actions: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """As the truth's own `step`: float32 `[B, A]` to frames uint8 `[B, H, W, 3]` and states `[B, ...]` by name.

    Raises:
        WorldsimError: a lane broke; the line is its fault.
    """
    frames, states = truth.step(actions)
    for fault in filter(None, faults_of(truth, len(frames))):
        raise WorldsimError(fault)
    return frames, states
