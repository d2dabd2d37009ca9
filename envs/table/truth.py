"""The true table world for the evaluator and the collector: close the drawer, open it, or push the block into the zone."""

from dataclasses import dataclass, replace
from functools import partial

from worldsim.data.tasks import shipped_task
from worldsim.envs.drawer.physics import ACTION
from worldsim.envs.drawer.rendering import Camera
from worldsim.envs.drawer.shift import Shift
from worldsim.envs.drawer.truth import DrawerTruthConfig
from worldsim.envs.mujoco_truth import MujocoTruth
from worldsim.envs.table import physics
from worldsim.errors import UnknownName
from worldsim.registry import TASKS, TRUTHS, did_you_mean
from worldsim.types import Task

HORIZON = 32
INSTRUCTIONS = {"close": "close the drawer", "open": "open the drawer", "push": "push the block into the zone"}


class TableTruth(MujocoTruth):
    """The table, seen by one camera. A start's seed says where everything stands, `shift` what is unlike the known world."""

    action, camera = ACTION, Camera

    def __init__(self, task: str, size: int = 64, shift: Shift | None = None) -> None:
        super().__init__(size)
        self.physics = partial(physics.TablePhysics, task, shift)
        self.task_start = partial(physics.task_start, task=task, beyond=shift.beyond if shift else 0.0)


@TRUTHS.register("table")
@dataclass(frozen=True)
class TableTruthConfig(DrawerTruthConfig):
    """The MuJoCo drawer with a block and a zone on the table: one scene, three tasks. `table:open` is short for {name: table, id: open}.

    Attributes:
        id: the task: close (the drawer), open (it, by its handle), or push (the block into the zone).
    """

    id: str = "close"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.id not in physics.TASKS:
            raise UnknownName(f'the table has no task "{self.id}"; {did_you_mean(self.id, physics.TASKS)}')

    def build(self) -> TableTruth:
        """Open the scene; needs mujoco and an OpenGL library."""
        return TableTruth(self.id, self.size, self.shift)


@TASKS.register("table")
@dataclass(frozen=True)
class TableTask(TableTruthConfig):
    """One of the three tasks, from held-out starts that ship with worldsim; with options, as those look in the world that has them."""

    def build(self) -> Task:
        """Read the starts, and render them again where they look otherwise; that needs mujoco and an OpenGL library."""
        task = shipped_task(f"table-{self.id}")
        if self == TableTask(id=self.id):
            return task
        world = TableTruth(self.id, self.size, self.shift)
        try:
            return replace(task, starts=tuple(replace(start, frames=world.reset([start])) for start in task.starts))
        finally:
            world.close()
