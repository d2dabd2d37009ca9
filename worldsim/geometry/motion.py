"""How pixels move where rigid things move: scene flow and the optical flow it is seen as. Knows no occlusion.

Scene flow is the motion of points in space (Vedula and others, "Three-dimensional scene flow", ICCV 1999); of rigid things it is exact: a
pixel is put into space by its depth, moved as its thing moved, and seen again.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worldsim.geometry.arrays import Array, together
from worldsim.geometry.cameras import Lens, into, out_of, pixel_centres, project, unproject


class Motion(NamedTuple):
    """Of each pixel of one frame, what it does until another.

    Attributes:
        scene: motion of the point that it shows, in the world's axes, metres `[..., H, W, 3]`.
        flow: where it goes, pixels (right, down) `[..., H, W, 2]`; NaN where its point comes behind the camera.
        rise: change of its depth, metres `[..., H, W]`.
    """

    scene: Any
    flow: Any
    rise: Any


def rigid_motion(depth: Array, segmentation: Array, lenses: tuple[Lens, Lens], things: Mapping[int, tuple[Array, Array]]) -> Motion:
    """The motion from one frame to another of a world of rigid things, seen by a camera that may move too.

    Args:
        depth: of the first frame, metres `[..., H, W]`.
        segmentation: which thing each of its pixels shows, whole numbers `[..., H, W]`.
        lenses: of the first frame and of the other.
        things: by number, the places `[..., 3]` (things that do not turn) or poses `[..., 4, 4]`, in the first frame and the other, of what
            moves; all else rests.
    """
    points = unproject(depth, lenses[0])
    moved = carried(points, segmentation, things)
    _, (depth, points, moved, pixels, later) = together(depth, points, moved, *project(moved, lenses[1]))
    return Motion(moved - points, pixels - pixel_centres(depth), later - depth)


def carried(points: Array, segmentation: Array, things: Mapping[int, tuple[Array, Array]]) -> Array:
    """Points `[..., H, W, 3]` moved as the things that `segmentation` `[..., H, W]` says they belong to; as in `rigid_motion`."""
    for number, poses in things.items():
        xp, (points, before, after, shown) = together(points, *poses, segmentation == number)
        turns = before.shape[-1] == 4
        moved = out_of(into(points, before), after) if turns else points + (after - before)[..., None, None, :]
        points = xp.where(shown[..., None] > 0, moved, points)
    return points
