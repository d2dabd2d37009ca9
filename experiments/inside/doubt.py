"""How far a world model disagrees with itself: the same step again with other noise. Knows no reward and no policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.trust import apart, reseeded
from worldsim.types import State, WorldModel


@dataclass(frozen=True)
class DoubtedState:
    """The model's own state, and how many steps each lane has made, int64 `[B]`."""

    inner: State
    steps: np.ndarray

    @property
    def faults(self) -> tuple[str, ...]:
        """The model's, where its states have any."""
        return getattr(self.inner, "faults", ("",) * len(self.steps))

    def select(self, lanes: Sequence[int]) -> "DoubtedState":
        """Some lanes, in the given order."""
        rows = np.asarray(lanes, dtype=np.intp)
        return DoubtedState(self.inner.select(lanes), self.steps[rows])

    def merge(self, lanes: Sequence[int], other: "DoubtedState") -> "DoubtedState":
        """This state with `lanes` replaced by the lanes of `other`."""
        rows, steps = np.asarray(lanes, dtype=np.intp), self.steps.copy()
        steps[rows] = other.steps
        return DoubtedState(self.inner.merge(lanes, other.inner), steps)


class Doubting:
    """A world model that does every `every`-th step twice, the second time with the noise of another seed; its frames stay what they are.

    The mean absolute difference of the two frames, in grey levels, is the doubt of a lane's step; 0 at the steps between.
    """

    def __init__(self, model: WorldModel, every: int) -> None:
        self.spec, self._model, self._every = model.spec, model, every
        self.latest = np.zeros(0)

    def start(self, frames: np.ndarray, seeds: np.ndarray, **given: Any) -> DoubtedState:
        """As the model's."""
        return DoubtedState(self._model.start(frames, seeds, **given), np.zeros(len(frames), dtype=np.int64))

    def step(self, state: DoubtedState, actions: np.ndarray) -> tuple[DoubtedState, np.ndarray]:
        """As the model's; `latest` is then the doubt of each lane, float64 `[B]`."""
        inner, frames = self._model.step(state.inner, actions)
        steps = state.steps + 1
        due, doubt = np.flatnonzero(steps % self._every == 0), np.zeros(len(steps))
        if len(due):
            again = reseeded(state.inner.select(due.tolist()))
            _, others = self._model.step(again, np.asarray(actions)[due])
            doubt[due] = apart(frames[due], others)
        self.latest = doubt
        return DoubtedState(inner, steps), frames
