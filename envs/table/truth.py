"""The true table world for the evaluator and the collector: close the drawer, open it, push the block into the zone, or two in a row."""

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
ASKED = physics.TASKS + physics.CHAINS


def instruction_of(task: str) -> str:
    """What is asked, in words."""
    return ", then ".join(INSTRUCTIONS[part] for part in task.split("-"))


def horizon_of(task: str) -> int:
    """Steps of an episode: so many for each part of a chain."""
    return HORIZON * len(task.split("-"))


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
    """The MuJoCo drawer with a block and a zone on the table: one scene, its tasks. `table:open` is short for {name: table, id: open}.

    Attributes:
        id: the task: close (the drawer), open (it, by its handle), push (the block into the zone), or close-push, one and then the other.
    """

    id: str = "close"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.id not in ASKED:
            raise UnknownName(f'the table has no task "{self.id}"; {did_you_mean(self.id, ASKED)}')

    def build(self) -> TableTruth:
        """Open the scene; needs mujoco and an OpenGL library."""
        return TableTruth(self.id, self.size, self.shift)


@TASKS.register("table")
@dataclass(frozen=True)
class TableTask(TableTruthConfig):
    """One of the tasks, from held-out starts that ship with worldsim; with options, as those look in the world that has them."""

    def build(self) -> Task:
        """Read the starts, and render them again where they look otherwise; that needs mujoco and an OpenGL library."""
        task = self._known()
        if self == TableTask(id=self.id):
            return task
        world = TableTruth(self.id, self.size, self.shift)
        try:
            return replace(task, starts=tuple(replace(start, frames=world.reset([start])) for start in task.starts))
        finally:
            world.close()

    def _known(self) -> Task:
        """The task in the known world; a chain begins where the first of its parts does."""
        first, *more = self.id.split("-")
        task = shipped_task(f"table-{first}")
        return replace(task, id=f"table-{self.id}", instruction=instruction_of(self.id), horizon=horizon_of(self.id)) if more else task
