"""Actions on another scale, and actions cut to what the world takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.adapters.base import Converted, component
from worldsim.registry import ADAPTERS
from worldsim.types import ActionSpec


class Clipped(Converted):
    """Each component cut to new bounds."""

    def __init__(self, policy: Any, low: Sequence[float], high: Sequence[float]) -> None:
        super().__init__(policy, replace(policy.action, low=low, high=high))

    def convert(self, actions: np.ndarray) -> np.ndarray:
        """`[B, A]` to `[B, A]`."""
        return np.clip(actions, np.float32(self.action.low), np.float32(self.action.high))


class Scaled(Converted):
    """Each component mapped linearly: the old bounds to the new ones, values beyond the old ones cut first."""

    def __init__(self, policy: Any, low: Sequence[float], high: Sequence[float]) -> None:
        super().__init__(policy, replace(policy.action, low=low, high=high))
        self._low, self._high = np.array(policy.action.low), np.array(policy.action.high)
        if not (self._high > self._low).all():
            raise InvalidInput(f"scale needs a policy whose bounds differ, got {policy.action.low} and {policy.action.high}")

    def convert(self, actions: np.ndarray) -> np.ndarray:
        """`[B, A]` to `[B, A]`."""
        unit = (np.clip(actions.astype(float), self._low, self._high) - self._low) / (self._high - self._low)
        low, high = np.array(self.action.low), np.array(self.action.high)
        return low * (1 - unit) + high * unit


@ADAPTERS.register("clip")
@dataclass
class ClipConfig:
    """Cut each component to the bounds of the world, or to given ones.

    Attributes:
        low: least of each component; None takes the world's.
        high: most of each component; None takes the world's.
    """

    low: Sequence[float] | None = None
    high: Sequence[float] | None = None

    def build(self, policy: Any, action: ActionSpec | None = None) -> Clipped:
        """Around a policy of as many components.

        Raises:
            InvalidInput: neither bounds nor a world of the same components to take them from.
        """
        low, high = self.low or (action and action.low), self.high or (action and action.high)
        if not low or not high or not len(low) == len(high) == policy.action.size:
            raise InvalidInput(f"clip needs {policy.action.size} bounds low and high for {', '.join(policy.action.names)}")
        return Clipped(policy, low, high)


@ADAPTERS.register("scale")
@dataclass
class ScaleConfig:
    """Map some components linearly from their bounds to new ones: `{world_vector_0: [-0.05, 0.05], ...}`.

    Attributes:
        to: [low, high] by the name of the component.
    """

    to: dict[str, Sequence[float]]

    def build(self, policy: Any, action: ActionSpec | None = None) -> Scaled:
        """Around a policy that has these components.

        Raises:
            InvalidInput: an unknown component, or bounds that are no pair.
        """
        low, high = list(policy.action.low), list(policy.action.high)
        for name, pair in self.to.items():
            place = component(policy.action, name)
            if len(pair) != 2:
                raise InvalidInput(f'scale maps "{name}" to {pair}, expected [low, high]')
            low[place], high[place] = pair
        return Scaled(policy, low, high)
