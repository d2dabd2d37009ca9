"""Scripted hands for the drawer: an expert, and the many ways of doing less well that a world model must have seen.

A behaviour is a generator: it is sent the true state and yields an action [3] in [-1, 1]. It sees the state, so it can act in
the true world only.
"""

from collections.abc import Callable

import numpy as np

from worldsim.envs.behaviours import Behaviour, State, chosen
from worldsim.envs.drawer.physics import HANDLE_Y, HANDLE_Z, REACH, WORKSPACE

PUSH_Y = WORKSPACE[1, 1]


def toward(state: State, goal: np.ndarray, speed: float = 1.0) -> np.ndarray:
    """The action that moves the hand's target straight to `goal`, at most `speed` times the fastest."""
    return np.clip((np.asarray(goal) - state["target"]) / REACH, -speed, speed)


def expert_action(state: State, offset: np.ndarray | None = None, speed: float = 1.0, shut_y: float = HANDLE_Y) -> np.ndarray:
    """Close the drawer: come in front of the handle, then push.

    `offset` [3] metres aims beside it; `shut_y` is the handle's y where the drawer is shut.
    """
    handle_y = shut_y - float(state["opening"])
    aim = np.array([float(state["cabinet_x"]), handle_y, HANDLE_Z]) + (0.0 if offset is None else offset)
    hand = state["target"]
    aligned = abs(hand[0] - aim[0]) < 0.025 and abs(hand[2] - aim[2]) < 0.02
    if aligned and hand[1] < handle_y + 0.02:
        return toward(state, [aim[0], PUSH_Y, aim[2]], speed)
    if hand[1] < handle_y - 0.03:  # in front of the handle
        return toward(state, [aim[0], min(aim[1], handle_y) - 0.05, aim[2]], speed)
    if hand[2] < 0.20:  # beside or above the drawer: lift before flying back over it
        return toward(state, [hand[0], hand[1] - 0.02, 0.23], speed)
    return toward(state, [aim[0], handle_y - 0.07, 0.23], speed)


def acting(act: Callable[[State], np.ndarray]) -> Behaviour:
    """The behaviour that does the same thing for ever."""
    state = yield np.zeros(3)
    while True:
        state = yield act(state)


def expert(rng: np.random.Generator) -> Behaviour:
    """The expert at full speed."""
    return acting(expert_action)


def slow(rng: np.random.Generator) -> Behaviour:
    """The expert at a fraction of its speed: many of these run out of time half-way."""
    speed = rng.uniform(0.2, 0.8)
    return acting(lambda state: expert_action(state, speed=speed))


def biased(rng: np.random.Generator) -> Behaviour:
    """The expert aiming beside the handle, so that it misses, clips an edge, slides off or pushes askew."""
    offset = rng.normal(0.0, [0.11, 0.02, 0.05])
    return acting(lambda state: expert_action(state, offset))


def still(rng: np.random.Generator) -> Behaviour:
    """Nearly nothing: what rests must stay where it is."""
    drift = rng.normal(0.0, 0.15, 3) * (rng.random() < 0.5)
    return acting(lambda state: drift)


def random_walk(rng: np.random.Generator) -> Behaviour:
    """A velocity that wanders."""
    velocity = rng.uniform(-1, 1, 3)
    yield np.zeros(3)
    while True:
        velocity = np.clip(0.8 * velocity + rng.normal(0, 0.5, 3), -1, 1)
        yield velocity


def waypoints(rng: np.random.Generator) -> Behaviour:
    """From one random place near the drawer to the next."""
    state = yield np.zeros(3)
    while True:
        handle = np.array([float(state["cabinet_x"]), HANDLE_Y - float(state["opening"]), HANDLE_Z])
        goal = rng.uniform(*WORKSPACE) if rng.random() < 0.4 else handle + rng.normal(0, [0.06, 0.05, 0.05])
        speed = rng.uniform(0.3, 1.0)
        for _ in range(rng.integers(3, 12)):
            state = yield toward(state, goal, speed)


def half_stop(rng: np.random.Generator) -> Behaviour:
    """Push until the drawer is partly shut, then retreat, lift, hover, creep or slide aside; a quarter resumes later."""
    speed, offset = rng.uniform(0.3, 1.0), rng.normal(0.0, [0.03, 0.01, 0.012])
    stop_at = rng.uniform(0.0, 0.13)
    after = rng.choice(5)
    leave = [(0, -1, 0), (0, -0.3, 1), (0, 0, 0), (0, 0.12, 0), (1, 0, 0)][after] * np.array([rng.choice([-1, 1]), 1, 1])
    pause = rng.integers(3, 10) if rng.random() < 0.25 else 1000
    state = yield np.zeros(3)
    while float(state["opening"]) > stop_at:
        state = yield expert_action(state, offset, speed)
    for _ in range(pause):
        state = yield leave * speed
    while True:
        state = yield expert_action(state, offset, speed)


def switching(rng: np.random.Generator) -> Behaviour:
    """Expert and wandering by turns."""
    wander = random_walk(rng)
    next(wander)
    state = yield np.zeros(3)
    while True:
        for _ in range(rng.integers(3, 10)):
            state = yield expert_action(state)
        for _ in range(rng.integers(2, 8)):
            state = yield wander.send(state)


BEHAVIOURS: dict[str, Callable[[np.random.Generator], Behaviour]] = {
    make.__name__: make for make in (expert, slow, biased, still, random_walk, waypoints, half_stop, switching)
}
MIXES = {
    "default": {
        "expert": 0.10, "slow": 0.12, "biased": 0.22, "half_stop": 0.28,
        "waypoints": 0.12, "switching": 0.08, "random_walk": 0.05, "still": 0.03,
    },
    "expert": {"expert": 1.0},
}  # fmt: skip


def choose_behaviour(mix: str, rng: np.random.Generator) -> tuple[str, Behaviour]:
    """Draw a behaviour from a named mix, started and ready to be sent states.

    Raises:
        UnknownName: no such mix; with the closest known name.
    """
    return chosen(BEHAVIOURS, MIXES, mix, rng)
