"""Values of an image between its pixels, and depth along a motion. Knows no camera."""

import math
from typing import Any

from worldsim.geometry.arrays import Array, counted, together, whole
from worldsim.geometry.cameras import pixel_centres


def sample(image: Array, pixels: Array) -> Array:
    """Bilinear values of an image at places in it; outside, those of its border.

    Args:
        image: `[..., H, W, C]`.
        pixels: places (right, down) `[..., h, w, 2]`, of the same leading axes.

    Returns:
        `[..., h, w, C]`; NaN where a place is not finite. Values that are not finite spoil those within a pixel of them.
    """
    xp, (image, pixels) = together(image, pixels)
    known = xp.isfinite(pixels).all(-1)[..., None]
    at = xp.where(known, pixels, 0.5) - 0.5
    height, width = image.shape[-3:-1]
    column, row = at[..., 0].clip(0, width - 1), at[..., 1].clip(0, height - 1)
    left, top = xp.floor(column), xp.floor(row)
    right, below = (left + 1).clip(0, width - 1), (top + 1).clip(0, height - 1)
    across, down = (column - left)[..., None], (row - top)[..., None]
    upper = picked(image, top, left) * (1 - across) + picked(image, top, right) * across
    lower = picked(image, below, left) * (1 - across) + picked(image, below, right) * across
    return xp.where(known, upper * (1 - down) + lower * down, float("nan"))


def picked(image: Array, row: Array, column: Array) -> Array:
    """The pixels of an image `[..., H, W, C]` in rows and columns `[..., h, w]`, `[..., h, w, C]`."""
    return image.reshape(-1, image.shape[-1])[flat(image.shape[:-1], row, column)]


def flat(shape: tuple[int, ...], row: Array, column: Array) -> Array:
    """Which number pixels `[..., h, w]` have, counted through frames of `shape` `[..., H, W]`; int64 `[..., h, w]`."""
    *lead, height, width = shape
    frame = counted(math.prod(lead), row).reshape(*lead, 1, 1)
    return frame * (height * width) + whole(row) * width + whole(column)


def inside(pixels: Array, height: int, width: int) -> Array:
    """Whether places (right, down) `[..., 2]` lie in a frame, bool `[...]`; what is not finite does not."""
    return (pixels[..., 0] >= 0) & (pixels[..., 0] < width) & (pixels[..., 1] >= 0) & (pixels[..., 1] < height)


def cells(pixels: Array, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Which pixels of frames `[..., H, W]` hold places `[..., h, w, 2]`: their flat numbers, 0 outside, and whether they lie inside."""
    xp, (pixels,) = together(pixels)
    within = inside(pixels, *shape[-2:])
    column, row = (xp.where(within, xp.floor(pixels[..., axis]), 0) for axis in (0, 1))
    return flat(shape, row, column), within


def depth_gap(before: Array, after: Array, flow: Array, rise: Array) -> Array:
    """`D_{t+1}(u + F(u)) - (D_t(u) + dz(u))`: depth where the pixels of a frame have gone, less what theirs has become.

    The warp error of Phys4D (arXiv 2603.03485), for points that also move along the ray, and sampled at the pixel that the flow leads to.

    Args:
        before: depth of the first frame, metres `[..., H, W]`.
        after: depth of the second, metres `[..., H, W]`.
        flow: from the first to the second, pixels `[..., H, W, 2]`.
        rise: change of depth on the way, metres `[..., H, W]`.

    Returns:
        Metres `[..., H, W]`, on the pixels of the first frame, wherever they go.
    """
    _, (before, after, flow, rise) = together(before, after, flow, rise)
    return sample(after[..., None], pixel_centres(after) + flow)[..., 0] - (before + rise)
