"""Scripted hands for the three tasks: an expert, and the many ways of doing less well that a world model must have seen.

A behaviour is a generator: it is sent the true state and yields an action [3] in [-1, 1].
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from worldsim.envs.behaviours import Behaviour, chosen
from worldsim.envs.drawer.behaviours import acting, random_walk, still, toward
from worldsim.envs.table.experts import EXPERT, EXPERTS, MIDDLE, Plan
from worldsim.envs.table.physics import TASKS, TablePhysics


def planned(task: str, plan: Plan) -> Behaviour:
    """The expert of a task with some plan, for ever."""
    return acting(partial(EXPERTS[task], plan=plan))


def expert(task: str, rng: np.random.Generator) -> Behaviour:
    """The expert at full speed."""
    return planned(task, EXPERT)


def slow(task: str, rng: np.random.Generator) -> Behaviour:
    """The expert at a fraction of its speed: many of these run out of time half-way."""
    return planned(task, Plan(speed=rng.uniform(0.3, 0.9)))


def biased(task: str, rng: np.random.Generator) -> Behaviour:
    """The expert aiming beside, so that it misses, clips an edge, slides off or stops at the wrong place."""
    offset = rng.normal(0.0, [0.035, 0.018, 0.018]) * (rng.random(3) < 0.7)
    return planned(task, Plan(tuple(offset), rng.uniform(0.5, 1.0), rng.normal(0, 0.05) * (rng.random() < 0.5)))


def stopped(task: str, rng: np.random.Generator) -> Behaviour:
    """Go about it until a while after something moved, then retreat, lift, hover, creep or slide aside; a quarter resumes later."""
    plan = Plan(tuple(rng.normal(0.0, [0.02, 0.008, 0.01])), rng.uniform(0.4, 1.0))
    after, left = rng.integers(0, 7), None
    leave = [(0, -1, 0), (0, -0.3, 1), (0, 0, 0), (-0.5, 0, 1), (1, 0, 0), (-1, 0, 0)][rng.integers(6)]
    pause = rng.integers(3, 10) if rng.random() < 0.25 else 1000
    state = yield np.zeros(3)
    before = float(state["moved"])
    while left is None or left > 0:
        if left is None and abs(float(state["moved"]) - before) > 0.003:
            left = after
        elif left is not None:
            left -= 1
        state = yield EXPERTS[task](state, plan)
    for _ in range(pause):
        state = yield np.array(leave) * plan.speed
    while True:
        state = yield EXPERTS[task](state, plan)


def waypoints(task: str, rng: np.random.Generator) -> Behaviour:
    """From one random place near what the task is about to the next."""
    state = yield np.zeros(3)
    while True:
        goal = rng.uniform(*TablePhysics.workspace) if rng.random() < 0.4 else MIDDLE[task](state) + rng.normal(0, [0.06, 0.05, 0.05])
        speed = rng.uniform(0.3, 1.0)
        for _ in range(rng.integers(3, 12)):
            state = yield toward(state, goal, speed)


def switching(task: str, rng: np.random.Generator) -> Behaviour:
    """Expert and wandering by turns."""
    wander = random_walk(rng)
    next(wander)
    state = yield np.zeros(3)
    while True:
        for _ in range(rng.integers(3, 12)):
            state = yield EXPERTS[task](state)
        for _ in range(rng.integers(2, 6)):
            state = yield wander.send(state)


def other_task(task: str, rng: np.random.Generator) -> Behaviour:
    """The expert of another task."""
    return planned(str(rng.choice([other for other in TASKS if other != task])), EXPERT)


def _of_no_task(make: Callable[[np.random.Generator], Behaviour]) -> Callable[[str, np.random.Generator], Behaviour]:
    return lambda task, rng: make(rng)


BEHAVIOURS: dict[str, Callable[[str, np.random.Generator], Behaviour]] = {
    **{make.__name__: make for make in (expert, slow, biased, stopped, waypoints, switching, other_task)},
    **{make.__name__: _of_no_task(make) for make in (random_walk, still)},
}
MIXES = {
    "default": {
        "expert": 0.14, "slow": 0.10, "biased": 0.28, "stopped": 0.22,
        "waypoints": 0.08, "switching": 0.08, "other_task": 0.04, "random_walk": 0.04, "still": 0.02,
    },
    "expert": {"expert": 1.0},
}  # fmt: skip


def choose_behaviour(task: str, mix: str, rng: np.random.Generator) -> tuple[str, Behaviour]:
    """Draw a behaviour for a task from a named mix, started and ready to be sent states.

    Raises:
        UnknownName: no such mix; with the closest known name.
    """
    return chosen({name: partial(make, task) for name, make in BEHAVIOURS.items()}, MIXES, mix, rng)
