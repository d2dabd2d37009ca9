"""Recorded episodes played again in the true world that recorded them: from a start that is a little off, or under other actions.

What two takes of the same actions differ by is the ceiling of every measure of a prediction.
"""

from collections.abc import Callable, Sequence
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
    return _retaken(truth, episodes, lambda episode, start: recorded.nudged(start, np.random.default_rng([seed, episode.seed, 17])))


def other_courses(truth: str, episodes: Sequence[Trajectory], actions: np.ndarray) -> list[Trajectory]:
    """What would really have happened under other actions `[N, T, A]`, from the same starts.

    Raises:
        UnknownName, InvalidInput, MissingDependency: as `second_takes`.
    """
    led = [replace(episode, actions=each) for episode, each in zip(episodes, actions, strict=True)]
    return _retaken(truth, led, lambda _, start: start)


def _retaken(truth: str, episodes: Sequence[Trajectory], begin: Callable[[Trajectory, Any], Any]) -> list[Trajectory]:
    """Each episode's actions from the place that `begin` makes of its start."""
    recorded = recorded_world(truth)
    world = TRUTHS.config(truth, recorded.options).build()
    try:
        starts = [_start(world, recorded, each) for each in episodes]
        return [retaken(world, each, begin(each, start)) for each, start in zip(episodes, starts, strict=True)]
    finally:
        world.close()


def _start(world: Any, recorded: Any, episode: Trajectory) -> Any:
    if episode.metadata.get("begin"):
        raise InvalidInput("the clips do not begin where their episodes do; give recordings as long as the protocol's clips")
    start = recorded.start(episode.seed)
    if not np.array_equal(world.place([start])[0], episode.frames[0]):
        raise InvalidInput(f"episode {episode.seed} does not begin as worldsim collect lets it begin, so it cannot be played again")
    return start


def retaken(world: Any, episode: Trajectory, start: Any) -> Trajectory:
    """The actions of an episode in a true world, from another start."""
    frames, states = [world.place([start])[0]], [world.states()]
    for action in episode.actions:
        frame, state = world.step(action[None])
        frames.append(frame[0])
        states.append(state)
    return replace(episode, frames=np.stack(frames), states={name: np.stack([state[name][0] for state in states]) for name in states[0]})
