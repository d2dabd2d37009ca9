"""The one thing in recorded clips that alone has a colour: where it was, and how far clips under the same actions are from that."""

from collections.abc import Sequence

import numpy as np

from worldsim.experiments.physics_keys import PhysicsKeys
from worldsim.metrics.physics import (
    area_violation,
    centroids,
    colour_mask,
    drift,
    gravity_error,
    mask_chamfer,
    mask_iou,
    overlap_rate,
    teleports,
    trajectory_l2,
)
from worldsim.types import Trajectory

FREE_FALL = 0.02  # share of g by which the true acceleration may differ where nothing but gravity acts
QUICKEST = 0.999  # quantile of real steps beyond which one is a jump


class TrueObject:
    """It in real clips: its masks, its longest real step, and where the recordings know them, its fall and what it can never cover."""

    def __init__(self, keys: PhysicsKeys, recorded: Sequence[Trajectory], truth: np.ndarray, fps: float) -> None:
        """`truth` are the frames of `recorded`, uint8 `[N, T, H, W, 3]`."""
        states = [each.states for each in recorded]
        self._keys, self._seconds = keys, 1 / fps
        self._masks = colour_mask(truth, keys.colour, keys.margin)
        places = centroids(self._masks)
        self._longest = float(np.quantile(np.linalg.norm(np.diff(places, axis=1), axis=-1) / np.hypot(*truth.shape[2:4]), QUICKEST))
        self._airborne, self._solid = None, None
        if all(keys.place in each for each in states):
            heights = np.stack([each[keys.place] for each in states])[..., 2]
            self._scale = np.polyfit(places[..., 1].ravel(), heights.ravel(), 1)  # from rows of centroids to heights
            self._airborne = _airborne(heights, self._seconds, keys.gravity)
        if keys.solid and all("segmentation" in each for each in states):
            self._solid = np.isin(np.stack([each["segmentation"] for each in states]), keys.solid) & ~self._masks

    def apart(self, frames: np.ndarray, given: int) -> dict[str, np.ndarray]:
        """Every measure of clips uint8 `[N, T, H, W, 3]` by its name, `[N, T]` or `[N]`; the first `given` frames are no prediction."""
        mine, true = colour_mask(frames, self._keys.colour, self._keys.margin), self._masks
        found = {
            "trajectory_l2": trajectory_l2(mine, true),
            "trajectory_l2_per_axis": trajectory_l2(mine, true, per_axis=True),
            "mask_chamfer": mask_chamfer(mine, true),
            "mask_iou": mask_iou(mine, true),
            "permanence_violation": area_violation(mine, true),
            "teleports": teleports(mine, self._longest),
        }
        found["trajectory_drift"] = drift(found["trajectory_l2"][:, given:])
        if self._airborne is not None:
            heights = np.polyval(self._scale, centroids(mine)[..., 1])
            found["gravity_error"] = gravity_error(heights, self._airborne, self._seconds, self._keys.gravity)
        if self._solid is not None:
            found["penetration"] = overlap_rate(mine, self._solid)
        return found


def _airborne(heights: np.ndarray, seconds: float, gravity: float) -> np.ndarray:
    """Frames of the first stretch in which nothing but gravity acts, bool `[N, T]`, by the true heights `[N, T]` in metres."""
    falls = np.abs(np.diff(heights, 2, axis=1) / seconds**2 + gravity) < FREE_FALL * gravity
    begun = falls.cumsum(1) > 0
    first = falls & ((begun & ~falls).cumsum(1) == 0)
    airborne = np.zeros(heights.shape, bool)
    for shift in range(3):  # a second difference speaks of three frames
        airborne[:, shift : shift + falls.shape[1]] |= first
    return airborne
