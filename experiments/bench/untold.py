"""The authors' network at any size, to be timed on random weights: without image towers, and with a small decoder."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.models.vid2world import Vid2WorldConfig
from worldsim.models.vid2world.network import Vid2WorldNetwork

STRICT = {"norm": "frame", "head": "symmetric", "image_tokens": "per_frame"}


class UntoldNetwork(Vid2WorldNetwork):
    """A Vid2World network that is told of no picture: its context tokens are fixed random numbers."""

    @torch.no_grad()
    def context_for(self, first_frames: Tensor, first_latents: Tensor) -> dict[str, Tensor]:
        """Rows per lane."""
        neutral = self.neutral_context(self.latent_shape)["tokens"].to(first_latents)
        return {"first": first_latents, "tokens": neutral.expand(len(first_latents), *neutral.shape[1:])}


def untold(config: Mapping[str, Any]) -> UntoldNetwork:
    """The network of a preset's sizes, strictly causal."""
    unet = Vid2WorldConfig(**{**config, **STRICT}).build()
    return UntoldNetwork(unet, None, (1.0,) * unet.config.action_size)


class TinyAutoencoder(nn.Module):
    """diffusers' `AutoencoderTiny` with random weights, 8 x smaller latents."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        from diffusers import AutoencoderTiny

        self.tiny = AutoencoderTiny(latent_channels=channels)

    @property
    def decoder(self) -> nn.Module:
        """The part that makes pixels."""
        return self.tiny.decoder

    def encode(self, frames: Tensor) -> Tensor:
        """Frames `[N, H, W, 3]` to latents `[N, h, w, C]`, one at a time."""
        latents = [self.tiny.encode(frame.permute(0, 3, 1, 2)).latents for frame in frames.split(1)]  # n h w c -> n c h w
        return torch.cat(latents).permute(0, 2, 3, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[N, h, w, C]` to frames `[N, H, W, 3]`."""
        return self.tiny.decode(latents.permute(0, 3, 1, 2)).sample.permute(0, 2, 3, 1)
