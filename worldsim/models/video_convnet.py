"""A small convolutional network from the last few frames to a few numbers: the body of the classifier."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.models.autoencoder import to_unit


@dataclass
class VideoConvNetConfig:
    """`outputs` numbers per clip of `frames` frames of `height` x `width` pixels; `channels` scales every layer."""

    frames: int = 3
    height: int = 64
    width: int = 64
    outputs: int = 1
    channels: int = 24

    def build(self) -> "VideoConvNet":
        """A freshly initialised network."""
        return VideoConvNet(self)


class VideoConvNet(nn.Module):
    """Four stride-2 convolutions, the first over all frames at once, that also see where they are; then two linear layers.

    A first layer over all frames is a convolution over time as long as the clip: it can subtract one frame from another.
    """

    def __init__(self, config: VideoConvNetConfig) -> None:
        super().__init__()
        self.config = config
        w, down = config.channels, lambda size: -(-size // 16)
        widths = (3 * config.frames + 2, w, 2 * w, 3 * w, 3 * w)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:], strict=False))
        self.hidden = nn.Linear(3 * w * down(config.height) * down(config.width), 128)
        self.head = nn.Linear(128, config.outputs)
        lines = [torch.linspace(-1, 1, size) for size in (config.height, config.width)]
        self.register_buffer("place", torch.stack(torch.meshgrid(*lines, indexing="ij"))[None], persistent=False)  # [1, 2, H, W]

    def forward(self, clips: Tensor) -> Tensor:
        """uint8 `[N, k, H, W, 3]`, or floats in [-1, 1], to `[N, outputs]`."""
        x = (to_unit(clips) if clips.dtype == torch.uint8 else clips).permute(0, 1, 4, 2, 3).flatten(1, 2)
        x = torch.cat([x, self.place.expand(len(x), -1, -1, -1)], dim=1)
        for convolution in self.convolutions:
            x = F.silu(convolution(x))
        return self.head(F.silu(self.hidden(x.flatten(1))))

    def describe(self) -> dict:
        """The config as plain values."""
        return asdict(self.config)
