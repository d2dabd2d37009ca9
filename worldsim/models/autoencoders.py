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

    @property
    def decoder(self) -> nn.Module:
        """The part that makes pixels."""
        return self.net.decoder

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


class TinyDecoded(nn.Module):
    """An autoencoder whose frames are made by a small decoder, diffusers' `AutoencoderTiny`, in place of its own.

    The full decoder of a Stable Diffusion autoencoder costs as much as two evaluations of the U-Net, and this one an eighteenth of that.
    Score pictures with the full one; policies may be driven with either.
    """

    def __init__(self, full: Autoencoder | FrameAutoencoder, tiny: nn.Module) -> None:
        super().__init__()
        self.full, self.tiny = full, tiny

    @property
    def decoder(self) -> nn.Module:
        """The part that makes pixels."""
        return self.tiny.decoder

    def encode(self, frames: Tensor) -> Tensor:
        """As the full autoencoder does."""
        return self.full.encode(frames)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[N, h, w, C]` as the network sees them to frames `[N, H, W, 3]` in [-1, 1], all at once."""
        return self.tiny.decode(latents.permute(0, 3, 1, 2)).sample.permute(0, 2, 3, 1)  # n h w c -> n c h w -> n h w c


def with_decoder(
    full: Autoencoder | FrameAutoencoder, folder: str | Path, latent: tuple[int, int, int], frame: tuple[int, int]
) -> TinyDecoded:
    """`full` with the decoder of an `AutoencoderTiny` that diffusers' `save_pretrained` wrote.

    Args:
        full: keeps encoding.
        folder: the `AutoencoderTiny`, trained on the latents of `full` as the network sees them.
        latent: `(h, w, C)` of a latent frame.
        frame: `(H, W)` of a frame.

    Raises:
        InvalidInput: the folder holds something else, or a decoder of other sizes.
    """
    described = described_in(folder) or {}
    if described.get("_class_name") != "AutoencoderTiny":
        raise InvalidInput(f"decoder {folder} holds {described.get('_class_name', 'no config.json')}, expected an AutoencoderTiny folder")
    from diffusers import AutoencoderTiny

    tiny = AutoencoderTiny.from_pretrained(str(folder), local_files_only=True, use_safetensors=True).eval()
    grown, channels = 2 ** (len(tiny.config.decoder_block_out_channels) - 1), tiny.config.latent_channels
    made = (latent[0] * grown, latent[1] * grown, channels)
    if made != (*frame, latent[2]):
        expected = f"{latent[2]} channels to {frame[0]} x {frame[1]} pixels"
        raise InvalidInput(f"decoder {folder} turns {channels} channels into {made[0]} x {made[1]} pixels, expected {expected}")
    return TinyDecoded(full, tiny.requires_grad_(requires_grad=False))
