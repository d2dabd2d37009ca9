"""Policies that act more seldom or more often than the world steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.adapters.base import Adapted
from worldsim.policies.adapters.chunk import Chunk
from worldsim.policies.adapters.gripper import gripper_place, is_relative
from worldsim.registry import ADAPTERS
from worldsim.types import ActionSpec, Task

KINDS = ("delta", "held")


class Slower(Adapted):
    """A policy that acts every k-th step of the world. Its moves are spread over k steps; what is held is told k times."""

    def __init__(self, policy: Any, action: ActionSpec, times: int, moves: np.ndarray) -> None:
        super().__init__(policy, action)
        self._times, self._share = times, np.where(moves, 1 / times, 1.0)
        self._left: dict[int, int] = {}
        self._latest: dict[int, np.ndarray] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Ask anew in these lanes."""
        super().reset(lanes, tasks, seeds)
        self._left |= dict.fromkeys(lanes, 0)

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A]`."""
        due = [row for row, lane in enumerate(lanes) if not self._left[lane]]
        if due:
            actions = np.asarray(self.policy.act(frames[due], [lanes[row] for row in due]), dtype=np.float32)
            self._latest |= {lanes[row]: action * self._share for row, action in zip(due, actions, strict=True)}
            self._left |= {lanes[row]: self._times for row in due}
        self._left |= {lane: self._left[lane] - 1 for lane in lanes}
        return np.stack([self._latest[lane] for lane in lanes]).astype(np.float32)


class Faster(Adapted):
    """A planner of k actions per step of the world. Moves are added up; of what is held the last counts."""

    def __init__(self, policy: Chunk, action: ActionSpec, times: int, moves: np.ndarray) -> None:
        super().__init__(policy, action)
        self._times, self._moves = times, moves

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A]`."""
        said = np.stack([self.policy.act(frames, lanes) for _ in range(self._times)])  # [k, B, A]
        return np.where(self._moves, said.sum(axis=0), said[-1]).astype(np.float32)


@ADAPTERS.register("rate")
@dataclass
class RateConfig:
    """Fit a policy to the rate of the world, where one is a whole multiple of the other.

    Attributes:
        actions: "delta", each is a move, or "held", each is a place or a speed that lasts. Only the robot's controller can say which.
            A relative gripper counts as a move, an absolute one as held, whatever is said here.
        hz: actions per second that are wanted; None takes the world's.
    """

    actions: str
    hz: float | None = None

    def build(self, policy: Any, action: ActionSpec | None = None) -> Any:
        """Around a policy; a faster one must plan ahead (`chunk` right before this), for the world shows no frame between its steps.

        Raises:
            InvalidInput: rates that do not fit, an unknown word, or a fast policy that does not plan.
        """
        hz = self.hz or (action.rate_hz if action else 0)
        if self.actions not in KINDS or not hz > 0:
            raise InvalidInput(f"rate needs actions: delta or actions: held, and a rate above 0, got {self.actions}, {hz}")
        given = policy.action
        times = round(max(hz, given.rate_hz) / min(hz, given.rate_hz))
        if not np.isclose(times * min(hz, given.rate_hz), max(hz, given.rate_hz), rtol=1e-6):
            raise InvalidInput(f"a policy at {given.rate_hz:g} Hz does not fit a world at {hz:g} Hz: neither is a multiple of the other")
        moves = _moves(given, self.actions)
        if hz >= given.rate_hz:
            return Slower(policy, _with_bounds(given, hz, np.where(moves, 1 / times, 1.0)), times, moves)
        if not isinstance(policy, Chunk):
            raise InvalidInput(f"a policy at {given.rate_hz:g} Hz in a world at {hz:g} Hz must plan ahead: put chunk right before rate")
        return Faster(policy, _with_bounds(given, hz, np.where(moves, times, 1.0)), times, moves)


def _moves(spec: ActionSpec, actions: str) -> np.ndarray:
    """Which components are moves, bool `[A]`."""
    moves = np.full(spec.size, actions == "delta")
    if spec.gripper != "none":
        moves[gripper_place(spec)] = is_relative(spec.gripper)
    return moves


def _with_bounds(spec: ActionSpec, hz: float, factors: np.ndarray) -> ActionSpec:
    low, high = ((np.array(side) * factors).tolist() for side in (spec.low, spec.high))
    return replace(spec, rate_hz=hz, low=low, high=high)
