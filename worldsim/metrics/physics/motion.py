"""What moves where and when, from two clips alone: the measures of Physics-IQ (Motamed and others, arXiv 2501.09038).

A pixel moves where its grey differs from that of the clip's first frame. Clips are uint8 `[N, T, H, W, 3]`, masks bool `[N, T, H, W]`.
"""

import numpy as np
from scipy.ndimage import binary_closing, binary_opening

from worldsim.errors import InvalidInput

DIFFERS = 10  # grey values of 255 from which on a pixel has changed
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
KERNEL, FINE = 5, 3  # side of the square that masks are opened and closed with, and that in frames smaller than SMALL
SMALL = 128


def motion_masks(clips: np.ndarray) -> np.ndarray:
    """Where each frame differs from the clip's first one by more than 10 of 255 grey values, opened and closed with a 5 x 5 square.

    In frames below 128 pixels the square is 3 x 3, for a thing of a few pixels would be opened away.
    """
    if clips.dtype != np.uint8 or clips.ndim != 5 or clips.shape[-1] != 3:
        raise InvalidInput(f"clips are {clips.dtype} {list(clips.shape)}, expected uint8 [clips, frames, H, W, 3]")
    grey = clips @ np.array(GREY)
    moved = np.abs(grey - grey[:, :1]) > DIFFERS
    side = KERNEL if min(clips.shape[2:4]) >= SMALL else FINE
    square = np.ones((1, 1, side, side), bool)
    return binary_closing(np.pad(binary_opening(moved, square), _rim(side)), square)[..., side:-side, side:-side]


def _rim(side: int) -> list[tuple[int, int]]:
    """Closing erodes at the edge of a frame; a rim around it keeps what touches it."""
    return [(0, 0), (0, 0), (side, side), (side, side)]


def spatial_iou(moved: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Where did it move: intersection over union of the masks, each collapsed over the frames so far; `[N, T]`, the last is the clip's."""
    mine, true = (np.logical_or.accumulate(each, axis=1) for each in (moved, truth))
    return _iou(mine, true)


def spatiotemporal_iou(moved: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Where and when: intersection over union of each frame, `[N, T]`; its mean over time is the clip's."""
    return _iou(moved, truth)


def weighted_spatial_iou(moved: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Where and how long: sum min(W, W*) / sum max(W, W*), W the share of the frames so far in which a pixel moved; `[N, T]`."""
    counts = np.arange(1, moved.shape[1] + 1)[:, None, None]
    mine, true = (each.cumsum(1) / counts for each in (moved, truth))
    return _ratio(np.minimum(mine, true).sum((2, 3)), np.maximum(mine, true).sum((2, 3)))


def motion_mse(clips: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean squared difference of pixels in [0, 1], `[N, T]`."""
    return (((clips.astype(np.float32) - truth) / 255) ** 2).mean((2, 3, 4), dtype=np.float64)


def static_motion(clips: np.ndarray, truth_moved: np.ndarray) -> np.ndarray:
    """Mean absolute change since the first frame, of 1, on the pixels that never move in truth; `[N, T]`, 0 where all of them move."""
    rest = ~truth_moved.any(1, keepdims=True)
    change = np.abs(clips.astype(np.float32) - clips[:, :1]).mean(-1) / 255
    return (change * rest).sum((2, 3), dtype=np.float64) / np.maximum(rest.sum((2, 3)), 1)


def physics_iq(mine: dict[str, float], takes: dict[str, float]) -> float:
    """Score of 0 to 100: `100 clip(mean(ST/ST_r, S/S_r, WS/WS_r) - (MSE - MSE_r), 0, 1)`, _r being two real takes of one scene.

    Args:
        mine: means over clips of `spatiotemporal`, `spatial`, `weighted` and `mse`.
        takes: the same of a second real take.
    """
    shares = [mine[name] / takes[name] if takes[name] else float(mine[name] == 0) for name in ("spatiotemporal", "spatial", "weighted")]
    return 100 * float(np.clip(np.mean(shares) - (mine["mse"] - takes["mse"]), 0, 1))


def _iou(mine: np.ndarray, true: np.ndarray) -> np.ndarray:
    return _ratio((mine & true).sum((2, 3)), (mine | true).sum((2, 3)))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """1 where both are nothing: to rest where all rests is right."""
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 1.0)
