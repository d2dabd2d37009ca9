"""A second real take of recorded episodes: the same actions from a start that is a little off. What two takes differ by is the ceiling."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.load import load_truth
from worldsim.types import Trajectory


def second_takes(truth: str, episodes: Sequence[Trajectory], seed: int = 0) -> list[Trajectory]:
    """Play each episode's actions again in the true world, from a start nudged by at most what its world calls the same (`nudged`).

    Raises:
        InvalidInput: a world that does not say what the same start is.
        MissingDependency: no simulator.
    """
    world = load_truth({"name": truth, "depth": True})
    if not hasattr(world, "nudged"):
        raise InvalidInput(f"truth {truth} does not say how far two takes of one start may lie apart, so there is no second take")
    try:
        return [_again(world, each, np.random.default_rng([seed, each.seed, 17])) for each in episodes]
    finally:
        world.close()


def _again(world: Any, episode: Trajectory, rng: np.random.Generator) -> Trajectory:
    frames, states = [world.place([world.nudged(episode.seed, rng)])[0]], [world.states()]
    for action in episode.actions:
        frame, state = world.step(action[None])
        frames.append(frame[0])
        states.append(state)
    return replace(episode, frames=np.stack(frames), states={name: np.stack([state[name][0] for state in states]) for name in states[0]})
