"""A small convolutional network from one picture to a few numbers: the body of the cloned policies."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.errors import InvalidInput
from worldsim.models.autoencoder import to_unit


@dataclass
class ConvNetConfig:
    """`outputs` numbers per picture; `width` scales every layer."""

    outputs: int = 3
    width: int = 24
    frame_size: int = 64

    def build(self) -> "ConvNet":
        """A freshly initialised network."""
        return ConvNet(self)


class ConvNet(nn.Module):
    """Four stride-2 convolutions that also see where they are (x and y as two more channels), then two linear layers."""

    def __init__(self, config: ConvNetConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        widths = (5, w, 2 * w, 3 * w, 3 * w)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:], strict=False))
        self.hidden = nn.Linear(3 * w * (config.frame_size // 16) ** 2, 128)
        self.head = nn.Linear(128, config.outputs)
        line = torch.linspace(-1, 1, config.frame_size)
        self.register_buffer("place", torch.stack(torch.meshgrid(line, line, indexing="ij"))[None], persistent=False)  # [1, 2, H, W]

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 `[N, H, W, 3]`, or floats in [-1, 1], to `[N, outputs]`."""
        x = (to_unit(frames) if frames.dtype == torch.uint8 else frames).permute(0, 3, 1, 2)
        x = torch.cat([x, self.place.expand(len(x), -1, -1, -1)], dim=1)
        for convolution in self.convolutions:
            x = F.silu(convolution(x))
        return self.head(F.silu(self.hidden(x.flatten(1))))

    @torch.no_grad()
    def predict(self, frames: np.ndarray) -> np.ndarray:
        """The outputs for pictures uint8 `[N, H, W, 3]`, float32 `[N, outputs]`.

        Raises:
            InvalidInput: pictures of another size than the network was trained on.
        """
        size = self.config.frame_size
        if frames.shape[1:] != (size, size, 3):
            raise InvalidInput(f"frames have shape {list(frames.shape)}, this network was trained on [N, {size}, {size}, 3]")
        return self(torch.from_numpy(np.ascontiguousarray(frames)).to(self.place.device)).float().cpu().numpy()

    def describe(self) -> dict:
        """The config as plain values."""
        return asdict(self.config)
