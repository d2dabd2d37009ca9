"""How far the world that a clip shows lies from the true one, in space, and how fast that grows. Knows no model."""

import numpy as np

from worldsim.geometry import Lens, chamfer, unproject


def cloud_distance(depth: np.ndarray, truth: np.ndarray, lens: Lens) -> np.ndarray:
    """Chamfer distance of each frame's points to the true ones, metres `[N, T]`; its mean is the 4D Chamfer distance of Phys4D.

    Args:
        depth: metres `[N, T, H, W]`.
        truth: likewise.
        lens: of each frame, `[N, T, ...]`.
    """
    said, true = (unproject(each, lens).reshape(*each.shape[:2], -1, 3) for each in (depth, truth))
    flat = [each.reshape(-1, *each.shape[2:]) for each in (said, true)]
    return np.asarray(chamfer(*flat)).reshape(depth.shape[:2])


def drift(errors: np.ndarray) -> np.ndarray:
    """Slope of an error `[N, T]` over its frames, per frame, `[N]`: the least-squares line."""
    frames = np.arange(errors.shape[1]) - (errors.shape[1] - 1) / 2
    return (errors - errors.mean(1, keepdims=True)) @ frames / (frames @ frames)
