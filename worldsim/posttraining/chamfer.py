"""How far the points that imagined frames show lie from those that are really there: Phys4D's reward. Knows no network.

A frame's depth becomes a cloud of points; the Chamfer distance of two clouds is the mean distance to the other's nearest point, both ways.
"""

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from worldsim.errors import InvalidInput
from worldsim.training.scene_truth import in_space

LENS = ("depth", "intrinsics", "camera_pose")


def chamfer(mine: np.ndarray, theirs: np.ndarray) -> float:
    """`mean_p min_q |p - q| + mean_q min_p |p - q|` of points `[N, 3]` and `[M, 3]`, in their unit."""
    return float(cKDTree(theirs).query(mine)[0].mean() + cKDTree(mine).query(theirs)[0].mean())


def cloud_distances(depth: np.ndarray, states: Mapping[str, np.ndarray]) -> np.ndarray:
    """Chamfer distance of each frame's points to the true ones, metres `[T]`; its mean over time is the 4D distance.

    Args:
        depth: what heads say of imagined frames, metres `[T, H, W]`.
        states: of what really happened: `depth` `[T, H, W]`, `intrinsics` `[T, 3, 3]` and `camera_pose` `[T, 4, 4]`.

    Raises:
        InvalidInput: states without these, or of other frames.
    """
    if lacking := [name for name in LENS if name not in states]:
        raise InvalidInput(f"the recordings hold no {', '.join(lacking)}; record them again: worldsim collect truth=drop")
    if states["depth"].shape != depth.shape:
        raise InvalidInput(f"depth is of {list(depth.shape)} frames and pixels, what really happened of {list(states['depth'].shape)}")
    pairs = zip(depth, states["depth"], states["intrinsics"], states["camera_pose"], strict=True)
    clouds = ([in_space(each, lens, pose).reshape(-1, 3) for each in (said, true)] for said, true, lens, pose in pairs)
    return np.array([chamfer(*both) for both in clouds])
