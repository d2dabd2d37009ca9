"""The drop world as a simulator: a ball held in mid-air, let go, pushed sideways. Knows nothing about pictures, episodes or rewards.

Lengths are metres, x points right, z up. The ball moves in the plane y = 0 and does not turn. It falls under gravity, and bounces off the
floor, two walls and a block.
"""

from dataclasses import dataclass, replace
from importlib.resources import files

import numpy as np

from worldsim.envs.drawer.rendering import import_mujoco
from worldsim.types import ActionSpec

ACTION = ActionSpec(names=("release", "push"), low=(-1.0,) * 2, high=(1.0,) * 2, rate_hz=12.5)
SUBSTEPS = 40  # of 2 ms
PUSH = 1.0  # newtons that a push of 1 is; the ball weighs 0.2 kg
RADIUS = 0.17
LINE = 0.30  # right of it the ball is where the task wants it
HEIGHTS = (0.50, 1.20)  # of the ball's centre while it is held
SIDES = (-0.68, 0.10)
SAME = 0.02  # metres by which two takes of one start may lie apart


@dataclass(frozen=True)
class DropStart:
    """Where the ball is and how it moves: place (x, z) in metres, speed (x, z) in metres per second, and whether it has been let go."""

    x: float
    z: float
    speed: tuple[float, float] = (0.0, 0.0)
    released: bool = False


def task_start(seed: int) -> DropStart:
    """The start that a seed stands for: a ball held left of the line at some height."""
    rng = np.random.default_rng([seed, 3])
    return DropStart(rng.uniform(*SIDES), rng.uniform(*HEIGHTS))


def nudged(start: DropStart, rng: np.random.Generator) -> DropStart:
    """A start as it is when it is set up a second time: the ball up to 2 cm off, to the side and in height."""
    x, z = rng.uniform(-SAME, SAME, 2)
    return replace(start, x=start.x + x, z=start.z + z)


class DropPhysics:
    """One drop world. `reset` places the ball, `step` advances 0.08 s."""

    def __init__(self) -> None:
        self._mujoco = import_mujoco()
        self.model = self._mujoco.MjModel.from_xml_string(files("worldsim.envs.drop").joinpath("scene.xml").read_text())
        self.data = self._mujoco.MjData(self.model)
        self.released = False

    def reset(self, start: DropStart) -> None:
        """Place the ball."""
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = start.x, start.z
        self.data.qvel[:] = start.speed
        self.released = start.released
        self._mujoco.mj_forward(self.model, self.data)

    def step(self, action: np.ndarray) -> None:
        """One action [2]: a first number above 0 lets the ball go, for good; the second pushes it to the right once it is free."""
        self.released = self.released or bool(action[0] > 0)
        if not self.released:
            return
        self.data.qfrc_applied[0] = PUSH * float(action[1])
        self._mujoco.mj_step(self.model, self.data, SUBSTEPS)
        self._mujoco.mj_forward(self.model, self.data)

    @property
    def miss(self) -> float:
        """Metres that the ball's centre lies left of the line; below 0 is success."""
        return LINE - float(self.data.qpos[0])

    @property
    def success(self) -> bool:
        """Whether the ball is right of the line."""
        return self.miss < 0

    def state(self) -> dict[str, np.ndarray]:
        """Everything the future depends on, by name: `ball` [3] m, `speed` [3] m/s, `released` 0 or 1; and `miss` m."""
        (x, z), (vx, vz) = self.data.qpos, self.data.qvel
        return {
            "ball": np.array([x, 0.0, z]),
            "speed": np.array([vx, 0.0, vz]),
            "released": np.float64(self.released),
            "miss": np.float64(self.miss),
        }
