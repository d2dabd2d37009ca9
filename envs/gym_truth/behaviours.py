"""Ways of acting in an environment that nobody knows anything of: its actions drawn in several manners. Sees neither frame nor state."""

from collections.abc import Callable

import numpy as np

from worldsim.envs.behaviours import Behaviour, chosen
from worldsim.types import ActionSpec

Make = Callable[[np.random.Generator], Behaviour]


def behaviours_of(spec: ActionSpec) -> dict[str, Make]:
    """Behaviours by name: `random` (anything, anew at each step), `held` (anything, for some steps), `extreme` (a bound of each component,
    for some steps), `still` (the action nearest to zero). Of a choice, all are choices.
    """
    low, high = np.array(spec.low), np.array(spec.high)

    def anything(rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(low, high)

    def bound(rng: np.random.Generator) -> np.ndarray:
        return anything(rng) if spec.choice else np.where(rng.random(spec.size) < 0.5, low, high)

    def random(rng: np.random.Generator) -> Behaviour:
        return _holding(anything, rng, longest=1)

    def held(rng: np.random.Generator) -> Behaviour:
        return _holding(anything, rng, longest=12)

    def extreme(rng: np.random.Generator) -> Behaviour:
        return _holding(bound, rng, longest=20)

    def still(rng: np.random.Generator) -> Behaviour:
        return _holding(lambda rng: spec.rest, rng, longest=1)

    return {make.__name__: make for make in (random, held, extreme, still)}


def _holding(draw: Callable[[np.random.Generator], np.ndarray], rng: np.random.Generator, longest: int) -> Behaviour:
    """An action, kept for 1 to `longest` steps, then another."""
    yield draw(rng)
    while True:
        action = draw(rng)
        for _ in range(rng.integers(longest) + 1):
            yield action


MIXES = {
    "default": {"random": 0.2, "held": 0.4, "extreme": 0.35, "still": 0.05},
    "random": {"random": 1.0},
    "held": {"held": 1.0},
    "extreme": {"extreme": 1.0},
    "still": {"still": 1.0},
}


def choose_behaviour(spec: ActionSpec, mix: str, rng: np.random.Generator) -> tuple[str, Behaviour]:
    """Draw a behaviour from a named mix, started and ready to be sent states.

    Raises:
        UnknownName: no such mix; with the closest known name.
    """
    return chosen(behaviours_of(spec), MIXES, mix, rng)
