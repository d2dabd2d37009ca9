"""Surprise of `worldsim evaluate-video`: does what cannot have happened surprise the world model more than what did? Keeps numbers only.

Surprise is the model's own denoising error: how far a frame is from what the network makes of it under noise, after its real history and
action (violation of expectation, as IntPhys and V-JEPA measure it with their own errors).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.metrics import mean_interval
from worldsim.metrics.physics import IMPOSSIBLE, impossible, surprised
from worldsim.trust import Measuring, rollout_values
from worldsim.types import Trajectory, WorldModel

CHANCE = 0.5


class Surprise:
    """Pairs of all clips so far, by what was changed. Clips that the change leaves as they are make no pair."""

    def __init__(self, model: WorldModel) -> None:
        """Raises InvalidInput: a model that removes no noise from frames."""
        if not hasattr(model, "denoiser"):
            raise InvalidInput(f"surprise=true is an error of denoising, and {type(model).__name__} removes no noise; drop surprise=")
        self._model = model
        self._found: dict[str, list[np.ndarray]] = defaultdict(list)

    def add(self, recorded: Sequence[Trajectory]) -> None:
        """Recorded clips of one length.

        Raises:
            InvalidInput: frames or actions that the model does not take.
        """
        frames, possible = np.stack([each.frames for each in recorded]), self._surprise(recorded)
        for how in IMPOSSIBLE:
            changed = impossible(frames, how)
            rows = np.flatnonzero((changed != frames).any(axis=(1, 2, 3, 4)))
            twins = [replace(recorded[row], frames=changed[row]) for row in rows]
            self._found[how].append(surprised(possible[rows], self._surprise(twins)))

    def _surprise(self, clips: Sequence[Trajectory]) -> np.ndarray:
        """`[N]`, grey levels, a mean over all steps."""
        if not clips:
            return np.zeros(0)
        return rollout_values(self._model, clips, Measuring(every=1), ["denoising"], batch=len(clips))["denoising"]

    def summary(self, seed: int) -> dict[str, dict[str, Any]]:
        """As measures of the physics block: the share of pairs in which the impossible clip surprises more."""
        about = {"ceiling": 1.0, "floor": CHANCE, "unit": "", "better": "higher", "by_frame": {}}
        found = {how: np.concatenate(each) for how, each in self._found.items()}
        rows = {}
        for how, pairs in found.items():
            if len(pairs):
                low, high = mean_interval(pairs, seed)
                rows[f"surprise_{how}"] = {"value": float(pairs.mean()), "low": low, "high": high, "clips": len(pairs), **about}
        return rows
