"""The last steps of recorded episodes as a world model imagines them: true past, true actions, so the true label still holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.types import Trajectory

BATCH = 25  # moments imagined together
PAST = 4  # true frames that a model is given before a clip, at most


@dataclass(frozen=True)
class Moment:
    """The true frames `[T0, H, W, 3]` before a clip, and the actions `[T0 - 1 + K, A]` between them and up to its last frame."""

    frames: np.ndarray
    actions: np.ndarray
    seed: int


class Relive:
    """Imagines the last `steps` frames before some moments of episodes, from the true frames and actions before them.

    The fewer steps a model imagines, the less it strays from the truth that the label belongs to; the more, the more a clip looks like the
    end of an imagined episode. It takes `share` of all moments.
    """

    def __init__(self, model: Any, share: float, seed: int, steps: int = 0) -> None:
        self._model, self._share, self._steps, self._rng = model, share, steps, np.random.default_rng([seed, 7])
        self._past = min(PAST, model.spec.context)

    def draw(self, trajectory: Trajectory, ends: Sequence[int], k: int) -> dict[int, Moment]:
        """Some of the moments `ends`, those that have past enough before what is imagined, at least the `k` frames of a clip."""
        chances = self._rng.random(len(ends))
        drawn = [(end, end - self.reaches_back(k)) for end, chance in zip(ends, chances, strict=True) if chance < self._share]
        return {
            end: Moment(trajectory.frames[at : at + self._past].copy(), trajectory.actions[at:end].copy(), trajectory.seed)
            for end, at in drawn
            if at >= 0
        }

    def reaches_back(self, k: int) -> int:
        """How many steps before a moment the first frame lies that is shown to the model."""
        return max(k, self._steps) + self._past - 1

    def imagine(self, moments: Sequence[Moment], k: int) -> np.ndarray:
        """Their clips, uint8 `[n, k, H, W, 3]`; one moment at least."""
        return np.concatenate([self._imagine(moments[at : at + BATCH], k) for at in range(0, len(moments), BATCH)])

    def _imagine(self, moments: Sequence[Moment], k: int) -> np.ndarray:
        actions = np.stack([moment.actions for moment in moments])
        known = len(moments[0].frames) - 1
        seeds = np.array([moment.seed for moment in moments], np.uint64)
        state = self._model.start(np.stack([moment.frames for moment in moments]), seeds, actions[:, :known])
        frames = []
        for step in range(known, actions.shape[1]):
            state, frame = self._model.step(state, actions[:, step])
            frames.append(frame)
        return np.stack(frames[-k:], axis=1)
