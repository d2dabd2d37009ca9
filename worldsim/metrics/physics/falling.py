"""Whether what falls freely falls as it should: a parabola through heights. Knows no picture."""

import numpy as np

from worldsim.errors import InvalidInput

FEWEST = 3  # frames that a parabola is fitted to


def gravity_error(heights: np.ndarray, airborne: np.ndarray, seconds: float, gravity: float) -> np.ndarray:
    """|g_fit - g| / g of each clip, from the least-squares parabola through the heights of its airborne frames; NaN of fewer than 3.

    Args:
        heights: up, in metres, `[N, T]`.
        airborne: frames of the longest stretch between release and first contact count, bool `[N, T]`.
        seconds: between frames.
        gravity: m/s^2.

    Returns:
        `[N]`: a clip has one such number, not one per frame.
    """
    if heights.shape != airborne.shape or heights.ndim != 2:
        raise InvalidInput(f"heights are {list(heights.shape)}, airborne {list(airborne.shape)}, expected two of [clips, frames]")
    return np.array([_error(*each, seconds, gravity) for each in zip(heights, airborne, strict=True)])


def _error(heights: np.ndarray, airborne: np.ndarray, seconds: float, gravity: float) -> float:
    frames = np.flatnonzero(airborne)
    if len(frames) < FEWEST:
        return float("nan")
    curve = np.polyfit((frames - frames[0]) * seconds, heights[frames], 2)
    return float(abs(-2 * curve[0] - gravity) / gravity)
