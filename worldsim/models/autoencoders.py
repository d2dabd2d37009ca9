"""The kinds of autoencoder that a checkpoint may hold: our own, and diffusers' `AutoencoderKL` applied frame by frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.data.files import described_in
from worldsim.errors import InvalidInput
from worldsim.models.autoencoder import Autoencoder, AutoencoderConfig


class FrameAutoencoder(nn.Module):
    """Frames to latents and back by diffusers' `AutoencoderKL`, one at a time: neither memory nor result depends on how many."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.scale: float = net.config.scaling_factor

    def encode(self, frames: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """Frames `[N, H, W, 3]` in [-1, 1] to latents `[N, h, w, C]`: the posterior's mean, or with `noise` (its shape) a sample."""
        dtype = next(self.net.parameters()).dtype
        posteriors = [self.net.encode(frame.permute(0, 3, 1, 2).to(dtype)).latent_dist for frame in frames.split(1)]
        latents = torch.cat([each.mean for each in posteriors]).permute(0, 2, 3, 1)  # n c h w -> n h w c
        if noise is not None:
            latents = latents + torch.cat([each.std for each in posteriors]).permute(0, 2, 3, 1) * noise
        return self.scale * latents

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[N, h, w, C]` to frames `[N, H, W, 3]`, about [-1, 1]."""
        dtype = next(self.net.parameters()).dtype
        scaled = (latents / self.scale).permute(0, 3, 1, 2).to(dtype)  # n h w c -> n c h w
        return torch.cat([self.net.decode(each).sample for each in scaled.split(1)]).permute(0, 2, 3, 1)

    def describe(self) -> dict:
        """The config as plain values, and the kind that `build_autoencoder` tells it by."""
        return {"kind": "kl", **{name: value for name, value in self.net.config.items() if not name.startswith("_")}}


def build_autoencoder(config: Mapping[str, Any]) -> Autoencoder | FrameAutoencoder:
    """The autoencoder that a checkpoint's config describes under "autoencoder", freshly initialised."""
    values = dict(config["autoencoder"])
    if values.pop("kind", None) != "kl":
        return AutoencoderConfig(**values).build()
    from diffusers import AutoencoderKL

    return FrameAutoencoder(AutoencoderKL.from_config(values))


def autoencoder_from(folder: str | Path) -> FrameAutoencoder:
    """The frozen `AutoencoderKL` of a folder that diffusers' `save_pretrained` wrote.

    Raises:
        InvalidInput: the folder holds something else; SVD's temporal decoder, which mixes frames, is something else.
    """
    name = (described_in(folder) or {}).get("_class_name")
    if name != "AutoencoderKL":
        raise InvalidInput(
            f"{folder} holds {name or 'no config.json'}, expected the folder of an AutoencoderKL, which codes each frame by itself"
        )
    from diffusers import AutoencoderKL

    net = AutoencoderKL.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    return FrameAutoencoder(net.eval().requires_grad_(requires_grad=False))
