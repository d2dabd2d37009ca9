"""Train depth and motion heads (Phys4D's first two stages): alone on a frozen network, or with it. Knows no files and no renderer.

Stage 1 fits the heads to given depth and flow; stage 2 adds the diffusion loss and the warp loss, which says that what a pixel showed must
lie, a frame later, where its motion has taken it and as deep as its rise has made it.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from worldsim.errors import InvalidInput
from worldsim.geometry import depth_gap
from worldsim.models.geometry_heads import Geometry, GeometryHeadsConfig
from worldsim.training.latents import LatentClips
from worldsim.training.loss import causal_draw, causal_residual
from worldsim.training.stages import Evaluated, VideoObjective

MOVES = 0.1  # pixels from which on a pixel counts as moving


class SceneTruth(NamedTuple):
    """What the heads are to say, of frames `[..., H, W]`: units and axes of `worldsim.models.geometry_heads.Geometry`.

    Attributes:
        depth, forward, rise, backward: as there; the motion of a first frame is not looked at, nor is a value that is not finite.
        visible: whether what a pixel of the frame *before* shows is still seen in this one, bool `[..., H, W]`.
    """

    depth: Tensor
    forward: Tensor
    rise: Tensor
    backward: Tensor
    visible: Tensor

    def at(self, rows: Tensor) -> "SceneTruth":
        """Of some frames, or clips of frames."""
        return SceneTruth(*(each[rows] for each in self))

    def to(self, device: Any) -> "SceneTruth":
        """The same on another device."""
        return SceneTruth(*(each.to(device) for each in self))


@dataclass(frozen=True)
class GeometryWeights:
    """What the terms of the loss count for. Stage 1 is (0, 1, 1, 0); Phys4D's second stage is (1, 0.1, 0.1, 0.1).

    Attributes:
        diffusion: of the video loss; 0 leaves the network out of it.
        depth: of the squared error of depth, in the heads' unit of depth.
        motion: of the squared error of flow and rise, in their units; moving pixels count for half of it, however few they are.
        warp: of the squared difference of depth along the motion, in the unit of depth, where nothing hides what moved.
    """

    diffusion: float = 0.0
    depth: float = 1.0
    motion: float = 1.0
    warp: float = 0.0

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if not all(np.isfinite(value) and value >= 0 for value in values.values()) or not any(values.values()):
            raise InvalidInput(f"weights of the loss are {values}, expected numbers from 0, one of them above")


class GeometryObjective(VideoObjective):
    """The weighted sum on clips of latents whose geometry is known. Frames with noise k count 1 - k."""

    def __init__(self, truth: SceneTruth, weights: GeometryWeights, network: Any, *parts: Any) -> None:
        """`truth` has a row for each of the clips' frames.

        Raises:
            InvalidInput: a network without heads or of one stream, other sizes than its frames have, or another number of frames.
        """
        super().__init__(network, *parts)
        self.truth, self.weights = truth, weights
        if getattr(network, "heads", None) is None or not network.two_streams or not network.causal:
            raise InvalidInput(f"depth and motion are learned by a causal video_unet with heads, this is a {network.kind} without")
        check_sizes(truth, network, self.clips)

    def loss(self, generator: torch.Generator) -> Tensor:
        """The loss of one batch."""
        rows = self.clips.rows(self.options.batch, generator)
        device = next(self.model.parameters()).device
        clean, actions = (each.to(device) for each in self.clips.at(rows))
        draw = causal_draw(clean, self.diffusion, self.options.dropout, generator)
        net, context = _Asked(self._called()), self._context(clean, generator)
        missed = causal_residual(net, clean, actions, draw, self.diffusion, context=context)
        levels = torch.stack([draw.history_level, draw.level], 1)
        terms = geometry_losses(net.said, self.truth.at(rows).to(device), levels, self.model.heads.config)
        terms["diffusion"] = missed[:, 1:].square().mean()
        return sum(weight * terms[name] for name, weight in vars(self.weights).items() if weight)


class _Asked:
    """A network that is asked for geometry each time it is evaluated; `said` is its last answer."""

    def __init__(self, network: Evaluated) -> None:
        self._network, self.said = network, None

    def __call__(self, *arguments: Any) -> Tensor:
        output, self.said = self._network(*arguments, geometry=True)
        return output


def check_sizes(truth: SceneTruth, network: Any, clips: LatentClips) -> None:
    """Refuse a truth of other frames than the clips show.

    Raises:
        InvalidInput: another size or number of frames.
    """
    height, width, _ = (side * network.heads.config.scale for side in network.position.shape)
    if tuple(truth.depth.shape) != (len(clips.latents), height, width):
        given = " x ".join(map(str, truth.depth.shape))
        raise InvalidInput(f"depth is given of {given} frames and pixels, expected {len(clips.latents)} x {height} x {width}")


def geometry_losses(said: Geometry, truth: SceneTruth, levels: Tensor, units: GeometryHeadsConfig) -> dict[str, Tensor]:
    """The terms of Phys4D's loss, each a mean over pixels and, by 1 - k, over frames.

    Args:
        said: by the heads, `[B, S, T, H, W, ...]`.
        truth: `[B, T, H, W, ...]`.
        levels: noise of each frame, `[B, S, T]`.
        units: of the heads.

    Returns:
        "depth", "motion" and "warp".
    """
    truth = SceneTruth(*(each[:, None] for each in truth))
    clear = 1 - levels
    depth = _mean(((said.depth - truth.depth) / units.depth_scale).square(), clear, torch.ones_like(said.depth))
    scales = (units.flow_scale, units.rise_scale, units.flow_scale)
    said_in, true_in = (_into_later(each) for each in (said, truth))
    forward, rise, backward = (((a - b) / unit).square() for a, b, unit in zip(said_in[1:], true_in[1:], scales, strict=True))
    before, after = (_balance(flow.norm(dim=-1) > MOVES) for flow in (true_in.forward, true_in.backward))
    later = clear[:, :, 1:]
    motion = _mean(forward.mean(-1), later, before) + _mean(rise, later, before) + _mean(backward.mean(-1), later, after)
    seen = truth.visible[:, :, 1:].expand(said_in.depth.shape).float()
    gap = depth_gap(said.depth[:, :, :-1], said_in.depth, said_in.forward, said_in.rise) / units.depth_scale
    return {"depth": depth, "motion": motion, "warp": _mean(gap.square(), later * clear[:, :, :-1], seen)}


def _into_later(found: Any) -> Geometry:
    """What is said of all frames but the first."""
    return Geometry(*(each[:, :, 1:] for each in found[:4]))


def _balance(moving: Tensor) -> Tensor:
    """Weights of pixels by which moving ones count for half, where there are any."""
    share = moving.float().mean()
    return torch.where(moving, 0.5 / share, 0.5 / (1 - share)) if 0 < share < 1 else torch.ones_like(moving, dtype=torch.float32)


def _mean(error: Tensor, frames: Tensor, pixels: Tensor) -> Tensor:
    """Mean of `[B, S, T, H, W]` by weights of frames `[B, S, T]` and pixels; what is not finite does not count."""
    weight = frames[..., None, None] * pixels * error.isfinite()
    return (weight * error.nan_to_num(0, 0, 0)).sum() / weight.sum().clamp(min=1e-6)
