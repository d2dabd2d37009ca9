"""Where pixels lie in space, how they move, and what hides them: pure functions of numpy arrays or torch tensors alike.

A pixel (row i, column j) has its centre at (j + 0.5, i + 0.5). Camera axes are right, down, forward. Lengths are metres, depth is along
the camera's forward axis, flow is in pixels (right, down). If one argument is a tensor, all are taken as tensors on its device and
gradients flow; else all are numpy arrays. Floats are computed with in the widest type given, float32 at least. Knows no file, simulator
or network.
"""

from worldsim.geometry.cameras import Lens, pixel_centres, project, unproject
from worldsim.geometry.clouds import chamfer
from worldsim.geometry.motion import Motion, carried, rigid_motion
from worldsim.geometry.occlusion import consistent, round_trip, seen_again
from worldsim.geometry.sampling import depth_gap, inside, sample
from worldsim.geometry.splatting import Splat, splat

__all__ = [
    "Lens",
    "Motion",
    "Splat",
    "carried",
    "chamfer",
    "consistent",
    "depth_gap",
    "inside",
    "pixel_centres",
    "project",
    "rigid_motion",
    "round_trip",
    "sample",
    "seen_again",
    "splat",
    "unproject",
]
