"""Lanes of a true world made of one MuJoCo scene each, seen by one camera. Knows no scene: its physics, camera and starts are given."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from worldsim.types import ActionSpec, Start


class MujocoTruth:
    """A true world (`worldsim.types.Truth`) whose lanes are reused from reset to reset. A start's seed says where everything stands.

    Subclasses name their physics (with `model`, `data`, `reset`, `step`, `state`, `success`), the camera that renders them, what their
    actions mean and the scene's own start for a seed.
    """

    action: ActionSpec
    physics: Callable[[], Any]
    camera: Callable[[Any, str, int], Any]
    task_start: Callable[[int], Any]

    def __init__(self, size: int) -> None:
        self._size = size
        self._spare: list[Any] = []
        self._lanes: list[Any] = []
        self._camera: Any = None

    def reset(self, starts: Sequence[Start]) -> np.ndarray:
        """Put lane i at `starts[i]` and return frames uint8 `[B, size, size, 3]`."""
        return self.place([self.task_start(start.seed) for start in starts])

    def place(self, starts: Sequence[Any]) -> np.ndarray:
        """As `reset`, from the scene's own starts."""
        self._spare += [self.physics() for _ in range(len(starts) - len(self._spare))]
        self._lanes = self._spare[: len(starts)]
        for physics, start in zip(self._lanes, starts, strict=True):
            physics.reset(start)
        return self._frames()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Actions float32 `[B, A]` to frames and states by name, each `[B, ...]`."""
        for physics, action in zip(self._lanes, self.action.check(actions), strict=True):
            physics.step(action)
        return self._frames(), self.states()

    def states(self) -> dict[str, np.ndarray]:
        """The exact state of every lane."""
        rows = [self.state_of(physics) for physics in self._lanes]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def successes(self) -> list[bool]:
        """Whether the task is done, of every lane."""
        return [bool(physics.success) for physics in self._lanes]

    def state_of(self, physics: Any) -> dict[str, np.ndarray]:
        """The exact state of one lane."""
        return physics.state()

    def close(self) -> None:
        """Release the OpenGL context."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _frames(self) -> np.ndarray:
        if self._camera is None:  # the lanes' models differ in nothing that does not reach the camera through their data
            self._camera = self.camera(self._lanes[0].model, "main", self._size)
        return np.stack([self._camera.render(physics.data) for physics in self._lanes])
