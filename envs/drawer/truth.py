"""The true drawer world for the evaluator and the collector: several lanes, each reset to a start, states reported exactly."""

from dataclasses import dataclass, fields, replace
from functools import partial

from worldsim.data.tasks import shipped_task
from worldsim.envs.drawer.physics import ACTION, DrawerPhysics, task_start
from worldsim.envs.drawer.rendering import Camera
from worldsim.envs.drawer.shift import Shift
from worldsim.envs.mujoco_truth import MujocoTruth
from worldsim.registry import TASKS, TRUTHS
from worldsim.types import Task

HORIZON = 24
INSTRUCTION = "close the drawer"


class DrawerTruth(MujocoTruth):
    """The drawer, seen by one camera. A start's seed says where everything stands, `shift` what is unlike the known world."""

    action, physics, camera, task_start = ACTION, DrawerPhysics, Camera, staticmethod(task_start)

    def __init__(self, size: int = 64, shift: Shift | None = None) -> None:
        super().__init__(size)
        if shift is not None:
            self.physics, self.task_start = partial(DrawerPhysics, shift), partial(task_start, beyond=shift.beyond)


@TRUTHS.register("drawer")
@dataclass(frozen=True)
class DrawerTruthConfig(Shift):
    """The MuJoCo drawer; all options but `size` change it, see `Shift`.

    Attributes:
        size: pixels of a side of the picture.
    """

    size: int = 64

    @property
    def shift(self) -> Shift:
        """How it differs from the known world."""
        return Shift(**{field.name: getattr(self, field.name) for field in fields(Shift)})

    def build(self) -> DrawerTruth:
        """Open the scene; needs mujoco and an OpenGL library."""
        return DrawerTruth(self.size, self.shift)


@TASKS.register("drawer")
@dataclass(frozen=True)
class DrawerTask(DrawerTruthConfig):
    """Close the drawer, from held-out starts that ship with worldsim; with options, as those look in the world that has them."""

    def build(self) -> Task:
        """Read the starts, and render them again where they look otherwise; that needs mujoco and an OpenGL library."""
        task = shipped_task("drawer")
        if self == DrawerTask():
            return task
        world = DrawerTruth(self.size, self.shift)
        try:
            return replace(task, starts=tuple(replace(start, frames=world.reset([start])) for start in task.starts))
        finally:
            world.close()
