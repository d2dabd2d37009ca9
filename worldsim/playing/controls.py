"""From what a person presses to an action of the world. Knows neither keyboard nor page: keys are bound to controls there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from worldsim.actions import ActionSpec
from worldsim.data import csgo_actions
from worldsim.data.csgo_actions import Press
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean


@dataclass(frozen=True)
class Command:
    """What is pressed in one step.

    Attributes:
        push: how far each named component is pushed, from -1 to 1; those not named rest.
        press: keys, buttons and the way of the mouse, where the world is driven by them.
    """

    push: Mapping[str, float] = field(default_factory=dict)
    press: Press = Press()


class Controls(Protocol):
    """What can be pressed in a world, and the action that it makes."""

    def describe(self) -> dict[str, Any]:
        """What a page shows of them, as JSON."""

    def action(self, command: Command) -> np.ndarray:
        """The action float32 `[A]`.

        Raises:
            UnknownName, InvalidInput: a control that this world does not have, or pressed in a way that it cannot be.
        """


class Components:
    """One control for each component of an action: pushed by 1 it is at its upper bound, by -1 at the lower one, by 0 at rest.

    At rest is the legal value nearest to 0. An absolute gripper has a place instead of a rest and is open until it is pushed; a page
    keeps pushing it.
    """

    def __init__(self, spec: ActionSpec) -> None:
        self._spec = spec
        self._rest = spec.rest
        self._held = [spec.gripper in ("absolute", "absolute_closed") and "grip" in name for name in spec.names]
        opened = np.asarray(spec.high if spec.gripper == "absolute" else spec.low)
        self._rest[self._held] = opened[self._held]

    def describe(self) -> dict[str, Any]:
        """Name, bounds and rest of each component; `held` is one that stays where it was pushed."""
        rows = zip(self._spec.names, self._spec.low, self._spec.high, self._rest.tolist(), self._held, strict=True)
        return {
            "kind": "components",
            "axes": [{"name": name, "low": low, "high": high, "rest": rest, "held": held} for name, low, high, rest, held in rows],
        }

    def action(self, command: Command) -> np.ndarray:
        """The action float32 `[A]`."""
        action = self._rest.copy()
        for name, push in command.push.items():
            if name not in self._spec.names:
                raise UnknownName(f'the world has no component "{name[:40]}"; {did_you_mean(name[:40], self._spec.names)}')
            if not -1 <= push <= 1:  # NaN is refused too
                raise InvalidInput(f"{name} is pushed by {push}, expected a number from -1 to 1")
            place = self._spec.names.index(name)
            action[place] = self._pushed(place, push)
        return self._spec.check(action[None])[0]

    def _pushed(self, place: int, push: float) -> float:
        low, high = self._spec.low[place], self._spec.high[place]
        rest = (low + high) / 2 if self._held[place] else self._rest[place]
        return rest + push * (high - rest if push > 0 else rest - low)


class Presses:
    """Keys, mouse buttons and the mouse itself, as in the 51 numbers of `worldsim.data.csgo_actions`."""

    def describe(self) -> dict[str, Any]:
        """The keys and buttons there are, and the steps that the mouse may take."""
        names = {"keys": csgo_actions.KEYS, "clicks": csgo_actions.CLICKS}
        steps = {"mouse_x": csgo_actions.MOUSE_X, "mouse_y": csgo_actions.MOUSE_Y}
        return {"kind": "presses"} | {name: list(values) for name, values in (names | steps).items()}

    def action(self, command: Command) -> np.ndarray:
        """The action float32 `[51]`."""
        if command.push:
            raise UnknownName(f'this world is driven by keys and mouse, it has no component "{next(iter(command.push))[:40]}"')
        return csgo_actions.encode(command.press)


def controls_of(spec: ActionSpec) -> Controls:
    """How a world with such actions is driven."""
    return Presses() if spec.names == csgo_actions.NAMES else Components(spec)
