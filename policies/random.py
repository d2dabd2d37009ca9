"""Policies that do not look: uniform random actions, and standing still."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Task


class RandomPolicy:
    """Actions drawn uniformly between the bounds, per lane from the lane's own seed."""

    def __init__(self, action: ActionSpec) -> None:
        self.action = action
        self._draws: dict[int, np.random.Generator] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Start each lane's stream of draws at its seed."""
        self._draws |= {lane: np.random.default_rng(seed) for lane, seed in zip(lanes, seeds, strict=True)}

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A]`."""
        return np.stack([self._draws[lane].uniform(self.action.low, self.action.high) for lane in lanes]).astype(np.float32)


class StillPolicy:
    """The action nearest to zero, always."""

    def __init__(self, action: ActionSpec) -> None:
        self.action = action

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Nothing to begin."""

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A]`."""
        return np.tile(self.action.rest.astype(np.float32), (len(lanes), 1))


@POLICIES.register("random")
@dataclass
class RandomConfig:
    """Uniform random actions."""

    def build(self, action: ActionSpec) -> RandomPolicy:
        """A policy with the world's own action."""
        return RandomPolicy(action)


@POLICIES.register("still")
@dataclass
class StillConfig:
    """No motion at all: what a world model must leave alone."""

    def build(self, action: ActionSpec) -> StillPolicy:
        """A policy with the world's own action."""
        return StillPolicy(action)
