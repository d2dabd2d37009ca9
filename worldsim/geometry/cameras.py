"""Pixels to points in space and back, by a pinhole camera (Hartley and Zisserman, Multiple View Geometry, 6.1). Knows no motion."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from worldsim.errors import InvalidInput
from worldsim.geometry.arrays import Array, counted, together, typed


class Lens(NamedTuple):
    """What a camera sees through, one or one for each leading index.

    Attributes:
        intrinsics: `[..., 3, 3]` in pixels.
        camera_pose: `[..., 4, 4]` from camera axes (right, down, forward) to the world's, metres.
    """

    intrinsics: Any
    camera_pose: Any

    @classmethod
    def of(cls, states: Mapping[str, Any]) -> "Lens":
        """That of recorded states, by their names."""
        return cls(states["intrinsics"], states["camera_pose"])

    def at(self, index: Any) -> "Lens":
        """Of some frames."""
        return Lens(self.intrinsics[index], self.camera_pose[index])


def pixel_centres(image: Array) -> Array:
    """Where the pixels of `[..., H, W]` are (right, down), `[H, W, 2]` of its float type: row i, column j at (j + 0.5, i + 0.5)."""
    xp, (image,) = together(image)
    rows, columns = (typed(counted(size, image), image) for size in image.shape[-2:])
    return xp.stack(xp.meshgrid(columns, rows, indexing="xy"), -1) + 0.5


def unproject(depth: Array, lens: Lens) -> Array:
    """The point that each pixel shows, in the world's axes.

    Args:
        depth: metres along the camera's axis, `[..., H, W]`.
        lens: one for all, or one for each leading index.

    Returns:
        `[..., H, W, 3]` in metres: `pose @ (depth * K^-1 (u, v, 1))`.

    Raises:
        InvalidInput: cameras of many frames for depth of one.
    """
    xp, (depth, intrinsics, pose) = together(depth, *lens)
    if max(intrinsics.ndim, pose.ndim) > depth.ndim:
        raise InvalidInput(f"cameras {list(intrinsics.shape[:-2])} for depth {list(depth.shape)}, expected one, or one for each frame")
    centres = pixel_centres(depth)
    rays = xp.stack([centres[..., 0], centres[..., 1], xp.ones_like(centres[..., 0])], -1)
    seen = (rays @ _transposed(over(xp.linalg.inv(intrinsics), depth.ndim + 1))) * depth[..., None]
    return out_of(seen, pose)


def project(points: Array, lens: Lens) -> tuple[Array, Array]:
    """Where a camera sees points of the world, and how deep.

    Args:
        points: metres `[..., N, 3]` or `[..., H, W, 3]`.
        lens: one for all, or one for each leading index.

    Returns:
        Pixels (right, down) `[..., 2]`, NaN for points that are not before the camera, which may lie outside its frame; depth `[...]`.
    """
    xp, (points, intrinsics, pose) = together(points, *lens)
    seen = into(points, pose) @ _transposed(over(intrinsics, points.ndim))
    depth = seen[..., 2]
    before = xp.where(depth > 0, depth, float("nan"))
    return seen[..., :2] / before[..., None], depth


def out_of(points: Array, pose: Array) -> Array:
    """Points `[..., N, 3]` in a frame's own axes, in those that its pose `[..., 4, 4]` leads to."""
    pose = over(pose, points.ndim)
    return points @ _transposed(pose[..., :3, :3]) + pose[..., None, :3, 3]


def into(points: Array, pose: Array) -> Array:
    """Back again: `out_of` undone, for a pose that turns and shifts only."""
    pose = over(pose, points.ndim)
    return (points - pose[..., None, :3, 3]) @ pose[..., :3, :3]


def over(matrix: Array, ndim: int) -> Array:
    """Matrices `[..., a, b]`, with axes of one put before the last two up to `ndim`: one for all that follows their leading indices."""
    lead = matrix.shape[:-2]
    return matrix.reshape(*lead, *[1] * (ndim - matrix.ndim), *matrix.shape[-2:])


def _transposed(matrix: Array) -> Array:
    return matrix.swapaxes(-1, -2)
