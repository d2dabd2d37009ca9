"""How far two videos are apart. Knows nothing of where they came from."""

import numpy as np

BEST = 60.0  # dB that identical frames count as


def psnr(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each frame: 10 log10(255^2 / MSE), at most 60.

    Args:
        frames: uint8 `[T, H, W, 3]`.
        truth: uint8, the same shape, or one frame for all.

    Returns:
        float64 `[T]`.
    """
    error = np.square(frames.astype(np.float64) - truth.astype(np.float64)).mean(axis=(1, 2, 3))
    return np.minimum(10 * np.log10(255**2 / np.maximum(error, 1e-12)), BEST)
