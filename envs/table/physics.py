"""The drawer scene with a block and a marked zone, as a simulator of three tasks. Knows nothing about pictures, episodes or rewards.

Arm, table, cabinet and drawer are the drawer world's; the handle stands further out and is wider, so that both fingers fit behind it, and
the hand may go down to the table. Lengths are metres.
"""

from dataclasses import dataclass

import numpy as np

from worldsim.envs.drawer.physics import CABINET_X, CLOSED, OPENING, SAME, WORKSPACE, DrawerPhysics, moved_out
from worldsim.envs.drawer.shift import Shift

TASKS = ("close", "open", "push")
CHAINS = ("close-push",)  # tasks that are asked for one after the other
OPENED = 0.11  # an opening beyond this counts as open
PLACED = 0.035  # the block counts as placed when it is at most so far off the zone's centre, along x and along y
HANDLE_Y = -0.018  # the handle's y at opening 0
GAP_Y = 0.0185  # y of the middle between handle and front at opening 0
BLOCK = 0.028  # half the block's edge
ZONE = 0.048  # half the zone's edge
BLOCK_X, BLOCK_Y, ZONE_X = (-0.075, -0.02), (-0.20, -0.11), (0.055, 0.12)  # where they stand in the tasks' starts
LOW = 0.035  # the least height of the hand's target


@dataclass(frozen=True)
class TableStart:
    """One initial condition: what a `DrawerStart` has, and where on the table block and zone are, (x, y)."""

    cabinet_x: float
    opening: float
    hand: tuple[float, float, float]
    block: tuple[float, float]
    zone: tuple[float, float]


def task_start(seed: int, task: str, beyond: float = 0.0) -> TableStart:
    """The start that a seed stands for in a task: the drawer open to be closed, else shut; the hand in front of everything.

    `beyond` is as for the drawer: the cabinet stands up to so much, metres, outside its range.
    """
    rng = np.random.default_rng([seed, 5])
    hand = rng.uniform([-0.17, -0.31, 0.13], [0.13, -0.24, 0.24])
    cabinet, opened, shut = rng.uniform(*CABINET_X), rng.uniform(0.11, 0.165), rng.uniform(0.0, 0.012)
    block, zone_x, aside = rng.uniform(*zip(BLOCK_X, BLOCK_Y, strict=True)), rng.uniform(*ZONE_X), rng.uniform(-0.012, 0.012)
    opening = opened if task.startswith("close") else shut
    return TableStart(moved_out(cabinet, beyond, rng), opening, tuple(hand), tuple(block), (zone_x, block[1] + aside))


def wide_start(seed: int, task: str) -> TableStart:
    """A start for training data: often a drawer, a block, a zone or a hand where no start of the task has them."""
    rng, start = np.random.default_rng([seed, 6]), task_start(seed, task)
    opening, block, zone, hand = start.opening, start.block, start.zone, start.hand
    if rng.random() < (0.5 if task != "push" else 0.15):
        opening = rng.uniform(*OPENING)
    if rng.random() < 0.4:
        block = tuple(rng.uniform([-0.12, -0.24], [0.13, -0.08]))
    if rng.random() < 0.2:
        zone = tuple(rng.uniform([0.0, -0.22], [0.12, -0.08]))
    while rng.random() < 0.4:
        elsewhere = tuple(rng.uniform(*TablePhysics.workspace))
        if _is_free(elsewhere, opening, block):
            hand = elsewhere
            break
    return TableStart(start.cabinet_x, opening, hand, block, zone)


def nudged(start: TableStart, rng: np.random.Generator) -> TableStart:
    """A start as it is when it is set up a second time: hand, drawer, cabinet and block up to 2 mm off along each axis."""
    cabinet, opening, *rest = rng.uniform(-SAME, SAME, 7)
    opened = float(np.clip(start.opening + opening, *OPENING))
    hand, block = np.add(start.hand, rest[:3]), np.add(start.block, rest[3:])
    return TableStart(start.cabinet_x + cabinet, opened, tuple(hand), tuple(block), start.zone)


def _is_free(hand: tuple[float, ...], opening: float, block: tuple[float, float]) -> bool:
    """Whether the fingers clear the handle, the drawer, the cabinet's top and the block."""
    clear_of_drawer = hand[1] < HANDLE_Y - opening - 0.04 or hand[2] > 0.20
    return clear_of_drawer and (hand[2] > 0.09 or max(abs(hand[0] - block[0]) - 0.04, abs(hand[1] - block[1]) - 0.02) > 0.032)


class TablePhysics(DrawerPhysics):
    """One such world. `miss` says how far it is from what its task asks for."""

    workspace = np.array([[*WORKSPACE[0, :2], LOW], WORKSPACE[1]])

    def __init__(self, task: str = "close", shift: Shift | None = None) -> None:
        super().__init__(shift)
        self.task = task
        self._block = self.model.joint("block").qposadr[0]
        self._block_body, self._zone = self.model.body("block").id, self.model.body("zone").id

    def furnish(self, spec) -> None:
        """A wider handle further out, the block and the zone."""
        out = HANDLE_Y - 0.17  # the handle's y in the cabinet's frame
        spec.geom("handle").fromto = [-0.075, out, 0, 0.075, out, 0]
        for name, x in (("left post", -0.07), ("right post", 0.07)):
            spec.geom(name).fromto = [x, -0.124, 0, x, out, 0]
        zone = spec.worldbody.add_body(name="zone")
        zone.add_geom(type=6, size=[ZONE, ZONE, 0.001], pos=[0, 0, 0.001], rgba=[0.10, 0.12, 0.14, 1], contype=0, conaffinity=0)
        zone.add_geom(
            type=6, size=[ZONE - 0.012, ZONE - 0.012, 0.001], pos=[0, 0, 0.002], rgba=[0.95, 0.95, 0.95, 1], contype=0, conaffinity=0
        )
        block = spec.worldbody.add_body(name="block", pos=[0, 0, BLOCK])
        block.add_freejoint(name="block")
        block.add_geom(type=6, size=[BLOCK] * 3, rgba=[0.15, 0.60, 0.25, 1], mass=0.15)

    def reset(self, start: TableStart) -> None:
        """Place cabinet, drawer, hand, block and zone, all at rest."""
        super().reset(start)
        self.data.qpos[self._block : self._block + 7] = *start.block, BLOCK, 1, 0, 0, 0
        self.model.body_pos[self._zone, :2] = start.zone
        self._mujoco.mj_forward(self.model, self.data)

    @property
    def miss(self) -> float:
        """Metres that are wanting to success, of several tasks to that which wants most; below 0 is success."""
        return max(self._miss(task) for task in self.task.split("-"))

    def _miss(self, task: str) -> float:
        if task == "close":
            return self.opening - CLOSED
        if task == "open":
            return OPENED - self.opening
        return float(np.abs(self.data.xpos[self._block_body, :2] - self.model.body_pos[self._zone, :2]).max()) - PLACED

    @property
    def success(self) -> bool:
        """Whether the task is done."""
        return self.miss < 0

    def state(self) -> dict[str, np.ndarray]:
        """Everything the future depends on, by name; also `miss`, and `moved`, a number that changes when drawer or block move, m."""
        block = self.data.xpos[self._block_body].copy()
        return super().state() | {
            "block": block,
            "zone": self.model.body_pos[self._zone, :2].copy(),
            "moved": np.float64(self.opening + block[:2].sum()),
            "miss": np.float64(self.miss),
        }
