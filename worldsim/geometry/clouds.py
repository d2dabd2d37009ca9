"""How far clouds of points lie from one another. Knows no picture and no camera."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from worldsim.errors import InvalidInput
from worldsim.geometry.arrays import Array, is_tensor, together


def chamfer(mine: Array, theirs: Array) -> Any:
    """Chamfer distance `mean_p min_q |p - q| + mean_q min_p |p - q|`; the mean over frames is Phys4D's 4D distance (arXiv 2603.03485).

    Fan and others (CVPR 2017) square the distances; here they are not, so that the unit stays.

    Args:
        mine: points `[..., N, 3]`, of any unit.
        theirs: points `[..., M, 3]`, of the same leading axes.

    Returns:
        In that unit: a float, or `[...]` of clouds that have leading axes; of tensors a tensor, with gradients to both.

    Raises:
        InvalidInput: an empty cloud, or points that are not finite.
    """
    xp, (mine, theirs) = together(mine, theirs)
    for each in (mine, theirs):
        if not each.shape[-2] or not bool(xp.isfinite(each).all()):
            raise InvalidInput(f"a cloud of shape {list(each.shape)} is empty or has points that are not finite, expected [..., N, 3]")
    if is_tensor(mine):
        apart = xp.cdist(mine, theirs, compute_mode="donot_use_mm_for_euclid_dist")
        return apart.amin(-1).mean(-1) + apart.amin(-2).mean(-1)
    if mine.ndim > 2:
        return np.array([chamfer(*pair) for pair in zip(mine, theirs, strict=True)])
    return float(cKDTree(theirs).query(mine)[0].mean() + cKDTree(mine).query(theirs)[0].mean())
