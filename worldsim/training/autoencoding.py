"""Stage "autoencoder": reconstruct single frames. Knows nothing about time."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from worldsim.models.autoencoder import Autoencoder, to_pixels, to_unit


class Reconstruction:
    """Squared plus a tenth of absolute error, weighted towards the pixels that vary over the data; latents get a little noise."""

    def __init__(self, model: Autoencoder, frames: np.ndarray, batch: int = 32, latent_noise: float = 0.05) -> None:
        """`frames` uint8 `[N, H, W, 3]`."""
        self.model, self.frames, self.batch, self.latent_noise = model, frames, batch, latent_noise
        some = frames[np.linspace(0, len(frames) - 1, min(len(frames), 2000)).astype(int)]
        spread = some.std(axis=(0, 3), dtype=np.float32)
        self.weight = torch.from_numpy(0.4 + 0.6 * spread / max(spread.mean(), 1e-6))[None, :, :, None]  # [1, H, W, 1]

    def loss(self, generator: torch.Generator) -> Tensor:
        """Mean weighted error of one batch."""
        device = next(self.model.parameters()).device
        index = torch.randint(len(self.frames), (self.batch,), generator=generator).numpy()
        frames = to_unit(torch.from_numpy(self.frames[index])).to(device)
        latents = self.model.encode(frames)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        error = self.model.decode(latents + self.latent_noise * noise).float() - frames
        return ((error.square() + 0.1 * error.abs()) * self.weight.to(device)).mean()

    def preview(self, path: Path) -> None:
        """Eight frames above their reconstructions."""
        frames = self.frames[np.linspace(0, len(self.frames) - 1, 8).astype(int)]
        rows = [np.concatenate(list(batch), axis=1) for batch in (frames, reconstruct(self.model, frames))]
        Image.fromarray(np.concatenate(rows)).resize((8 * 128, 2 * 128), Image.Resampling.NEAREST).save(path)


@torch.no_grad()
def reconstruct(model: Autoencoder, frames: np.ndarray) -> np.ndarray:
    """Frames uint8 `[N, H, W, 3]` through the autoencoder and back."""
    device = next(model.parameters()).device
    return to_pixels(model.decode(model.encode(to_unit(torch.from_numpy(frames)).to(device)))).cpu().numpy()
