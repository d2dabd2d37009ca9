"""The last steps of recorded episodes as a world model imagines them: true past, true actions, so the true label still holds."""

from typing import Any

import numpy as np

from worldsim.types import Trajectory


class Relive:
    """Imagines the last `k` frames before some moments of an episode, from the true frames and actions before them.

    The fewer steps a model imagines, the less it strays from the truth that the label belongs to. It takes `share` of all moments.
    """

    def __init__(self, model: Any, share: float, seed: int) -> None:
        self._model, self._share, self._rng = model, share, np.random.default_rng([seed, 7])

    def __call__(self, trajectory: Trajectory, ends: list[int], k: int) -> tuple[list[int], np.ndarray]:
        """Which of `ends` were imagined, and their clips, uint8 `[n, k, H, W, 3]`."""
        past = self._model.spec.context
        drawn = [end for end, chance in zip(ends, self._rng.random(len(ends)), strict=True) if chance < self._share and end >= k + past - 1]
        if not drawn:
            return [], np.zeros((0, k, *trajectory.frames.shape[1:]), np.uint8)
        begins = [end - k - past + 1 for end in drawn]
        given = np.stack([trajectory.frames[at : at + past] for at in begins])
        actions = np.stack([trajectory.actions[at : at + past + k - 1] for at in begins])
        seeds = np.full(len(drawn), trajectory.seed, np.uint64)
        state = self._model.start(given, seeds, actions[:, : past - 1])
        frames = []
        for step in range(k):
            state, frame = self._model.step(state, actions[:, past - 1 + step])
            frames.append(frame)
        return drawn, np.stack(frames, axis=1)
