"""Where an object is: masks, and how far two of them lie apart. Distances are shares of a frame's diagonal, as in PISA (arXiv 2503.09595).

Masks are bool `[N, T, H, W]`. Knows no camera.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt

from worldsim.errors import InvalidInput

CHANGED = 0.5  # share by which an object's area may differ from the true one
COLOURS = ("red", "green", "blue")


def colour_mask(frames: np.ndarray, colour: str, margin: int) -> np.ndarray:
    """Pixels of frames uint8 `[..., H, W, 3]` whose red, green or blue exceeds both others by more than `margin`; bool `[..., H, W]`.

    It finds one thing that alone has a colour. It misses shaded rims, so measure real clips by it too, never against exact masks.
    """
    if colour not in COLOURS:
        raise InvalidInput(f'colour is "{colour}", expected one of {", ".join(COLOURS)}')
    channel = COLOURS.index(colour)
    values = frames.astype(np.int16)
    others = np.delete(values, channel, axis=-1).max(-1)
    return values[..., channel] - others > margin


def centroids(masks: np.ndarray) -> np.ndarray:
    """Mean place (right, down) of a mask's pixels, `[..., 2]`; the middle of the frame where the mask is empty, which is far from most."""
    height, width = masks.shape[-2:]
    count = masks.sum((-2, -1))
    right = (masks.sum(-2) * np.arange(width)).sum(-1)
    down = (masks.sum(-1) * np.arange(height)).sum(-1)
    found = np.stack([right, down], -1) / np.maximum(count, 1)[..., None]
    return np.where((count > 0)[..., None], found, [(width - 1) / 2, (height - 1) / 2])


def trajectory_l2(masks: np.ndarray, truth: np.ndarray, *, per_axis: bool = False) -> np.ndarray:
    """Distance of the centroids in frame diagonals, `[N, T]`.

    Args:
        masks: of the clips.
        truth: of what happened.
        per_axis: average the absolute differences of the two axes instead, which is what PISA's published code computes.
    """
    _alike(masks, truth)
    apart = centroids(masks) - centroids(truth)
    length = np.abs(apart).mean(-1) if per_axis else np.linalg.norm(apart, axis=-1)
    return length / _diagonal(masks)


def mask_chamfer(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of each mask's pixels to the other's nearest, both ways added, in frame diagonals, `[N, T]`.

    Two empty masks lie 0 apart, an empty and another one 1: a whole diagonal.
    """
    _alike(masks, truth)
    flat, true = (each.reshape(-1, *each.shape[2:]) for each in (masks, truth))
    found = [
        _chamfer(a, b) / _diagonal(masks) if a.any() and b.any() else float(a.any() != b.any()) for a, b in zip(flat, true, strict=True)
    ]
    return np.array(found).reshape(masks.shape[:2])


def _chamfer(mine: np.ndarray, theirs: np.ndarray) -> float:
    to_theirs, to_mine = distance_transform_edt(~theirs), distance_transform_edt(~mine)
    return float(to_theirs[mine].mean() + to_mine[theirs].mean())


def mask_iou(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each frame, 1 where both are empty, `[N, T]`."""
    _alike(masks, truth)
    both, either = (masks & truth).sum((2, 3)), (masks | truth).sum((2, 3))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def area_violation(masks: np.ndarray, truth: np.ndarray, changed: float = CHANGED) -> np.ndarray:
    """1 where an object's area differs from the true one by more than the share `changed`: it grew, shrank, split or vanished; `[N, T]`."""
    _alike(masks, truth)
    mine, true = masks.sum((2, 3)), truth.sum((2, 3))
    return (np.abs(mine - true) > changed * true).astype(float)


def overlap_rate(masks: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """1 where an object shows inside something solid, `[N, T]`.

    Args:
        masks: of the object.
        solid: pixels `[N, T, H, W]` that it can never cover from this camera.
    """
    _alike(masks, solid)
    return (masks & solid).any((2, 3)).astype(float)


def teleports(masks: np.ndarray, longest: float) -> np.ndarray:
    """1 where a centroid jumps further than `longest` (frame diagonals) from the frame before, 0 in the first frame; `[N, T]`."""
    steps = np.linalg.norm(np.diff(centroids(masks), axis=1), axis=-1) / _diagonal(masks)
    return np.pad((steps > longest).astype(float), ((0, 0), (1, 0)))


def _diagonal(masks: np.ndarray) -> float:
    return float(np.hypot(*masks.shape[-2:]))


def _alike(masks: np.ndarray, truth: np.ndarray) -> None:
    for each in (masks, truth):
        if each.dtype != bool or each.ndim != 4:
            raise InvalidInput(f"masks are {each.dtype} {list(each.shape)}, expected bool [clips, frames, H, W]")
    if masks.shape != truth.shape:
        raise InvalidInput(f"masks of {list(masks.shape)} cannot be compared with {list(truth.shape)}; give clips of one length and size")
