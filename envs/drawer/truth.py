"""The true drawer world for the evaluator and the collector: several lanes, each reset to a start, states reported exactly."""

from dataclasses import dataclass

from worldsim.envs.drawer.physics import ACTION, DrawerPhysics, task_start
from worldsim.envs.drawer.rendering import Camera
from worldsim.envs.mujoco_truth import MujocoTruth
from worldsim.registry import TRUTHS

HORIZON = 24
INSTRUCTION = "close the drawer"


class DrawerTruth(MujocoTruth):
    """The drawer, seen by one camera. A start's seed says where everything stands."""

    action, physics, camera, task_start = ACTION, DrawerPhysics, Camera, staticmethod(task_start)

    def __init__(self, size: int = 64) -> None:
        super().__init__(size)


@TRUTHS.register("drawer")
@dataclass
class DrawerTruthConfig:
    """The MuJoCo drawer.

    Attributes:
        size: pixels of a side of the picture.
    """

    size: int = 64

    def build(self) -> DrawerTruth:
        """Open the scene; needs mujoco and an OpenGL library."""
        return DrawerTruth(self.size)
