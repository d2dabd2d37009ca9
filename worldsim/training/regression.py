"""Learn numbers from pictures, as the expert's action (cloning). Knows nothing about what the numbers mean."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.models.autoencoder import to_unit
from worldsim.models.convnet import ConvNet


class Regression:
    """Smooth absolute error between a network's outputs and `targets`, on frames that are softened and stirred as generated ones are.

    `draw(count, rng)` may choose which rows a batch holds; by default all are equally likely.
    """

    def __init__(
        self,
        model: ConvNet,
        frames: np.ndarray,
        targets: np.ndarray,
        batch: int = 64,
        draw: Callable[[int, np.random.Generator], np.ndarray] | None = None,
    ) -> None:
        """`frames` uint8 `[N, H, W, 3]`, `targets` float32 `[N, outputs]`."""
        self.model, self.frames, self.targets, self.batch = model, frames, targets, batch
        self.draw = draw or (lambda count, rng: rng.integers(len(frames), size=count))

    def loss(self, generator: torch.Generator) -> Tensor:
        """Mean error of one batch."""
        rng = np.random.default_rng(torch.randint(2**62, (1,), generator=generator).item())
        rows = self.draw(self.batch, rng)
        device = next(self.model.parameters()).device
        frames = soften(to_unit(torch.from_numpy(self.frames[rows])), generator).to(device)
        targets = torch.from_numpy(self.targets[rows]).to(device)
        return F.smooth_l1_loss(self.model(frames).float(), targets, beta=0.1)

    def preview(self, path: Path) -> None:
        """There is no picture to show."""


def soften(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the frames `[N, H, W, 3]` a little, shift brightness, and add pixel noise of a strength drawn per frame."""
    amount, light, noise = (torch.rand((len(frames), 1, 1, 1), generator=generator) for _ in range(3))
    x = frames.permute(0, 3, 1, 2)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = torch.lerp(x, blurred, (2 * amount - 1).clamp(min=0)) + 0.1 * (light - 0.5)
    return (x + 0.06 * noise * torch.randn(x.shape, generator=generator)).permute(0, 2, 3, 1)
