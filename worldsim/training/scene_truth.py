"""What depth and motion heads are taught by: exact geometry out of what a simulator recorded, or the guess of an estimator in a local file.

Rigid things that move without turning have exact flow: a pixel is put into space by its depth, moved as its thing moved, and seen again.
Knows no network but that of an estimator, and no simulator but the names of its states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldsim.errors import InvalidInput
from worldsim.metrics.features import load_script
from worldsim.models.geometry_heads import Geometry
from worldsim.training.geometry import SceneTruth, depth_gap
from worldsim.types import Trajectory

NEEDED = ("depth", "segmentation", "intrinsics", "camera_pose")
SLACK = 0.05  # metres by which a depth may differ from that expected of what is seen again


def recorded_scene(trajectories: Sequence[Trajectory], moving: Mapping[int, str]) -> SceneTruth:
    """Exact geometry of recorded episodes, a row for each of their frames in a row.

    Args:
        trajectories: with the states `depth` `[T + 1, H, W]` m, `segmentation` `[T + 1, H, W]`, `intrinsics` `[T + 1, 3, 3]` in pixels and
            `camera_pose` `[T + 1, 4, 4]` from camera axes (right, down, forward) to the world's.
        moving: which state `[T + 1, 3]` is the place, in metres, of the thing that a number in `segmentation` stands for; all else rests.

    Raises:
        InvalidInput: an episode without these states.
    """
    for trajectory in trajectories:
        if lacking := sorted({*NEEDED, *moving.values()} - trajectory.states.keys()):
            raise InvalidInput(f"episode {trajectory.seed} has no {', '.join(lacking)}; record it again: worldsim collect truth=drop")
    parts = [_scene(trajectory.states, moving) for trajectory in trajectories]
    return SceneTruth(*(torch.from_numpy(np.concatenate(each)) for each in zip(*parts, strict=True)))


def _scene(states: Mapping[str, np.ndarray], moving: Mapping[int, str]) -> tuple[np.ndarray, ...]:
    depth = states["depth"].astype(np.float32)
    forward, rise = np.zeros((*depth.shape, 2), np.float32), np.zeros_like(depth)
    backward, visible = np.zeros_like(forward), np.ones(depth.shape, bool)
    for t in range(1, len(depth)):
        forward[t], rise[t], visible[t] = _seen_again(states, moving, t - 1, t)
        backward[t], _, _ = _seen_again(states, moving, t, t - 1)
    return depth, forward, rise, backward, visible


def _seen_again(
    states: Mapping[str, np.ndarray], moving: Mapping[int, str], now: int, then: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each pixel of one frame: its flow to another, its change of depth, and whether what it shows is to be seen there."""
    points = in_space(states["depth"][now], states["intrinsics"][now], states["camera_pose"][now])
    for number, name in moving.items():
        points[states["segmentation"][now] == number] += states[name][then] - states[name][now]
    pixels, depth = _in_view(points, states["intrinsics"][then], states["camera_pose"][then])
    there = np.floor(pixels).astype(int)
    height, width = depth.shape
    inside = (there >= 0).all(-1) & (there[..., 0] < width) & (there[..., 1] < height)
    column, row = (there[..., axis].clip(0, size - 1) for axis, size in ((0, width), (1, height)))
    seen = inside & (np.abs(states["depth"][then][row, column] - depth) < SLACK)
    return (pixels - _centres(height, width)).astype(np.float32), (depth - states["depth"][now]).astype(np.float32), seen


def _centres(height: int, width: int) -> np.ndarray:
    """Where pixels are (right, down), `[H, W, 2]`: row i, column j at (j + 0.5, i + 0.5)."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1) + 0.5


def in_space(depth: np.ndarray, intrinsics: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """The point that each pixel shows, in the world's axes, `[H, W, 3]`."""
    rays = np.concatenate([_centres(*depth.shape), np.ones((*depth.shape, 1))], -1) @ np.linalg.inv(intrinsics).T
    return (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]


def _in_view(points: np.ndarray, intrinsics: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels `[H, W, 2]` and depth `[H, W]` at which a camera sees points."""
    seen = (points - pose[:3, 3]) @ pose[:3, :3] @ intrinsics.T
    return seen[..., :2] / seen[..., 2:], seen[..., 2]


@dataclass(frozen=True)
class TorchScriptEstimator:
    """Depth and flow by networks in local TorchScript files, for recordings that know neither (Phys4D's first stage).

    Attributes:
        depth: file of a module from pictures float32 `[N, 3, H, W]` in [0, 1] to metres `[N, H, W]` or `[N, 1, H, W]`.
        flow: file of a module from two such batches to the flow in pixels from the first to the second, `[N, 2, H, W]`.
    """

    depth: str
    flow: str

    @torch.no_grad()
    def __call__(self, trajectories: Sequence[Trajectory]) -> SceneTruth:
        """As `recorded_scene`; the rise is the depth where the flow leads less that where it begins.

        Raises:
            InvalidInput, DamagedFile: no such files, or none that hold such modules.
        """
        depth, flow = _module(self.depth, "depth"), _module(self.flow, "flow")
        parts = [_guessed(depth, flow, trajectory.frames) for trajectory in trajectories]
        return SceneTruth(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _module(path: str, key: str) -> torch.jit.ScriptModule:
    if not Path(path).is_file():
        raise InvalidInput(f"{key}={path} is no file, expected a TorchScript module, see docs/physics.md")
    return load_script(path, "cpu")


def _guessed(depth: torch.jit.ScriptModule, flow: torch.jit.ScriptModule, frames: np.ndarray) -> SceneTruth:
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    shape = pictures.shape[0], *pictures.shape[2:]
    metres = _shaped(depth(pictures), shape, "depth")
    forward, backward = (torch.zeros(*shape, 2) for _ in range(2))
    pair = (shape[0] - 1, 2, *shape[1:])
    forward[1:] = _shaped(flow(pictures[:-1], pictures[1:]), pair, "flow").permute(0, 2, 3, 1)
    backward[1:] = _shaped(flow(pictures[1:], pictures[:-1]), pair, "flow").permute(0, 2, 3, 1)
    rise, visible = torch.zeros(shape), torch.ones(shape, dtype=torch.bool)
    rise[1:] = depth_gap(metres[:-1], Geometry(metres[1:], forward[1:], torch.zeros(pair[0], *shape[1:]), backward[1:]))
    visible[1:] = _agrees(forward[1:], backward[1:])
    return SceneTruth(metres, forward, rise, backward, visible)


def _agrees(forward: Tensor, backward: Tensor) -> Tensor:
    """Pixels that the backward flow brings home from where the forward flow has taken them, to within a pixel."""
    nothing = torch.zeros(forward.shape[:-1])
    back = torch.stack([depth_gap(nothing, Geometry(each, forward, nothing, backward)) for each in backward.unbind(-1)], -1)
    return (forward + back).norm(dim=-1) < 1


def _shaped(found: Tensor, shape: tuple[int, ...], key: str) -> Tensor:
    if found.numel() != int(np.prod(shape)):
        raise InvalidInput(f"the {key} module gave {list(found.shape)}, expected {list(shape)}")
    return found.float().reshape(shape)
