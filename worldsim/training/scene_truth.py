"""What depth and motion heads are taught by: exact geometry out of what a simulator recorded, or the guess of an estimator in a local file.

Knows no network but that of an estimator, and no simulator but the names of its states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldsim.errors import InvalidInput
from worldsim.geometry import Lens, Motion, consistent, depth_gap, rigid_motion, seen_again
from worldsim.metrics.features import load_script
from worldsim.training.geometry import SceneTruth
from worldsim.types import Trajectory

NEEDED = ("depth", "segmentation", "intrinsics", "camera_pose")


def recorded_scene(trajectories: Sequence[Trajectory], moving: Mapping[int, str]) -> SceneTruth:
    """Exact geometry of recorded episodes, a row for each of their frames in a row.

    Args:
        trajectories: with the states `depth` `[T + 1, H, W]` m, `segmentation` `[T + 1, H, W]`, `intrinsics` `[T + 1, 3, 3]` in pixels and
            `camera_pose` `[T + 1, 4, 4]` from camera axes (right, down, forward) to the world's.
        moving: which state is the place `[T + 1, 3]`, in metres, or the pose `[T + 1, 4, 4]`, of the thing that a number in `segmentation`
            stands for; all else rests.

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
    earlier, later = slice(None, -1), slice(1, None)
    _, forward[1:], rise[1:] = onward = _motion(states, moving, earlier, later)
    _, backward[1:], _ = _motion(states, moving, later, earlier)
    visible[1:] = seen_again(depth[earlier], depth[later], onward.flow, onward.rise)
    return depth, forward, rise, backward, visible


def _motion(states: Mapping[str, np.ndarray], moving: Mapping[int, str], now: slice, then: slice) -> Motion:
    """Of each pixel of some frames, to as many others."""
    lens, things = Lens.of(states), {number: (states[name][now], states[name][then]) for number, name in moving.items()}
    return rigid_motion(states["depth"][now], states["segmentation"][now], (lens.at(now), lens.at(then)), things)


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
    rise[1:] = depth_gap(metres[:-1], metres[1:], forward[1:], rise[1:])
    visible[1:] = consistent(forward[1:], backward[1:])
    return SceneTruth(metres, forward, rise, backward, visible)


def _shaped(found: Tensor, shape: tuple[int, ...], key: str) -> Tensor:
    if found.numel() != int(np.prod(shape)):
        raise InvalidInput(f"the {key} module gave {list(found.shape)}, expected {list(shape)}")
    return found.float().reshape(shape)
