"""`worldsim/DrawerTruth-v0`: the drawer that plays the real world, as a Gymnasium environment."""

from worldsim.envs.drawer.truth import HORIZON, DrawerTruth
from worldsim.envs.mujoco_truth_env import MujocoTruthEnv


class DrawerTruthEnv(MujocoTruthEnv):
    """Close the drawer. Observation uint8 `[size, size, 3]`, action float32 [3] in [-1, 1], reward 1 and termination when closed.

    64 pixels are what the shipped model knows; 128 look better.
    """

    truth = DrawerTruth

    def __init__(self, size: int = 64, horizon: int = HORIZON, render_mode: str | None = None) -> None:
        super().__init__(size, horizon, render_mode)
