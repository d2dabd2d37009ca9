"""Policies that plan several actions ahead, made to act one action at a time: by playing a plan, or by averaging over plans."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.policies.adapters.base import Adapted
from worldsim.registry import ADAPTERS
from worldsim.types import ActionSpec, ChunkPolicy, Task


class Planned(Adapted):
    """A plan is asked for in those lanes that need one; a lane that fails has none. Episodes forget each other's plans."""

    def __init__(self, policy: ChunkPolicy) -> None:
        if not isinstance(policy, ChunkPolicy):
            raise InvalidInput(f"{type(policy).__name__} gives one action at a time; leave chunk and ensemble away")
        super().__init__(policy, policy.action)
        self._plans: dict[int, deque[np.ndarray]] = {}

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Forget the plans of these lanes."""
        super().reset(lanes, tasks, seeds)
        self._plans |= {lane: deque() for lane in lanes}

    def _ask(self, frames: np.ndarray, lanes: Sequence[int], rows: Sequence[int]) -> dict[int, np.ndarray]:
        """New plans `[T, A]` by lane, for these rows."""
        if not rows:
            return {}
        plans = np.asarray(self.policy.plan(frames[list(rows)], [lanes[row] for row in rows]), dtype=np.float32)
        if plans.ndim != 3 or plans.shape[0] != len(rows) or plans.shape[1] < 1 or plans.shape[2] != self.action.size:
            raise InvalidInput(f"a plan has shape {list(plans.shape)}, expected [{len(rows)} lanes, actions, {self.action.size}]")
        return {lanes[row]: plan for row, plan in zip(rows, plans, strict=True)}


class Chunk(Planned):
    """The first actions of a plan, one after another, without looking; then a new plan.

    Args:
        policy: the planner.
        execute: actions of each plan that are used; None is all of them.
    """

    def __init__(self, policy: ChunkPolicy, execute: int | None = None) -> None:
        super().__init__(policy)
        if execute is not None and execute < 1:
            raise InvalidInput(f"chunk executes {execute} actions of a plan, expected at least 1")
        self.execute = execute

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A]`.

        Raises:
            InvalidInput: a plan of another size, or shorter than what is to be executed of it.
        """
        empty = [row for row, lane in enumerate(lanes) if not self._plans[lane]]
        for lane, plan in self._ask(frames, lanes, empty).items():
            if self.execute is not None and len(plan) < self.execute:
                raise InvalidInput(f"chunk executes {self.execute} actions of a plan that has {len(plan)}; type execute: {len(plan)}")
            self._plans[lane] = deque(plan[: self.execute])
        return np.stack([self._plans[lane].popleft() for lane in lanes])


class Ensemble(Planned):
    """At every step a new plan, and the mean of what all plans so far say of this step.

    The i-th oldest of these plans weighs `exp(-temperature * i)`, i = 0 for the oldest (ACT, Zhao et al. 2023; SIMPLER does the same for
    Octo). A temperature of 0 is the plain mean.

    Args:
        policy: the planner.
        temperature: above 0 favours older plans, below 0 newer ones.
        plans: most plans that are averaged; None is as many as reach this step.
    """

    def __init__(self, policy: ChunkPolicy, temperature: float = 0.0, plans: int | None = None) -> None:
        super().__init__(policy)
        if plans is not None and plans < 1:
            raise InvalidInput(f"ensemble averages {plans} plans, expected at least 1")
        self.temperature, self.plans = temperature, plans

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """Float32 `[B, A]`."""
        new = self._ask(frames, lanes, range(len(lanes)))
        return np.stack([self._averaged(lane, new[lane]) for lane in lanes])

    def _averaged(self, lane: int, plan: np.ndarray) -> np.ndarray:
        """What the plans of a lane say of this step, `[A]`; each is kept without the steps that are over."""
        kept = [*self._plans[lane], plan][-self.plans if self.plans else None :]
        self._plans[lane] = deque(rest[1:] for rest in kept if len(rest) > 1)
        weights = np.exp(-self.temperature * np.arange(len(kept)))
        return np.average([rest[0] for rest in kept], axis=0, weights=weights)


@ADAPTERS.register("chunk")
@dataclass
class ChunkConfig:
    """Play a plan action by action: what a planner gets where no other adapter lifts it.

    Attributes:
        execute: actions of each plan that are played before the next is made; None plays them all.
    """

    execute: int | None = None

    def build(self, policy: ChunkPolicy, action: ActionSpec | None = None) -> Chunk:
        """Around a planner."""
        return Chunk(policy, self.execute)


@ADAPTERS.register("ensemble")
@dataclass
class EnsembleConfig:
    """Plan at every step and average over plans: temporal ensembling.

    Attributes:
        temperature: above 0 favours older plans, below 0 newer ones; 0 is the plain mean.
        plans: most plans that are averaged; None is as many as reach the step.
    """

    temperature: float = 0.0
    plans: int | None = None

    def build(self, policy: ChunkPolicy, action: ActionSpec | None = None) -> Ensemble:
        """Around a planner."""
        return Ensemble(policy, self.temperature, self.plans)
