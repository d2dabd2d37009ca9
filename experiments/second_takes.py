"""A second real take of recorded episodes: the same actions from a start that is a little off. What two takes differ by is the ceiling."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.recorded_worlds import recorded_world
from worldsim.registry import TRUTHS
from worldsim.types import Trajectory


def second_takes(truth: str, episodes: Sequence[Trajectory], seed: int = 0) -> list[Trajectory]:
    """Play each episode's actions again in the true world that recorded it, from its start as it is when set up a second time.

    Raises:
        UnknownName: no such world.
        InvalidInput: episodes that do not begin as that world's do.
        MissingDependency: no simulator.
    """
    recorded = recorded_world(truth)
    world = TRUTHS.config(truth, recorded.options).build()
    try:
        return [_again(world, each, recorded.start(each.seed), recorded, seed) for each in episodes]
    finally:
        world.close()


def _again(world: Any, episode: Trajectory, start: Any, recorded: Any, seed: int) -> Trajectory:
    if not np.array_equal(world.place([start])[0], episode.frames[0]):
        raise InvalidInput(f"episode {episode.seed} does not begin as worldsim collect lets it begin, so it has no second take")
    return retaken(world, episode, recorded.nudged(start, np.random.default_rng([seed, episode.seed, 17])))


def retaken(world: Any, episode: Trajectory, start: Any) -> Trajectory:
    """The actions of an episode in a true world, from another start."""
    frames, states = [world.place([start])[0]], [world.states()]
    for action in episode.actions:
        frame, state = world.step(action[None])
        frames.append(frame[0])
        states.append(state)
    return replace(episode, frames=np.stack(frames), states={name: np.stack([state[name][0] for state in states]) for name in states[0]})
