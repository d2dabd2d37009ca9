"""The recorded actions of the very episode that a start was taken from, played again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import InvalidInput
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Task


class ReplayPolicy:
    """Plays `start.recording` of each lane; after its last action it holds that action."""

    def __init__(self, action: ActionSpec) -> None:
        self.action = action
        self._actions: dict[int, np.ndarray] = {}
        self._next: dict[int, int] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Read the recordings of these lanes.

        Raises:
            InvalidInput: a start that was not taken from a recording, or from one whose actions mean something else.
        """
        for lane, task in zip(lanes, tasks, strict=True):
            actions = self.recorded(task)
            self._actions[lane], self._next[lane] = np.clip(actions, self.action.low, self.action.high), 0

    def recorded(self, task: Task) -> np.ndarray:
        """The actions `[T, A]` that were taken from the last frame of the task's one start on.

        Raises:
            InvalidInput: a start that was not taken from a recording, or from one whose actions mean something else.
        """
        start = task.starts[0]
        if start.recording is None:
            raise InvalidInput(f'start "{start.id}" of task "{task.id}" has no recorded actions; use a task over recordings: task=FOLDER')
        recorded = read_trajectory(start.recording)
        self.action.refuse_recorded(recorded.metadata.get("action", {}), start.recording)
        return recorded.actions[len(start.frames) - 1 :]

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A]`."""
        chosen = [self._actions[lane][min(self._next[lane], len(self._actions[lane]) - 1)] for lane in lanes]
        self._next |= {lane: self._next[lane] + 1 for lane in lanes}
        return np.stack(chosen).astype(np.float32)


@POLICIES.register("replay")
@dataclass
class ReplayConfig:
    """What really was done, again."""

    needs_recording: ClassVar = True  # it can act at recorded starts only

    def build(self, action: ActionSpec) -> ReplayPolicy:
        """A policy with the world's own action."""
        return ReplayPolicy(action)
