"""Phys4D's heads: depth and motion of each frame, read off the last features of a video decoder. Knows no network and no loss.

A causal network's features of frame t know frames 0 to t, so motion is that *into* frame t, from the frame before it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.errors import InvalidInput
from worldsim.models.blocks import Modulation

SMALL = 0.01  # gain of the projections' first weights (Phys4D's published value)


class Geometry(NamedTuple):
    """Geometry of frames `[..., H, W]`; leading axes are those of the features.

    Attributes:
        depth: distance along the camera's axis, in metres, `[..., H, W]`.
        forward: where each pixel of the frame *before* has gone, in pixels (right, down), `[..., H, W, 2]`.
        rise: change of depth of what each pixel of the frame before shows, in metres, `[..., H, W]`.
        backward: from each pixel of this frame to where it was before, in pixels, `[..., H, W, 2]`.
    """

    depth: Tensor
    forward: Tensor
    rise: Tensor
    backward: Tensor


@dataclass(frozen=True)
class GeometryHeadsConfig:
    """Units and sizes of the heads.

    Attributes:
        scale: pixels per feature, along one side.
        depth_mean, depth_scale: metres of an output of 0, and of a step of 1.
        flow_scale: pixels of an output of 1.
        rise_scale: metres of an output of 1.
    """

    scale: int = 8
    depth_mean: float = 1.0
    depth_scale: float = 0.5
    flow_scale: float = 4.0
    rise_scale: float = 0.1

    def __post_init__(self) -> None:
        sizes = (self.scale, self.depth_scale, self.flow_scale, self.rise_scale)
        if min(sizes) <= 0:
            raise InvalidInput(f"the heads' scales are {sizes}, expected numbers above 0")

    def build(self, channels: int, embedding: int) -> "GeometryHeads":
        """Freshly initialised heads on features of `channels`, with embeddings of size `embedding`."""
        return GeometryHeads(self, channels, embedding)


class FrameHead(nn.Module):
    """Norm of each position, scale and shift by the frame's noise level and action, and one projection to scale x scale pixels."""

    def __init__(self, channels: int, embedding: int, outputs: int, scale: int) -> None:
        super().__init__()
        self.outputs, self.scale = outputs, scale
        self.modulation = Modulation(channels, embedding)
        self.project = nn.Linear(channels, outputs * scale**2)
        nn.init.xavier_uniform_(self.project.weight, gain=SMALL)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Features `[..., h, w, C]` and embeddings `[..., E]` to float32 `[..., H, W, outputs]`."""
        h = self.project(self.modulation(F.layer_norm(x, x.shape[-1:]), emb)).float()
        h = h.unflatten(-1, (self.scale, self.scale, -1)).transpose(-4, -3)  # [..., h, s, w, s, outputs]
        return h.flatten(-3, -2).flatten(-4, -3)


class GeometryHeads(nn.Module):
    """One head for depth, one for motion."""

    def __init__(self, config: GeometryHeadsConfig, channels: int, embedding: int) -> None:
        super().__init__()
        self.config = config
        self.depth = FrameHead(channels, embedding, 1, config.scale)
        self.motion = FrameHead(channels, embedding, 5, config.scale)

    def forward(self, x: Tensor, emb: Tensor) -> Geometry:
        """Features `[..., h, w, C]` and embeddings `[..., E]` to their geometry."""
        units, motion = self.config, self.motion(x, emb)
        flow, rise = motion[..., :4] * units.flow_scale, motion[..., 4] * units.rise_scale
        return Geometry(self.depth(x, emb)[..., 0] * units.depth_scale + units.depth_mean, flow[..., :2], rise, flow[..., 2:])
