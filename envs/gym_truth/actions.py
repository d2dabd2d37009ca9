"""Actions of a Gymnasium space as vectors of numbers with names and bounds, and back. Knows no environment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, Space

from worldsim.errors import InvalidInput
from worldsim.types import ActionSpec


@dataclass(frozen=True)
class ActionCode:
    """What a vector float32 `[A]` means (`spec`), and the environment's own action for it (`decode`)."""

    spec: ActionSpec
    decode: Callable[[np.ndarray], Any]


def code_of(space: Space, rate_hz: float, whose: str) -> ActionCode:
    """A Box as its numbers one after another, a Discrete as one component for each possibility.

    Raises:
        InvalidInput: another space, or a Box without bounds; `whose` is the environment's id.
    """
    if isinstance(space, Discrete):
        names = tuple(f"choice{index}" for index in range(int(space.n)))
        spec = ActionSpec(names, (0.0,) * len(names), (1.0,) * len(names), rate_hz, choice=True)
        return ActionCode(spec, lambda action: int(space.start) + int(np.argmax(action)))
    if not isinstance(space, Box) or not np.issubdtype(space.dtype, np.floating):
        raise InvalidInput(
            f"{whose} takes actions of {type(space).__name__}, expected a Box of real numbers or a Discrete; register it with a wrapper "
            "that has one (gymnasium.wrappers.TransformAction) and name that: truth=gym:MODULE:ID"
        )
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise InvalidInput(
            f"{whose} takes actions without bounds; register it inside gymnasium.wrappers.ClipAction or RescaleAction and name that: "
            "truth=gym:MODULE:ID"
        )
    low, high = (np.ravel(side).astype(float).tolist() for side in (space.low, space.high))
    spec = ActionSpec(tuple(f"a{index}" for index in range(len(low))), tuple(low), tuple(high), rate_hz)
    return ActionCode(spec, lambda action: np.clip(action.reshape(space.shape), space.low, space.high).astype(space.dtype))
