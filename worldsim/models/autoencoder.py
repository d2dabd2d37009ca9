"""Frames to small latents and back, each frame by itself, so that nothing leaks through time. Knows nothing of actions or noise levels."""

from dataclasses import asdict, dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FrameCoder(Protocol):
    """Frames `[N, H, W, 3]` in [-1, 1] to latents `[N, h, w, C]` and back, each frame by itself."""

    def encode(self, frames: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...


@dataclass
class AutoencoderConfig:
    """8 x smaller latents with `latent_channels` channels; `width` scales every layer."""

    latent_channels: int = 12
    width: int = 64
    frame_size: int = 64

    def build(self) -> "Autoencoder":
        """A freshly initialised autoencoder."""
        return Autoencoder(self)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class Autoencoder(nn.Module):
    """Per-frame autoencoder. Latents have unit variance (a normalisation without trainable scale), so diffusion needs no other scaling."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        w, latent = config.width, config.latent_channels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),  # [N, 3, H, W] -> [N, 48, H/4, W/4]
            nn.Conv2d(48, w, 3, padding=1),
            _Residual(w),
            nn.Conv2d(w, 2 * w, 4, stride=2, padding=1),
            _Residual(2 * w),
            nn.Conv2d(2 * w, latent, 1),
        )
        self.scale = nn.BatchNorm2d(latent, affine=False, momentum=0.02)
        self.decoder = nn.Sequential(
            nn.Conv2d(latent, 2 * w, 3, padding=1),
            _Residual(2 * w),
            nn.Conv2d(2 * w, 4 * w, 1),
            nn.PixelShuffle(2),  # -> [N, w, H/4, W/4]
            _Residual(w),
            nn.Conv2d(w, 2 * w, 3, padding=1),
            nn.PixelShuffle(2),  # -> [N, w/2, H/2, W/2]
            nn.SiLU(),
            nn.Conv2d(w // 2, 12, 3, padding=1),
            nn.PixelShuffle(2),  # -> [N, 3, H, W]
        )

    def encode(self, frames: Tensor) -> Tensor:
        """Frames `[N, H, W, 3]` in [-1, 1] to latents `[N, H/8, W/8, C]`."""
        return self.scale(self.encoder(frames.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[N, H/8, W/8, C]` to frames `[N, H, W, 3]`, about [-1, 1]."""
        return self.decoder(latents.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def describe(self) -> dict:
        """The config as plain values."""
        return asdict(self.config)


def to_unit(frames: Tensor) -> Tensor:
    """uint8 pixels to float32 in [-1, 1]."""
    return frames.float() / 127.5 - 1


def to_pixels(frames: Tensor) -> Tensor:
    """Floats about [-1, 1] to uint8 pixels, rounded and clamped."""
    return ((frames.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
