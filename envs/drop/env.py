"""`worldsim/DropTruth-v0`: the falling ball that plays the real world, as a Gymnasium environment."""

from worldsim.envs.drop.truth import HORIZON, DropTruth
from worldsim.envs.mujoco_truth_env import MujocoTruthEnv


class DropTruthEnv(MujocoTruthEnv):
    """Let the ball go and push it over the line. Observation uint8 `[size, size, 3]`, action float32 [2] in [-1, 1] (release, push).

    An episode lasts `horizon` steps. The last one terminates it with reward 1 when the ball is right of the line, and truncates it
    otherwise; every other reward is 0.
    """

    truth = DropTruth

    def __init__(self, size: int = 32, horizon: int = HORIZON, render_mode: str | None = None) -> None:
        super().__init__(size, horizon, render_mode)

    def terminates(self, *, success: bool, over: bool) -> bool:
        """Where the ball is counts at the end."""
        return over and success
