"""The true drop world for the evaluator and the collector: several lanes, each reset to a start, states reported exactly."""

from dataclasses import dataclass

import numpy as np

from worldsim.envs.drop.physics import ACTION, DropPhysics, task_start
from worldsim.envs.drop.rendering import DepthCamera
from worldsim.envs.mujoco_truth import MujocoTruth
from worldsim.registry import TRUTHS

HORIZON = 12
INSTRUCTION = "let the ball fall and push it onto the green floor"


class DropTruth(MujocoTruth):
    """The ball, seen by one camera. A start's seed says where it is held.

    With `depth`, states also have what the camera measures and where it stands: `depth`, `segmentation`, `intrinsics`, `camera_pose`.
    """

    action, physics, camera, task_start = ACTION, DropPhysics, DepthCamera, staticmethod(task_start)

    def __init__(self, size: int = 32, *, depth: bool = False) -> None:
        super().__init__(size)
        self._depth = depth

    def state_of(self, physics: DropPhysics) -> dict[str, np.ndarray]:
        """The exact state of one lane and, with `depth`, what the camera measures of it."""
        return physics.state() | (self._camera.measure(physics.data) | self._camera.lens(physics.data) if self._depth else {})


@TRUTHS.register("drop")
@dataclass
class DropTruthConfig:
    """The MuJoCo ball.

    Attributes:
        size: pixels of a side of the picture.
        depth: states have depth, segmentation and the camera too.
    """

    size: int = 32
    depth: bool = False

    def build(self) -> DropTruth:
        """Open the scene; needs mujoco and an OpenGL library."""
        return DropTruth(self.size, depth=self.depth)
