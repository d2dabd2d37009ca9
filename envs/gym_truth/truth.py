"""Lanes of any Gymnasium environment as a true world (`worldsim.types.Truth`), and the task of its held-out seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from worldsim.data.splits import seed_of
from worldsim.envs.gym_truth.actions import code_of
from worldsim.envs.gym_truth.failing import named_failures
from worldsim.envs.gym_truth.lane import GymLane
from worldsim.envs.gym_truth.making import limit_of, make_environment
from worldsim.envs.gym_truth.options import GymOptions
from worldsim.envs.gym_truth.success import success_rule
from worldsim.errors import InvalidInput
from worldsim.registry import TASKS, TRUTHS
from worldsim.types import Start, Task


class GymTruth:
    """An environment in as many lanes as are asked for, each made once. A start is a seed: `reset(seed=...)` says where everything is.

    Raises:
        WorldsimError: an environment that cannot be a true world; the line says why, and which option would help.
    """

    def __init__(self, options: GymOptions) -> None:
        self._options = options.checked()
        env = make_environment(options)
        self._code = code_of(env.action_space, _rate(options, env.metadata), options.id)
        self.action, self.horizon = self._code.spec, _horizon(options)
        self._judge = success_rule(options, _first_info(env, options))
        self._spare = [GymLane(env, options, self._code, self._judge)]
        self._lanes: list[GymLane] = []
        self._shapes: dict[str, tuple[int, ...]] = {}

    def reset(self, starts: Sequence[Start]) -> np.ndarray:
        """Put lane i at `starts[i]` and return frames uint8 `[B, H, W, 3]`."""
        return self.place([start.seed for start in starts])

    def place(self, starts: Sequence[int]) -> np.ndarray:
        """As `reset`, from seeds."""
        while len(self._spare) < len(starts):
            self._spare.append(GymLane(make_environment(self._options), self._options, self._code, self._judge))
        self._lanes = self._spare[: len(starts)]
        for lane, seed in zip(self._lanes, starts, strict=True):
            lane.reset(seed)
        return self._frames()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Actions float32 `[B, A]` to frames and states by name, each `[B, ...]`."""
        for lane, action in zip(self._lanes, self.action.check(actions), strict=True):
            lane.step(action)
        return self._frames(), self.states()

    @property
    def faults(self) -> tuple[str, ...]:
        """One line per lane, empty while its environment is sound; one that failed stands still until it is placed again."""
        return tuple(lane.fault for lane in self._lanes)

    def states(self) -> dict[str, np.ndarray]:
        """What is known of every lane now: see `GymLane.state`.

        Raises:
            InvalidInput: the environment observes now more and now less.
        """
        rows = [lane.state() for lane in self._lanes]
        for row in rows:
            self._refuse_other_shapes({name: values.shape for name, values in row.items()})
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _refuse_other_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Stop where a state has another shape than the first one had."""
        self._shapes = self._shapes or shapes
        for name in [*shapes, *self._shapes]:
            if shapes.get(name) != self._shapes.get(name):
                before, now = ("nothing" if shape is None else list(shape) for shape in (self._shapes.get(name), shapes.get(name)))
                raise InvalidInput(
                    f"{self._options.id} changed the size of its {name}: {before} and then {now}; register it with a wrapper that keeps it "
                    "(gymnasium.wrappers.TransformObservation) and name that: truth=gym:MODULE:ID"
                )

    def close(self) -> None:
        """Release all environments."""
        for lane in self._spare:
            lane.close()
        self._spare, self._lanes = [], []

    def _frames(self) -> np.ndarray:
        return np.stack([lane.frame for lane in self._lanes])


@TRUTHS.register("gym")
@dataclass
class GymTruthConfig(GymOptions):
    """Any Gymnasium environment; `gym:ID` is short for `{name: gym, id: ID}`."""

    def build(self) -> GymTruth:
        """Make the environment."""
        return GymTruth(self)


@TASKS.register("gym")
@dataclass
class GymTask(GymOptions):
    """What is asked in an environment, from the first seeds of the evaluation split.

    Attributes:
        starts: how many of them.
    """

    starts: int = 100

    def build(self) -> Task:
        """Reset the environment to each seed and look.

        Raises:
            WorldsimError: as `GymTruth`, or no start is asked for.
        """
        if self.starts < 1:
            raise InvalidInput(f"{self.id}: starts is {self.starts}, expected at least 1")
        seeds = [seed_of("evaluation", index) for index in range(self.starts)]
        truth = GymTruth(GymOptions(**{each.name: getattr(self, each.name) for each in fields(GymOptions)}))
        try:
            starts = tuple(Start(f"{seed:07d}", truth.place([seed]), seed) for seed in seeds)
            return Task(self.name, self.instruction or self.name, truth.horizon, starts)
        finally:
            truth.close()


def _rate(options: GymOptions, metadata: dict) -> float:
    """Actions a second.

    Raises:
        InvalidInput: nobody says how many.
    """
    frames = metadata.get("render_fps")
    if options.rate_hz is None and not frames:
        raise InvalidInput(f"{options.id} names no render_fps; type {options.typed('rate_hz: 10')}")
    return float(options.rate_hz or frames / options.frame_skip)


def _horizon(options: GymOptions) -> int:
    """Steps of an episode.

    Raises:
        InvalidInput: nobody says how many.
    """
    limit = limit_of(options)
    if options.horizon is None and limit is None:
        raise InvalidInput(f"{options.id} has no max_episode_steps; type {options.typed('horizon: 50')}")
    return options.horizon or max(1, math.ceil(limit / options.frame_skip) - options.before)


def _first_info(env, options: GymOptions) -> dict:
    """The info of a first step.

    Raises:
        InvalidInput: a step that gives something else than Gymnasium's five values.
        EnvironmentFailed, MissingDependency: its code raised something.
    """
    with named_failures(options, "reset"):
        env.reset(seed=0)
    with named_failures(options, "step"):
        env.action_space.seed(0)
        answer = env.step(env.action_space.sample())
        count = len(answer)
    if count != 5:
        raise InvalidInput(
            f"a step of {options.id} gives {count} values, expected observation, reward, terminated, truncated and info; "
            "it was written for an older gym, wrap it"
        )
    return answer[4]
