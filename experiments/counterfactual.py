"""The counterfactual gap of `worldsim evaluate-video`: recorded clips under another clip's actions, imagined and in the true world.

Only a distance is kept of each clip.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.second_takes import other_courses
from worldsim.metrics.physics import clips_apart, counterfactual_gap
from worldsim.types import Trajectory


class Counterfactual:
    """Distances of all clips so far, of frames after the `given` first ones."""

    def __init__(self, truth: str, given: int) -> None:
        """`truth` is the world that the clips were recorded in.

        Raises:
            InvalidInput: it is not known.
        """
        if not truth:
            raise InvalidInput(
                "counterfactual=true plays other actions in the true world, and the protocol names none; drop counterfactual="
            )
        self._truth, self._given = truth, given
        self._own: list[np.ndarray] = []
        self._real: list[np.ndarray] = []

    def add(self, recorded: Sequence[Trajectory], made: np.ndarray, actions: np.ndarray, otherwise: np.ndarray) -> None:
        """Recorded clips and the model's, uint8 `[B, T, H, W, 3]`; other actions float32 `[B, T - 1, A]`, and the model's clips under them.

        Raises:
            InvalidInput: the clips cannot be played again.
            MissingDependency: no simulator.
        """
        other = np.stack([each.frames for each in other_courses(self._truth, recorded, actions)])
        real = np.stack([each.frames for each in recorded])
        behind = slice(self._given, None)
        self._own.append(clips_apart(made[:, behind], otherwise[:, behind]))
        self._real.append(clips_apart(real[:, behind], other[:, behind]))

    def summary(self, seed: int) -> dict[str, dict[str, Any]]:
        """As a measure of the physics block, none where no real courses differ; a world that is exact has 1, one that hears no action 0."""
        own, real = np.concatenate(self._own), np.concatenate(self._real)
        value, (low, high) = counterfactual_gap(own, real, seed)
        about = {"ceiling": 1.0, "floor": 0.0, "unit": "", "better": "nearer 1", "clips": len(own), "by_frame": {}}
        return {"counterfactual_gap": {"value": value, "low": low, "high": high, **about}} if np.isfinite(value) else {}
