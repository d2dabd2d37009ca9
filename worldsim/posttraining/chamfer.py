"""How far the points that imagined frames show lie from those that are really there: Phys4D's reward. Knows no network.

A frame's depth becomes a cloud of points, and so does the true depth.
"""

from collections.abc import Mapping

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.geometry import Lens, chamfer, unproject

LENS = ("depth", "intrinsics", "camera_pose")


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
    said, true = (unproject(each, Lens.of(states)).reshape(len(depth), -1, 3) for each in (depth, states["depth"]))
    return chamfer(said, true)
