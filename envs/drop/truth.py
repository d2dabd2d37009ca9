"""The true drop world for the evaluator and the collector: several lanes, each reset to a start, states reported exactly."""

from dataclasses import dataclass

import numpy as np

from worldsim.envs.drop.physics import ACTION, DropPhysics, DropStart, task_start
from worldsim.envs.drop.rendering import DepthCamera
from worldsim.envs.mujoco_truth import MujocoTruth
from worldsim.registry import TRUTHS

HORIZON = 12
SAME_START = 0.02  # metres by which two takes of one start may lie apart
INSTRUCTION = "let the ball fall and push it onto the green floor"


class DropTruth(MujocoTruth):
    """The ball, seen by one camera. A start's seed says where it is held.

    With `depth`, states also have what the camera measures and where it stands: `depth`, `segmentation`, `intrinsics`, `camera_pose`.
    """

    action, physics, camera, task_start = ACTION, DropPhysics, DepthCamera, staticmethod(task_start)

    def __init__(self, size: int = 32, *, depth: bool = False) -> None:
        super().__init__(size)
        self._depth = depth

    def nudged(self, seed: int, rng: np.random.Generator) -> DropStart:
        """The start of a seed as it is when it is set up a second time: off by up to 2 cm to the side and in height."""
        start, (x, z) = task_start(seed), rng.uniform(-SAME_START, SAME_START, 2)
        return DropStart(start.x + x, start.z + z)

    def state_of(self, physics: DropPhysics) -> dict[str, np.ndarray]:
        """The exact state of one lane and, with `depth`, what the camera measures of it."""
        return physics.state() | (self._camera.measure(physics.data) | self._camera.lens(physics.data) if self._depth else {})


@TRUTHS.register("drop")
@dataclass
class DropTruthConfig:
    """The MuJoCo ball, rendered at `size` pixels; with `depth`, states have depth, segmentation and the camera too."""

    size: int = 32
    depth: bool = False

    def build(self) -> DropTruth:
        """Open the scene; needs mujoco and an OpenGL library."""
        return DropTruth(self.size, depth=self.depth)
