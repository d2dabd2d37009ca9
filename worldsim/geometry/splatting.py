"""Pixels of one frame thrown to where they are seen in another: each to one pixel, and the nearest stays. Knows no camera."""

from typing import Any, NamedTuple

from worldsim.geometry.arrays import Array, counted, least, together
from worldsim.geometry.sampling import cells


class Splat(NamedTuple):
    """What has landed.

    Attributes:
        values: of the nearest point in each pixel, `[..., H, W, C]`; NaN where none is.
        depth: its depth, metres `[..., H, W]`; infinite where none is.
        filled: whether one is, bool `[..., H, W]`.
    """

    values: Any
    depth: Any
    filled: Any


def splat(values: Array, pixels: Array, depth: Array) -> Splat:
    """A frame as its pixels make it when each is put where it is seen, by a z-buffer (Catmull, 1974); of equals, the first stays.

    Args:
        values: of each pixel, `[..., H, W, C]`.
        pixels: where it is seen (right, down), `[..., H, W, 2]`, as from `project`; what is not in the frame falls away.
        depth: its depth there, metres `[..., H, W]`; what is not in front of the camera falls away.

    Returns:
        A frame of the same size. Gradients flow to values and depth, none to places.
    """
    xp, (values, pixels, depth) = together(values, pixels, depth)
    place, lands = cells(pixels, depth.shape)
    place, lands, flat_depth = place.reshape(-1), (lands & xp.isfinite(depth) & (depth > 0)).reshape(-1), depth.reshape(-1)
    count = len(place)
    nearest = least(count, place[lands], flat_depth[lands], float("inf"))
    wins = lands & (flat_depth == nearest[place])
    source = least(count, place[wins], counted(count, place)[wins], count)
    filled, source = source < count, source.clip(0, count - 1)
    kept = xp.where(filled[:, None], values.reshape(count, -1)[source], float("nan"))
    far = xp.where(filled, flat_depth[source], float("inf"))
    return Splat(kept.reshape(values.shape), far.reshape(depth.shape), filled.reshape(depth.shape))
