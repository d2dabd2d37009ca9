"""Hands for the drop world: when to let go, and how to push. A behaviour is sent the true state and yields an action [2] in [-1, 1]."""

from collections.abc import Callable

import numpy as np

from worldsim.envs.behaviours import Behaviour, State, chosen
from worldsim.envs.drop.physics import LINE


def expert_action(state: State) -> np.ndarray:
    """Let go at once, push right until the ball is well over the line, then brake."""
    ahead = LINE + 0.2 - float(state["ball"][0])
    return np.clip([1.0, 3.0 * ahead - 1.0 * float(state["speed"][0])], -1, 1)


def _released_at(step: int, push: Callable[[int, State], float]) -> Behaviour:
    """Let go at `step`; `push(t, state)` says how hard the push is."""
    state, now = (yield np.zeros(2)), 0
    while True:
        state = yield np.array([1.0 if now >= step else -1.0, push(now, state)])
        now += 1


def expert(rng: np.random.Generator) -> Behaviour:
    """The expert, a little late."""
    late = int(rng.integers(0, 3))
    return _released_at(late, lambda now, state: expert_action(state)[1])


def fall(rng: np.random.Generator) -> Behaviour:
    """Let go at some moment, and no push: gravity alone."""
    return _released_at(int(rng.integers(0, 6)), lambda now, state: 0.0)


def steady(rng: np.random.Generator) -> Behaviour:
    """One push all along, to either side."""
    push = rng.uniform(-1, 1)
    return _released_at(int(rng.integers(0, 5)), lambda now, state: push)


def wandering(rng: np.random.Generator) -> Behaviour:
    """A push that is drawn anew every few steps."""
    pushes = np.repeat(rng.uniform(-1, 1, 100), rng.integers(1, 5, 100))
    return _released_at(int(rng.integers(0, 5)), lambda now, state: pushes[now])


def hold(rng: np.random.Generator) -> Behaviour:
    """Never let go, whatever the push: what is held must stay where it is."""
    push = rng.uniform(-1, 1)
    return _released_at(1_000_000, lambda now, state: push)


BEHAVIOURS: dict[str, Callable[[np.random.Generator], Behaviour]] = {
    make.__name__: make for make in (expert, fall, steady, wandering, hold)
}
MIXES = {
    "default": {"expert": 0.15, "fall": 0.25, "steady": 0.25, "wandering": 0.28, "hold": 0.07},
    "fall": {"fall": 1.0},
    "expert": {"expert": 1.0},
}


def choose_behaviour(mix: str, rng: np.random.Generator) -> tuple[str, Behaviour]:
    """Draw a behaviour from a named mix, started and ready to be sent states.

    Raises:
        UnknownName: no such mix; with the closest known name.
    """
    return chosen(BEHAVIOURS, MIXES, mix, rng)
