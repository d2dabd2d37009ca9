"""The drawer scene as a simulator: a start, an action, the next state. Knows nothing about pictures, episodes or rewards.

Lengths are metres, angles radians. The action moves the hand's target by at most 2 cm per axis at 10 Hz; the arm follows
by inverse kinematics and position actuators, and the drawer moves only when something touches it.
"""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from worldsim.envs.drawer.rendering import import_mujoco
from worldsim.envs.drawer.shift import Shift, add_distractor, apply
from worldsim.types import ActionSpec

ACTION = ActionSpec(names=("x", "y", "z"), low=(-1.0,) * 3, high=(1.0,) * 3, rate_hz=10.0)
REACH = 0.02  # metres that an action of 1 moves the target
SUBSTEPS = 25  # of 4 ms
CLOSED = 0.02  # an opening below this counts as closed
OPENING = (0.0, 0.168)
WORKSPACE = np.array([[-0.17, -0.33, 0.075], [0.17, 0.03, 0.26]])  # corners of the box that the hand's target stays in
CABINET_X = (-0.07, 0.09)  # where the cabinet stands along x in recordings and starts
HANDLE_Y = 0.022  # the handle's y at opening 0
HANDLE_Z = 0.12
SAME = 0.002  # metres by which two takes of one start may lie apart
_BASE, _SHOULDER_Z, _LINK, _WRIST_TO_TIP = np.array([-0.40, -0.16]), 0.24, 0.30, 0.14


@dataclass(frozen=True)
class DrawerStart:
    """One initial condition: the cabinet's place along x, the drawer's opening and the hand's position."""

    cabinet_x: float
    opening: float
    hand: tuple[float, float, float]


def task_start(seed: int, beyond: float = 0.0) -> DrawerStart:
    """The start that a seed stands for in the closing task: drawer well open, hand in front of it.

    With `beyond`, metres, all is as it is without, but the cabinet stands up to so much outside its range, at the nearer side.
    """
    rng = np.random.default_rng([seed, 1])
    hand = rng.uniform([-0.17, -0.31, 0.13], [0.13, -0.24, 0.24])
    cabinet, opening = rng.uniform(*CABINET_X), rng.uniform(0.11, 0.165)
    return DrawerStart(moved_out(cabinet, beyond, rng), opening, tuple(hand))


def moved_out(cabinet: float, beyond: float, rng: np.random.Generator) -> float:
    """The cabinet's place up to `beyond` metres outside its range, at the nearer side; where it is if that is 0, and nothing is drawn."""
    if not beyond:
        return cabinet
    out, (low, high) = rng.uniform(0, beyond), CABINET_X
    return low - out if cabinet < (low + high) / 2 else high + out


def wide_start(seed: int) -> DrawerStart:
    """A start for training data: any opening, and often a hand anywhere in the workspace that is free of the drawer."""
    rng = np.random.default_rng([seed, 2])
    start = task_start(seed)
    opening = rng.uniform(*OPENING) if rng.random() < 0.6 else start.opening
    hand = start.hand
    while rng.random() < 0.45 or not _is_free(hand, opening):
        hand = tuple(rng.uniform(*WORKSPACE))
        if _is_free(hand, opening):
            break
    return DrawerStart(start.cabinet_x, opening, hand)


def nudged(start: DrawerStart, rng: np.random.Generator) -> DrawerStart:
    """A start as it is when it is set up a second time: hand, drawer and cabinet up to 2 mm off along each axis."""
    cabinet, opening, *hand = rng.uniform(-SAME, SAME, 5)
    opened = float(np.clip(start.opening + opening, *OPENING))
    return DrawerStart(start.cabinet_x + cabinet, opened, tuple(np.add(start.hand, hand)))


def _is_free(hand: tuple[float, ...], opening: float) -> bool:
    """Whether the fingers clear the handle, the drawer and the cabinet's top."""
    return hand[1] < HANDLE_Y - opening - 0.035 or hand[2] > 0.20


class DrawerPhysics:
    """One drawer world. `reset` places everything, `step` advances 0.1 s. `shift` says how it differs from the known one."""

    workspace = WORKSPACE

    def __init__(self, shift: Shift | None = None) -> None:
        self._mujoco, shift = import_mujoco(), shift or Shift()
        spec = self._mujoco.MjSpec.from_string(files("worldsim.envs.drawer").joinpath("scene.xml").read_text())
        self.furnish(spec)
        add_distractor(spec, shift.distractor)
        self.model = spec.compile()
        apply(self.model, shift)
        self.data = self._mujoco.MjData(self.model)
        self._cabinet = self.model.body("cab").id
        self._tip = self.model.site("tcp").id
        self._drawer = self.model.joint("drawer").qposadr[0]
        self._arm = [self.model.joint(f"j{i}").qposadr[0] for i in range(5)]
        self.target = np.zeros(3)

    def furnish(self, spec) -> None:
        """Change the `mujoco.MjSpec` of the scene before it is compiled; the drawer's own stands as it is."""

    def reset(self, start: DrawerStart) -> None:
        """Place cabinet, drawer and hand, all at rest."""
        self._mujoco.mj_resetData(self.model, self.data)
        self.model.body_pos[self._cabinet, 0] = start.cabinet_x
        self.target = np.clip(np.asarray(start.hand, dtype=np.float64), *self.workspace)
        self.data.qpos[self._drawer] = start.opening
        self.data.qpos[self._arm] = self.data.ctrl[:] = _joints(self.target)
        self._mujoco.mj_forward(self.model, self.data)

    def step(self, action: np.ndarray) -> None:
        """Move the hand's target by 2 cm times `action` [3] in [-1, 1] and simulate 0.1 s."""
        self.target = np.clip(self.target + REACH * np.asarray(action, dtype=np.float64), *self.workspace)
        self.data.ctrl[:] = _joints(self.target)
        self._mujoco.mj_step(self.model, self.data, SUBSTEPS)
        self._mujoco.mj_forward(self.model, self.data)  # so that the tip's position is that of the new joints

    @property
    def opening(self) -> float:
        """Metres that the drawer stands open."""
        return float(self.data.qpos[self._drawer])

    @property
    def success(self) -> bool:
        """Whether the drawer counts as closed."""
        return self.opening < CLOSED

    def state(self) -> dict[str, np.ndarray]:
        """Everything the future depends on, by name."""
        return {
            "opening": np.float64(self.opening),
            "hand": self.data.site_xpos[self._tip].copy(),
            "target": self.target.copy(),
            "cabinet_x": np.float64(self.model.body_pos[self._cabinet, 0]),
            "qpos": self.data.qpos.copy(),
            "qvel": self.data.qvel.copy(),
        }


def _joints(tip: np.ndarray) -> np.ndarray:
    """Joint angles [5] that put the fingertips at `tip` with the hand pointing down (closed form: yaw, two links, wrist)."""
    planar = tip[:2] - _BASE
    yaw, reach = np.arctan2(planar[1], planar[0]), np.hypot(*planar)
    height = tip[2] + _WRIST_TO_TIP - _SHOULDER_Z
    distance = np.clip(np.hypot(reach, height), 0.05, 2 * _LINK - 1e-3)
    bend = np.arccos(distance / (2 * _LINK))
    lift = np.arctan2(height, reach) + bend  # angle of the upper link above the horizon
    return np.array([yaw, -lift, 2 * bend, lift - 2 * bend, -yaw])
