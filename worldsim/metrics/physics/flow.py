"""How right optical flow is. Flow is pixels (right, down) `[N, T, H, W, 2]`, into each frame from the one before. Knows no model."""

import numpy as np

from worldsim.errors import InvalidInput

PIXELS, SHARE = 3.0, 0.05  # beyond both of these an end point is an outlier (KITTI 2015)


def end_point_error(flow: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean |F - F*| on the pixels `counted` (bool `[N, T, H, W]`), pixels `[N, T]`; NaN in frames where none counts."""
    return _mean(_apart(flow, truth), counted)


def flow_outliers(flow: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Share of pixels whose end point is off by more than 3 pixels and 5 % of the true length (Menze and Geiger, CVPR 2015), `[N, T]`."""
    apart = _apart(flow, truth)
    return _mean(((apart > PIXELS) & (apart > SHARE * np.linalg.norm(truth, axis=-1))).astype(float), counted)


def _apart(flow: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if flow.shape != truth.shape or flow.ndim != 5 or flow.shape[-1] != 2:
        raise InvalidInput(f"flow is {list(flow.shape)}, truth {list(truth.shape)}, expected two of [clips, frames, H, W, 2]")
    return np.linalg.norm(flow - truth, axis=-1)


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    counted = counted & np.isfinite(values)
    count = counted.sum((2, 3))
    return np.where(count > 0, np.where(counted, values, 0).sum((2, 3)) / np.maximum(count, 1), np.nan)
