"""The video network: a small U-Net over latent frames whose every frame has its own noise level and its own action.

It has the shape of DynamiCrafter's U-Net (2-D blocks per frame, temporal convolutions, temporal attention), with all norms per frame. With
one level, patches of 2 and no convolutions the same class is a diffusion-forcing transformer. It knows nothing about schedules or files.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.actions import ActionEmbedding
from worldsim.models.blocks import ResBlock, SpatialAttention, TemporalAttention, TemporalConv, per_frame
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.geometry_heads import Geometry, GeometryHeadsConfig
from worldsim.models.network import by_stream
from worldsim.models.physics_encoder import PhysicsEncoderConfig, TokenAttention
from worldsim.registry import did_you_mean

OPTIONAL = {"encoder": PhysicsEncoderConfig, "heads": GeometryHeadsConfig}  # parts of a network, by their names in its config


@dataclass
class VideoUNetConfig:
    """Sizes. `levels[i]` names the layers at resolution i: res, conv (temporal), time (attention), space (attention).

    `causal` says which way the temporal layers look; it is set by causalization and not by hand. `encoder` and `heads` are parts that a
    network may have or not: what it is told of the reset frame, and depth and motion of its frames.
    """

    latent_channels: int = 12
    latent_size: int = 8
    action_size: int = 3
    patch: int = 1
    channels: tuple[int, ...] = (64, 160)
    levels: tuple[tuple[str, ...], ...] = (("res", "conv"), ("res", "conv", "time", "space"))
    embedding: int = 256
    window: int = 8
    causal: bool = False
    encoder: PhysicsEncoderConfig | None = None
    heads: GeometryHeadsConfig | None = None

    def __post_init__(self) -> None:
        """Parts may be given as mappings, as a checkpoint has them."""
        for name, kind in OPTIONAL.items():
            if isinstance(part := getattr(self, name), Mapping):
                setattr(self, name, kind(**part))

    def build(self) -> "VideoUNet":
        """A freshly initialised network."""
        return VideoUNet(self)


class VideoUNet(nn.Module):
    """Predicts every frame from its noisy self and its past (or, before causalization, its neighbours both ways).

    A `worldsim.models.network.VideoNetwork` that takes no conditioning besides levels and actions, unless it has an encoder.
    """

    kind = "video_unet"
    starts_known = False
    needs_pixels = False  # of one without an encoder
    two_streams = True

    def __init__(self, config: VideoUNetConfig) -> None:
        super().__init__()
        self.config = config = replace(config)  # its own: causalizing one network says nothing about another
        widths, emb = config.channels, config.embedding
        self.level_mlp = nn.Sequential(nn.Linear(64, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.action_mlp = ActionEmbedding(config.action_size, emb)
        self.enter = nn.Linear(config.latent_channels * config.patch**2, widths[0])
        side = config.latent_size // config.patch
        self.position = nn.Parameter(0.02 * torch.randn(side, side, widths[0]))
        self.down = nn.ModuleList(self._layers(f"down{i}", i) for i in range(len(widths)))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in zip(widths, widths[1:], strict=False))
        self.middle = self._layers("middle", len(widths) - 1)
        self.grow = nn.ModuleList(nn.Conv2d(b, 4 * a, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.join = nn.ModuleList(nn.Linear(2 * width, width) for width in widths)
        self.up = nn.ModuleList(self._layers(f"up{i}", i) for i in range(len(widths)))
        self.leave = nn.Linear(widths[0], config.latent_channels * config.patch**2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.encoder = self.look = self.heads = None
        if config.encoder:
            config.encoder = config.encoder.pinned()
            self.needs_pixels, self.encoder = True, config.encoder.build(emb)
            self.look = TokenAttention(widths[-1], emb) if config.encoder.grid else None
        if config.heads:
            self.heads = config.heads.build(widths[0], emb)
        self.checkpointing = False
        self.set_causal(causal=config.causal)

    def _layers(self, place: str, level: int) -> nn.ModuleList:
        width, emb = self.config.channels[level], self.config.embedding
        make = {
            "res": lambda name: ResBlock(width, emb),
            "conv": lambda name: TemporalConv(name, width),
            "time": lambda name: TemporalAttention(name, width, emb, self.config.window),
            "space": lambda name: SpatialAttention(width, emb),
        }
        for kind in self.config.levels[level]:
            if kind not in make:
                raise UnknownName(f'unknown layer "{kind}"; {did_you_mean(kind, make)}')
        return nn.ModuleList(make[kind](f"{place}.{i}") for i, kind in enumerate(self.config.levels[level]))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """`(h, w, C)` of one latent frame."""
        return self.config.latent_size, self.config.latent_size, self.config.latent_channels

    @property
    def action_size(self) -> int:
        """Numbers in one action."""
        return self.config.action_size

    @property
    def window(self) -> int:
        """How many earlier frames a frame attends to."""
        return self.config.window

    @property
    def causal(self) -> bool:
        """Whether no frame sees a later one."""
        return self.config.causal

    def context_for(self, first_frames: Tensor, first_latents: Tensor) -> dict[str, Tensor]:
        """What the encoder says of the first frame, `{"physics": [B, N, E]}`; nothing without an encoder."""
        return {"physics": self.encoder(first_frames)} if self.encoder is not None else {}

    def extended(self, **parts: PhysicsEncoderConfig | GeometryHeadsConfig) -> "VideoUNet":
        """This network with fresh parts (`encoder`, `heads`), whose weights it shares; a fresh encoder changes no output.

        Raises:
            InvalidInput: a part that it has already.
        """
        if taken := [name for name in parts if getattr(self.config, name) is not None]:
            raise InvalidInput(f"this network has {' and '.join(taken)} already; train what it has, or begin at a checkpoint without")
        device = self.position.device
        made = replace(self.config, **parts).build().to(device)
        for name, module in self.named_children():
            setattr(made, name, module)
        made.position = self.position
        return made.train(self.training)

    def set_causal(self, *, causal: bool) -> None:
        """Let the temporal layers look back only, or both ways. The weights stay; `causalize` transfers them."""
        self.config.causal = causal
        for module in self.modules():
            if isinstance(module, TemporalConv | TemporalAttention):
                module.causal = causal

    def forward(
        self,
        x: Tensor,
        levels: Tensor,
        actions: Tensor,
        known: Tensor,
        memory: Memory | None = None,
        context: dict[str, Tensor] | None = None,
        *,
        geometry: bool = False,
    ) -> Tensor | tuple[Tensor, Geometry]:
        """One evaluation.

        Args:
            x: noisy latents `[B, S, T, H, W, C]`.
            levels: noise level of each frame in [0, 1], `[B, S, T]`.
            actions: `actions[:, t]` leads *into* frame t, normalised to [-1, 1], `[B, T, A]`, or `[B, S, T, A]`.
            known: 1 where the action is given, 0 where it is hidden, `[B, S, T]`.
            memory: features of earlier frames; without it the T frames are all there is.
            context: the encoder's tokens of each lane, "physics" `[B, N, E]`; without them as if they were zeros.
            geometry: whether to also read depth and motion off the heads.

        Returns:
            The prediction for each frame, like `x`; with `geometry` also what the heads say, `[B, S, T, H, W, ...]`.

        Raises:
            InvalidInput: several frames for a memory of single ones, or the geometry of a network without heads.
        """
        if geometry and self.heads is None:
            raise InvalidInput("this network has no depth and motion heads; add them: worldsim train stage=heads")
        h, emb = self._decoded(x, levels, actions, known, memory or Memory(keeps=False), (context or {}).get("physics"))
        output = _unpatch(self.leave(F.layer_norm(h, h.shape[-1:])), self.config.patch)
        return (output, self.heads(h, emb)) if geometry else output

    def _decoded(
        self, x: Tensor, levels: Tensor, actions: Tensor, known: Tensor, memory: Memory, physics: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The last features of the decoder, `[B, S, T, h, w, C]`, and the embedding of each frame, `[B, S, T, E]`."""
        if memory.cache is not None and x.shape[1:3] != (memory.branches, 1):
            raise InvalidInput(f"{list(x.shape[1:3])} streams and frames are given to a memory, expected [{memory.branches}, 1]")
        emb = self.level_mlp(_waves(levels)) + self.action_mlp(by_stream(actions), known)
        if physics is not None:
            emb = emb + physics[:, None, None, 0].to(emb.dtype)
        emb = F.silu(emb)  # [B, S, T, E]
        h = self.enter(_patch(x, self.config.patch)) + self.position
        skips = []
        for i, layers in enumerate(self.down):
            h = self._run(layers, h, emb, memory)
            skips.append(h)
            if i < len(self.shrink):
                h = per_frame(self.shrink[i], h)
        h = self._run(self.middle, h, emb, memory)
        if physics is not None and self.look is not None:
            h = h + self.look(h, physics).to(h.dtype)
        for i in reversed(range(len(self.up))):
            h = self._run(self.up[i], self.join[i](torch.cat([h, skips[i]], dim=-1)), emb, memory)
            if i > 0:
                h = per_frame(lambda frames, i=i: F.pixel_shuffle(self.grow[i - 1](frames), 2), h)
        return h, emb

    def _run(self, layers: nn.ModuleList, h: Tensor, emb: Tensor, memory: Memory) -> Tensor:
        for layer in layers:
            if self.checkpointing and self.training and torch.is_grad_enabled():
                h = checkpoint(layer, h, emb, memory, use_reentrant=False)
            else:
                h = layer(h, emb, memory)
        return h

    def remember(self, memory: Memory, frames: int) -> HistoryCache:
        """The cache after a pass over `frames` frames whose stream 0 is history."""
        return memory.after(frames, self.config.window)

    def save_memory(self) -> None:
        """Compute activations twice in training rather than keep them."""
        self.checkpointing = True

    def describe(self) -> dict:
        """The config as plain values, parts that the network has not got left out."""
        values: dict[str, Any] = asdict(self.config)
        return {name: value for name, value in values.items() if name not in OPTIONAL or value is not None}


def _waves(level: Tensor) -> Tensor:
    """Sines and cosines of the level, `[...]` to `[..., 64]`."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), 32, device=level.device, dtype=level.dtype))
    angles = level[..., None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _patch(x: Tensor, size: int) -> Tensor:
    """`[..., H, W, C]` to `[..., H/size, W/size, C*size*size]`."""
    if size == 1:
        return x
    h = x.unflatten(-2, (-1, size)).unflatten(-4, (-1, size))  # [..., H', s, W', s, C]
    return h.transpose(-4, -3).flatten(-3)


def _unpatch(x: Tensor, size: int) -> Tensor:
    if size == 1:
        return x
    h = x.unflatten(-1, (size, size, -1)).transpose(-4, -3)  # [..., H', s, W', s, C]
    return h.flatten(-3, -2).flatten(-4, -3)
