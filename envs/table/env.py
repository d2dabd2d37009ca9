"""`worldsim/TableTruth-v0`: the table that plays the real world, as a Gymnasium environment."""

from functools import partial

from worldsim.envs.mujoco_truth_env import MujocoTruthEnv
from worldsim.envs.table.truth import ASKED, TableTruth, horizon_of
from worldsim.errors import UnknownName
from worldsim.registry import did_you_mean


class TableTruthEnv(MujocoTruthEnv):
    """Close the drawer, open it, push the block into the zone, or `close-push`, one and then the other.

    Observation uint8 `[size, size, 3]`, action float32 [3] in [-1, 1]. An episode lasts `horizon` steps; None is 32, or 64 for two tasks.
    The last one terminates it with reward 1 when the task is done then, and truncates it otherwise; every other reward is 0: a block may
    be pushed through the zone, and a drawer shut again.
    """

    def __init__(self, task: str = "close", size: int = 64, horizon: int | None = None, render_mode: str | None = None) -> None:
        if task not in ASKED:
            raise UnknownName(f'the table has no task "{task}"; {did_you_mean(task, ASKED)}')
        self.truth = partial(TableTruth, task)
        super().__init__(size, horizon_of(task) if horizon is None else horizon, render_mode)

    def terminates(self, *, success: bool, over: bool) -> bool:
        """Where things are counts at the end."""
        return over and success
