"""The true drop world for the evaluator and the collector: several lanes, each reset to a start, states reported exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.envs.drop.physics import ACTION, DropPhysics, DropStart, task_start
from worldsim.envs.drop.rendering import DepthCamera
from worldsim.registry import TRUTHS
from worldsim.types import Start

HORIZON = 12
INSTRUCTION = "let the ball fall and push it onto the green floor"


class DropTruth:
    """Lanes of the true world (`worldsim.types.Truth`), seen by one camera. A start's seed says where the ball is held.

    With `depth`, states also have what the camera measures and where it stands: `depth`, `segmentation`, `intrinsics`, `camera_pose`.
    """

    action = ACTION

    def __init__(self, size: int = 32, *, depth: bool = False) -> None:
        self._size, self._depth = size, depth
        self._spare: list[DropPhysics] = []
        self._lanes: list[DropPhysics] = []
        self._camera: DepthCamera | None = None

    def reset(self, starts: Sequence[Start]) -> np.ndarray:
        """Put lane i at `starts[i]` and return frames uint8 `[B, size, size, 3]`."""
        return self.place([task_start(start.seed) for start in starts])

    def place(self, starts: Sequence[DropStart]) -> np.ndarray:
        """As `reset`, from explicit places and speeds."""
        self._spare += [DropPhysics() for _ in range(len(starts) - len(self._spare))]
        self._lanes = self._spare[: len(starts)]
        for physics, start in zip(self._lanes, starts, strict=True):
            physics.reset(start)
        return self._frames()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Actions float32 `[B, 2]` to frames and states by name, each `[B, ...]`."""
        for physics, action in zip(self._lanes, self.action.check(actions), strict=True):
            physics.step(action)
        return self._frames(), self.states()

    def states(self) -> dict[str, np.ndarray]:
        """The exact state of every lane."""
        rows = [physics.state() | self._measured(physics) for physics in self._lanes]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _measured(self, physics: DropPhysics) -> dict[str, np.ndarray]:
        return self._camera.measure(physics.data) | self._camera.lens(physics.data) if self._depth else {}

    def _frames(self) -> np.ndarray:
        if self._camera is None:  # the lanes' models are the same
            self._camera = DepthCamera(self._lanes[0].model, "main", self._size)
        return np.stack([self._camera.render(physics.data) for physics in self._lanes])

    def close(self) -> None:
        """Release the OpenGL context."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None


@TRUTHS.register("drop")
@dataclass
class DropTruthConfig:
    """The MuJoCo ball, rendered at `size` pixels; with `depth`, states have depth, segmentation and the camera too."""

    size: int = 32
    depth: bool = False

    def build(self) -> DropTruth:
        """Open the scene; needs mujoco and an OpenGL library."""
        return DropTruth(self.size, depth=self.depth)
