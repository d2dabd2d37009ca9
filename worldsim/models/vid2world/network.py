"""The Vid2World U-Net with its image conditioning as a network of ours: levels in [0, 1], actions in [-1, 1], a memory, our axes."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.diffusion.schedule import timestep_of
from worldsim.errors import InvalidInput
from worldsim.models.autoencoders import FrameAutoencoder
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.causal.layers import remembering
from worldsim.models.network import by_stream
from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.domains import domain_action
from worldsim.models.vid2world.pretrained import Vid2WorldParts
from worldsim.models.vid2world.resampler import ResamplerConfig
from worldsim.models.vid2world.towers import Conditioner, transformers
from worldsim.models.vid2world.unet import Vid2WorldUNet
from worldsim.types import WorldSpec

FPS = 3.0  # what the released models were told in all three domains


class Vid2WorldNetwork(nn.Module):
    """A `worldsim.models.network.VideoNetwork`. The U-Net and the resampler are trained, the image tower is frozen.

    Attributes:
        action_scale: upper bound of each action; an action in [-1, 1] is multiplied by it.
    """

    kind = "vid2world"
    starts_known = True
    needs_pixels = True
    _no_split_modules = ("Stage",)  # what FSDP shards by
    two_streams = False

    def __init__(self, unet: Vid2WorldUNet, conditioner: Conditioner | None, action_scale: tuple[float, ...]) -> None:
        super().__init__()
        if len(action_scale) != unet.config.action_size:
            raise InvalidInput(f"the weights take actions of {unet.config.action_size} numbers, the world's have {len(action_scale)}")
        self.unet, self.action_scale = unet, tuple(action_scale)
        if conditioner is not None:
            self.resampler, self.image_encoder = conditioner.resampler, conditioner.image_encoder.requires_grad_(requires_grad=False)
            self.register_buffer("empty_text", conditioner.empty_text)

    def without_towers(self) -> "Vid2WorldNetwork":
        """The same U-Net without image conditioning of its own: what a leak probe needs a copy of."""
        return Vid2WorldNetwork(self.unet, None, self.action_scale)

    def neutral_context(self, latent_shape: tuple[int, int, int]) -> dict[str, Tensor]:
        """A context of one lane that no picture belongs to: a first latent of zeros and fixed random tokens."""
        config, generator = self.unet.config, torch.Generator().manual_seed(0)
        tokens = torch.randn(1, config.context_tokens, config.context_dim, generator=generator)
        return {"first": torch.zeros(1, *latent_shape), "tokens": tokens}

    @property
    def smallest_latents(self) -> tuple[int, int, int]:
        """The smallest `(h, w, C)` that the network takes: it has no weight that belongs to a place."""
        side = 2 * self.unet.config.shrink  # a norm needs more than one position
        return side, side, self.unet.config.out_channels

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """`(h, w, C)` of one latent frame."""
        return self.unet.config.latent_height, self.unet.config.latent_width, self.unet.config.out_channels

    @property
    def action_size(self) -> int:
        """Numbers in one action."""
        return self.unet.config.action_size

    @property
    def window(self) -> int:
        """How many earlier frames a frame attends to."""
        return self.unet.config.window - 1

    @property
    def causal(self) -> bool:
        """Whether it has been causalized; with norm="clip" the future still comes through the norms."""
        return self.unet.config.causal

    @torch.no_grad()
    def context_for(self, first_frames: Tensor, first_latents: Tensor) -> dict[str, Tensor]:
        """The first frame's latent and, in evaluation, its text and image tokens; in training what the resampler makes these from.

        Args:
            first_frames: float `[B, H, W, 3]` in [-1, 1].
            first_latents: `[B, h, w, C]`.
        """
        conditioner = self._conditioner()
        seen = conditioner.see(first_frames)
        return {"first": first_latents} | ({"seen": seen} if self.training else {"tokens": conditioner.tokens(seen)})

    def _conditioner(self) -> Conditioner:
        return Conditioner(self.image_encoder, self.resampler, self.empty_text)

    def forward(
        self,
        x: Tensor,
        levels: Tensor,
        actions: Tensor,
        known: Tensor,
        memory: Memory | None = None,
        context: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """One evaluation; arguments and result as for `VideoNetwork`.

        Raises:
            InvalidInput: no context, or several streams without a memory of as many branches.
        """
        streams, frames = x.shape[1:3]
        if not context:
            raise InvalidInput("this network is conditioned on a first frame; give context=net.context_for(first_frames, first_latents)")
        if streams != (1 if memory is None else memory.branches):
            raise InvalidInput(f"{streams} streams, expected 1, or a memory of as many branches, in which they meet")
        tokens = context["tokens"] if "tokens" in context else self._conditioner().tokens(context["seen"])
        rows = {"first": context["first"], "tokens": tokens}
        rows = {name: value.repeat_interleave(streams, dim=0) for name, value in rows.items()}  # [B * S, ...]
        first = rows["first"][:, None].expand(-1, frames, -1, -1, -1)
        latents = torch.cat([x.flatten(0, 1), first.to(x)], dim=-1).permute(0, 1, 4, 2, 3)  # [B * S, T, 2C, h, w]
        raw = (by_stream(actions) * actions.new_tensor(self.action_scale)).expand(-1, streams, -1, -1).flatten(0, 1)
        timesteps = timestep_of(levels.flatten(0, 1)).clamp(min=0)
        fps = x.new_full((len(latents),), FPS)
        with remembering(self.unet, memory):
            output = self.unet(latents, timesteps, raw, known.flatten(0, 1), rows["tokens"], fps)
        return output.permute(0, 1, 3, 4, 2).reshape(x.shape)

    def remember(self, memory: Memory, frames: int) -> HistoryCache:
        """The cache after a pass over `frames` frames of history.

        Raises:
            InvalidInput: norms over the clip, or the official choice of image tokens: features then change with every later frame.
        """
        config = self.unet.config
        if config.norm == "clip" or config.image_tokens == "official":
            raise InvalidInput(
                f"with norm={config.norm} and image_tokens={config.image_tokens} a frame's features depend on the clip's length and cannot "
                "be remembered; type history=recompute, or convert with norm=frame image_tokens=per_frame"
            )
        return memory.after(frames, self.window)

    def save_memory(self) -> None:
        """Compute activations twice in training rather than keep them."""
        self.unet.config = replace(self.unet.config, gradient_checkpointing=True)

    def describe(self) -> dict[str, Any]:
        """The configs as plain values."""
        return {
            "unet": asdict(self.unet.config),
            "resampler": asdict(self.resampler.config),
            "image_encoder": self.image_encoder.config.to_diff_dict(),
            "action_scale": self.action_scale,
        }


def build_vid2world(values: Mapping[str, Any]) -> Vid2WorldNetwork:
    """The network that `describe` described, freshly initialised."""
    library, config = transformers(), Vid2WorldConfig(**values["unet"])
    encoder = library.CLIPVisionModel(library.CLIPVisionConfig(**values["image_encoder"]))
    text = torch.zeros(config.text_tokens, config.context_dim)
    conditioner = Conditioner(encoder, ResamplerConfig(**values["resampler"]).build(), text)
    return Vid2WorldNetwork(config.build(), conditioner, tuple(values["action_scale"]))


def opened(folder: str | Path) -> tuple[WorldSpec, Vid2WorldNetwork, FrameAutoencoder]:
    """World, network and autoencoder of a folder that `worldsim weights action=convert` wrote.

    Raises:
        InvalidInput, DamagedFile: see `Vid2WorldParts.from_pretrained`.
    """
    parts = Vid2WorldParts.from_pretrained(folder)
    action, config = domain_action(parts.facts["domain"]), parts.unet.config
    factor = 2 ** (len(parts.autoencoder.net.config.block_out_channels) - 1)
    height, width = config.latent_height * factor, config.latent_width * factor
    network = Vid2WorldNetwork(parts.unet, parts.conditioner(), action.high)
    return WorldSpec(height, width, action, config.window - 1, action.rate_hz), network.float(), parts.autoencoder.float()
