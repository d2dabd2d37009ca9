"""Turns as roll, pitch, yaw or as an axis times an angle."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.adapters.base import Converted, component
from worldsim.registry import ADAPTERS
from worldsim.types import ActionSpec

NAMES = {"rpy": ("roll", "pitch", "yaw"), "axis_angle": ("axis_angle_x", "axis_angle_y", "axis_angle_z")}


def turned(turns: np.ndarray, given: str, wanted: str) -> np.ndarray:
    """Turns `[N, 3]` in radians from one way of writing to the other; rows with a NaN give NaN.

    Roll, pitch and yaw turn about the fixed axes x, y, z in this order, as in SIMPLER and OpenVLA. An axis-angle has length [0, pi].
    """
    from scipy.spatial.transform import Rotation

    result, known = np.full(turns.shape, np.nan), np.isfinite(turns).all(axis=1)
    if given == wanted or not known.any():
        return turns.copy()
    rows = turns[known].astype(float)
    rotation = Rotation.from_euler("xyz", rows) if given == "rpy" else Rotation.from_rotvec(rows)
    result[known] = rotation.as_rotvec() if wanted == "axis_angle" else rotation.as_euler("xyz", suppress_warnings=True)
    return result


class Turned(Converted):
    """Three of the components written the other way."""

    def __init__(self, policy: Any, action: ActionSpec, places: Sequence[int]) -> None:
        super().__init__(policy, action)
        self._places = list(places)

    def convert(self, actions: np.ndarray) -> np.ndarray:
        """`[B, A]` to `[B, A]`."""
        converted = actions.astype(float)
        converted[:, self._places] = turned(actions[:, self._places], self.policy.action.rotation, self.action.rotation)
        return converted


@ADAPTERS.register("rotation")
@dataclass
class RotationConfig:
    """Write turns as `to`: rpy or axis_angle.

    Attributes:
        to: what the world takes.
        components: names of the three numbers; none takes those called like roll, pitch, yaw or axis_angle_x, ....
    """

    to: str
    components: Sequence[str] = ()

    def build(self, policy: Any, action: ActionSpec | None = None) -> Turned:
        """Around a policy that turns.

        Raises:
            InvalidInput: another word, or a policy of no or unknown turns.
        """
        given = policy.action
        if self.to not in NAMES or given.rotation not in NAMES:
            raise InvalidInput(f'rotation goes between rpy and axis_angle, got "{given.rotation}" to "{self.to}"')
        names = tuple(self.components) or NAMES[given.rotation]
        places = [component(given, name) for name in names]
        if len(places) != 3:
            raise InvalidInput(f"rotation needs the names of 3 components, got {list(names)}")
        new, low, high = list(given.names), list(given.low), list(given.high)
        reach = float(np.linalg.norm([max(abs(given.low[place]), abs(given.high[place])) for place in places]))
        for place, name in zip(places, NAMES[self.to], strict=True):
            new[place] = name if not self.components else new[place]
            low[place], high[place] = -min(reach, np.pi), min(reach, np.pi)
        return Turned(policy, replace(given, names=new, low=low, high=high, rotation=self.to), places)
