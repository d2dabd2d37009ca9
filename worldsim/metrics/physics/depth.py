"""How right depth is, frame by frame, and along motion. Depth is metres `[N, T, H, W]`, above 0 in truth. Knows no model."""

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.geometry import depth_gap

QUARTER = 1.25


def abs_rel(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean of |D - D*| / D*, `[N, T]` (Eigen and others, NeurIPS 2014)."""
    _checked(depth, truth)
    return (np.abs(depth - truth) / truth).mean((2, 3))


def within_quarter(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of pixels with max(D / D*, D* / D) below 1.25, `[N, T]`; a depth of 0 or less is not."""
    _checked(depth, truth)
    ratio = np.maximum(depth, 1e-9) / truth
    return (np.maximum(ratio, 1 / ratio) < QUARTER).mean((2, 3))


def depth_rmse(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Root mean squared error in metres, `[N, T]`."""
    _checked(depth, truth)
    return np.sqrt(((depth - truth) ** 2).mean((2, 3)))


def depth_warp(depth: np.ndarray, flow: np.ndarray, rise: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Depth-warp L1 of Phys4D: |D_{t}(u + F(u)) - (D_{t-1}(u) + dz(u))| on pixels that are still seen, metres `[N, T]`.

    Args:
        depth: `[N, T, H, W]`.
        flow: into each frame from the one before, pixels `[N, T, H, W, 2]`; that into the first is not looked at.
        rise: change of depth on the way, `[N, T, H, W]`.
        seen: pixels of the frame before that count, bool `[N, T, H, W]`.

    Returns:
        0 in the first frame; NaN in frames of which no pixel counts.
    """
    gap = np.abs(depth_gap(depth[:, :-1], depth[:, 1:], flow[:, 1:], rise[:, 1:]))
    counted = seen[:, 1:] & np.isfinite(gap)
    count = counted.sum((2, 3))
    mean = np.where(counted, gap, 0).sum((2, 3)) / np.maximum(count, 1)
    return np.pad(np.where(count > 0, mean, np.nan), ((0, 0), (1, 0)))


def _checked(depth: np.ndarray, truth: np.ndarray) -> None:
    if depth.shape != truth.shape or depth.ndim != 4:
        raise InvalidInput(f"depth is {list(depth.shape)}, truth {list(truth.shape)}, expected two of [clips, frames, H, W]")
    if not (truth > 0).all():
        raise InvalidInput("true depth has values of 0 or less, expected metres before the camera")
