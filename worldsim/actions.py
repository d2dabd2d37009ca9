"""What an action means: names, bounds, rate, and the conventions of frame, rotation and gripper. Knows no robot."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput

FRAMES = ("base", "tool")
ROTATIONS = ("none", "rpy", "axis_angle")
GRIPPERS = ("none", "relative", "relative_open", "absolute", "absolute_closed")


@dataclass(frozen=True)
class ActionSpec:
    """What an action means. Two parts whose specs differ must not be joined without a named converter.

    Attributes:
        names: one name per component.
        low: smallest legal value per component.
        high: largest legal value per component.
        rate_hz: actions per second.
        frame: "base" or "tool", the frame in which translations are given.
        rotation: "none", "rpy" (roll, pitch, yaw) or "axis_angle" (a vector along the axis, as long as the angle); radians.
        gripper: "none"; "relative" (+ closes) or "relative_open" (+ opens), 0 leaves it; "absolute" (1 is open, 0 closed) or
            "absolute_closed" (1 is closed, 0 open).
        choice: the components stand for the possibilities of one choice: whichever is largest counts as 1, the others as 0.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rate_hz: float
    frame: str = "base"
    rotation: str = "none"
    gripper: str = "none"
    choice: bool = False

    def __post_init__(self) -> None:
        for key in ("names", "low", "high"):  # lists arrive from JSON
            object.__setattr__(self, key, tuple(getattr(self, key)))
        if not len(self.names) == len(self.low) == len(self.high):
            raise InvalidInput(f"{len(self.names)} action names need as many bounds, got {len(self.low)} low and {len(self.high)} high")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not low <= high:  # NaN is refused too
                raise InvalidInput(f"bounds of {name} are {low:g} and {high:g}, expected the smaller one first")
        for key, known in (("frame", FRAMES), ("rotation", ROTATIONS), ("gripper", GRIPPERS)):
            if getattr(self, key) not in known:
                raise InvalidInput(f'{key} of an action is "{getattr(self, key)}", expected one of {", ".join(known)}')

    def refuse_recorded(self, recorded: Mapping[str, Any], whose: str) -> None:
        """Stop where recorded actions mean something else than these. `recorded` has some of the attributes, as import notes them.

        Raises:
            InvalidInput: with the first attribute that differs.
        """
        for key in ("frame", "rotation", "gripper", "rate_hz", "names"):
            mine, theirs = getattr(self, key), recorded.get(key)
            if theirs is not None and (tuple(theirs) if key == "names" else theirs) != mine:
                raise InvalidInput(
                    f"{whose} was recorded with actions of {key} {theirs}, the world model takes {mine}; give recordings like its own"
                )

    def differences(self, other: "ActionSpec") -> tuple[str, ...]:
        """In which of its attributes an action of this kind means something else than one of `other`."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name) != getattr(other, each.name))

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.names)

    @property
    def rest(self) -> np.ndarray:
        """The legal action that is nearest to zero, float64 `[A]`."""
        return np.clip(np.zeros(self.size), self.low, self.high)

    def check(self, actions: Any) -> np.ndarray:
        """`actions` as float32 `[B, A]`, refused when the shape, a bound or a NaN says no; of a choice, one-hot.

        Raises:
            InvalidInput: with the first offending component.
        """
        array = self.numbers(actions)
        if array.ndim != 2 or array.shape[1] != self.size:
            raise InvalidInput(f"actions have shape {list(array.shape)}, expected [lanes, {self.size}] for {', '.join(self.names)}")
        outside = ~((array >= np.float32(self.low) - 1e-6) & (array <= np.float32(self.high) + 1e-6))  # NaN counts as outside
        if outside.any():
            lane, axis = np.argwhere(outside)[0]
            bounds = f"[{self.low[axis]:g}, {self.high[axis]:g}]"
            raise InvalidInput(
                f'action "{self.names[axis]}" of lane {lane} is {array[lane, axis]:g}, expected a number in {bounds}; clip it first'
            )
        return np.eye(self.size, dtype=np.float32)[array.argmax(axis=1)] if self.choice else array

    @staticmethod
    def numbers(actions: Any) -> np.ndarray:
        """`actions` as a new float32 array of any shape.

        Raises:
            InvalidInput: text, rows of different length, or something else that is no array of numbers.
        """
        try:
            return np.array(actions, dtype=np.float32)
        except (TypeError, ValueError) as error:
            given = " ".join(repr(actions).split())[:60]
            raise InvalidInput(f"actions are {given}, expected numbers, an array float32 [lanes, numbers]") from error
