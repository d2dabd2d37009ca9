"""What the gripper is told: where to be (absolute) or how to move (relative), and which sign opens it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldsim.actions import GRIPPERS
from worldsim.errors import InvalidInput
from worldsim.policies.adapters.base import Adapted, Converted
from worldsim.registry import ADAPTERS, did_you_mean
from worldsim.types import ActionSpec, Task

THRESHOLD = 0.1  # of a relative command, below which the gripper keeps still (Octo's and OpenVLA's reading of fractal)
JUMP = 0.5  # change of openness that latches a sticky gripper (SIMPLER)


def gripper_place(spec: ActionSpec) -> int:
    """The place of the gripper: the last component whose name says so.

    Raises:
        InvalidInput: the action has no gripper.
    """
    places = [place for place, name in enumerate(spec.names) if "grip" in name.lower()]
    if spec.gripper == "none" or not places:
        raise InvalidInput(f"an action of {', '.join(spec.names)} (gripper {spec.gripper}) moves no gripper; leave the adapter away")
    return places[-1]


def is_relative(kind: str) -> bool:
    """Whether a kind of gripper is told how to move, not where to be."""
    return kind.startswith("relative")


def flipped(values: np.ndarray, kind: str) -> np.ndarray:
    """The same command under the other sign: openness is 1 less closedness, opening is closing backwards."""
    return -values if is_relative(kind) else 1 - values


class Flipped(Converted):
    """The gripper under the other sign."""

    def convert(self, actions: np.ndarray) -> np.ndarray:
        """`[B, A]` to `[B, A]`."""
        place, converted = gripper_place(self.policy.action), actions.copy()
        converted[:, place] = flipped(converted[:, place], self.action.gripper)
        return converted


class Remembering(Adapted):
    """A gripper whose command depends on what came before in its episode. Subclasses have `command`."""

    def __init__(self, policy: Any, gripper: str) -> None:
        self._place, low, high = gripper_place(policy.action), list(policy.action.low), list(policy.action.high)
        low[self._place], high[self._place] = (-1.0, 1.0) if is_relative(gripper) else (0.0, 1.0)
        super().__init__(policy, replace(policy.action, low=low, high=high, gripper=gripper))
        self._memory: dict[int, Any] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Forget what these grippers were told."""
        super().reset(lanes, tasks, seeds)
        self._memory |= dict.fromkeys(lanes)

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A]`."""
        actions = np.array(self.policy.act(frames, lanes), dtype=np.float32)
        for row, lane in enumerate(lanes):
            actions[row, self._place] = self.command(lane, float(actions[row, self._place]))
        return actions

    def command(self, lane: int, value: float) -> float:
        """What the gripper is told, given what the policy says."""
        raise NotImplementedError


class Held(Remembering):
    """Relative commands as a state that lasts: + closes and - opens beyond a threshold, anything smaller changes nothing."""

    def __init__(self, policy: Any, *, first: float) -> None:
        super().__init__(policy, "absolute")
        self._first = first

    def command(self, lane: int, value: float) -> float:
        """Openness, 0 or 1."""
        before = self._first if self._memory[lane] is None else self._memory[lane]
        self._memory[lane] = before if abs(value) <= THRESHOLD else float(value < 0)
        return np.nan if np.isnan(value) else self._memory[lane]


class Change(Remembering):
    """Absolute commands as changes: how much less open than the step before, + closes. The first command of an episode changes nothing."""

    def __init__(self, policy: Any) -> None:
        super().__init__(policy, "relative")

    def command(self, lane: int, value: float) -> float:
        """Closing in [-1, 1]."""
        before = value if self._memory[lane] is None else self._memory[lane]
        self._memory[lane] = value
        return before - value


class Sticky(Remembering):
    """Absolute commands as changes that last: a jump of openness beyond 0.5 is repeated for so many steps, whatever is said meanwhile.

    SIMPLER's rule for policies with an absolute gripper on the Google robot, its known defects included: a slow closing never
    latches, and a reopening while latched is swallowed. `wait_for_latch` keeps the openness that changes are measured from until
    one latches, as the pi0 adapters do, which repairs the first.
    """

    def __init__(self, policy: Any, repeat: int, *, wait_for_latch: bool) -> None:
        super().__init__(policy, "relative")
        self._repeat, self._wait = repeat, wait_for_latch

    def command(self, lane: int, value: float) -> float:
        """Closing in [-1, 1]."""
        before, latched, count = self._memory[lane] or (value, 0.0, 0)
        change = before - value
        if abs(change) > JUMP and not count:
            latched, count, before = change, self._repeat, value
        elif not self._wait:
            before = value
        self._memory[lane] = (before, latched, max(count - 1, 0))
        return latched if count else change


@ADAPTERS.register("gripper")
@dataclass
class GripperConfig:
    """Tell the gripper in the words of the world, or of `to`.

    Attributes:
        to: relative, relative_open, absolute or absolute_closed; None takes the world's.
        begins: from relative to absolute, how the gripper is before the first command: open or closed.
    """

    to: str | None = None
    begins: str = "open"

    def build(self, policy: Any, action: ActionSpec | None = None) -> Any:
        """Around a policy with a gripper.

        Raises:
            InvalidInput: an unknown word, or a policy without a gripper.
        """
        to = self.to or (action.gripper if action else "")
        for word, known in ((to, GRIPPERS[1:]), (self.begins, ("open", "closed"))):
            if word not in known:
                raise InvalidInput(f'gripper knows no "{word}"; {did_you_mean(word, known)}')
        gripper_place(policy.action)
        if is_relative(policy.action.gripper) != is_relative(to):
            policy = _signed(policy, "relative" if is_relative(policy.action.gripper) else "absolute")
            policy = Change(policy) if is_relative(to) else Held(policy, first=float(self.begins == "open"))
        return _signed(policy, to)


def _signed(policy: Any, kind: str) -> Any:
    """A policy whose gripper has the sign of `kind`."""
    if policy.action.gripper == kind:
        return policy
    place, low, high = gripper_place(policy.action), list(policy.action.low), list(policy.action.high)
    ends = flipped(np.array([high[place], low[place]]), kind)
    low[place], high[place] = ends.tolist()
    return Flipped(policy, replace(policy.action, low=low, high=high, gripper=kind))


@ADAPTERS.register("sticky_gripper")
@dataclass
class StickyConfig:
    """SIMPLER's sticky gripper: absolute commands become relative ones that last.

    Attributes:
        repeat: steps that a jump lasts: 15 for Octo and OpenVLA in SIMPLER, 10 in the pi0 adapters.
        wait_for_latch: measure changes from the last jump, so that slow closing counts.
    """

    repeat: int = 15
    wait_for_latch: bool = False

    def build(self, policy: Any, action: ActionSpec | None = None) -> Any:
        """Around a policy with an absolute gripper, in the sign that the world takes.

        Raises:
            InvalidInput: a gripper that is relative already, or a number of steps below 1.
        """
        if is_relative(policy.action.gripper) or self.repeat < 1:
            raise InvalidInput(f"sticky_gripper wants an absolute gripper and at least 1 step, got {policy.action.gripper}, {self.repeat}")
        sticky = Sticky(_signed(policy, "absolute"), self.repeat, wait_for_latch=self.wait_for_latch)
        return _signed(sticky, action.gripper if action and is_relative(action.gripper) else "relative")
