"""The true drawer world for the evaluator and the collector: several lanes, each reset to a start, states reported exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.envs.drawer.physics import ACTION, DrawerPhysics, DrawerStart, task_start
from worldsim.envs.drawer.rendering import Camera
from worldsim.registry import TRUTHS
from worldsim.types import Start

HORIZON = 24
INSTRUCTION = "close the drawer"


class DrawerTruth:
    """Lanes of the true world (`worldsim.types.Truth`), seen by one camera. A start's seed says where everything stands."""

    action = ACTION

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._spare: list[DrawerPhysics] = []
        self._lanes: list[DrawerPhysics] = []
        self._camera: Camera | None = None

    def reset(self, starts: Sequence[Start]) -> np.ndarray:
        """Put lane i at `starts[i]` and return frames uint8 `[B, size, size, 3]`."""
        return self.place([task_start(start.seed) for start in starts])

    def place(self, starts: Sequence[DrawerStart]) -> np.ndarray:
        """As `reset`, from explicit positions."""
        self._spare += [DrawerPhysics() for _ in range(len(starts) - len(self._spare))]
        self._lanes = self._spare[: len(starts)]
        for physics, start in zip(self._lanes, starts, strict=True):
            physics.reset(start)
        return self._frames()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Actions float32 `[B, 3]` to frames and states by name, each `[B, ...]`."""
        for physics, action in zip(self._lanes, self.action.check(actions), strict=True):
            physics.step(action)
        return self._frames(), self.states()

    def states(self) -> dict[str, np.ndarray]:
        """The exact state of every lane."""
        rows = [physics.state() for physics in self._lanes]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _frames(self) -> np.ndarray:
        if self._camera is None:  # the lanes' models differ in where the cabinet stands only, and that reaches the camera through the data
            self._camera = Camera(self._lanes[0].model, "main", self._size)
        return np.stack([self._camera.render(physics.data) for physics in self._lanes])

    def close(self) -> None:
        """Release the OpenGL context."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None


@TRUTHS.register("drawer")
@dataclass
class DrawerTruthConfig:
    """The MuJoCo drawer, rendered at `size` pixels."""

    size: int = 64

    def build(self) -> DrawerTruth:
        """Open the scene; needs mujoco and an OpenGL library."""
        return DrawerTruth(self.size)
