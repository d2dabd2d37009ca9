"""The video U-Net of DynamiCrafter and Vid2World under names of our own: latents, levels, actions and context in, a prediction out.

`keys` knows the official names, `loading` the official files, `surgery` how the bidirectional network becomes causal.
Source: Vid2World, arXiv 2505.14357, and the shapes of its released checkpoints.
"""

import math
from dataclasses import asdict, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from worldsim.errors import InvalidInput
from worldsim.models.causal.layers import Positions
from worldsim.models.vid2world.blocks import (
    ActionMLP,
    FrameConv,
    Grow,
    Head,
    Pointwise,
    ResBlock,
    Scene,
    SpatialTransformer,
    Stage,
    TemporalTransformer,
    mlp,
    silenced,
)
from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.surgery import make_causal

FIRST_HEADS = 8  # of the temporal transformer right behind the first convolution


class Vid2WorldUNet(nn.Module):
    """Predicts v for each frame of a clip, each with its own noise level and the action that led into it.

    Attributes:
        config: sizes and readings.
        clock: counts the frames of earlier passes; None until causal.
    """

    def __init__(self, config: Vid2WorldConfig) -> None:
        super().__init__()
        self.config = replace(config, causal=False)
        self.clock: Positions | None = None
        width, emb_width = config.model_channels, 4 * config.model_channels
        self.time_mlp, self.fps_mlp = mlp(width, emb_width, emb_width), mlp(width, emb_width, emb_width)
        silenced(self.fps_mlp[-1])
        self.action_mlp = ActionMLP(config.action_size, width, emb_width, config.action_kind) if config.action_size else None
        self.down, widths = self._down()
        self.middle = self._stage(widths[-1], widths[-1], attends=True)
        self.middle.add_module("after", ResBlock(widths[-1], widths[-1], emb_width, config.dropout))
        self.up = self._up(widths)
        self.head = Head(width, config.out_channels)
        if config.causal:
            make_causal(self, transfer=None, norm=config.norm, window=config.window)

    def _stage(self, in_width: int, width: int, *, attends: bool) -> Stage:
        config = self.config
        return Stage(
            res=ResBlock(in_width, width, 4 * config.model_channels, config.dropout),
            space=SpatialTransformer(width, config.head_channels, config.context_dim) if attends else None,
            time=TemporalTransformer(width, width, config.head_channels) if attends else None,
        )

    def _down(self) -> tuple[nn.ModuleList, list[int]]:
        """Stages on the way down and the widths that they leave for the way up."""
        config = self.config
        width = config.model_channels
        first_look = TemporalTransformer(width, FIRST_HEADS * config.head_channels, config.head_channels, Pointwise)
        stages, widths = [Stage(enter=FrameConv(config.in_channels, width, 3, padding=1), time=first_look)], [width]
        for level, factor in enumerate(config.channel_mult):
            if level:
                stages.append(Stage(shrink=FrameConv(widths[-1], widths[-1], 3, stride=2, padding=1)))
                widths.append(widths[-1])
            for _ in range(config.num_res_blocks):
                stages.append(self._stage(widths[-1], factor * width, attends=2**level in config.attention_at))
                widths.append(factor * width)
        return nn.ModuleList(stages), widths

    def _up(self, widths: list[int]) -> nn.ModuleList:
        config, stages, skips = self.config, [], list(widths)
        below = widths[-1]
        for level, factor in reversed(list(enumerate(config.channel_mult))):
            width = factor * config.model_channels
            for _ in range(config.num_res_blocks + 1):
                stages.append(self._stage(below + skips.pop(), width, attends=2**level in config.attention_at))
                below = width
            if level:
                stages[-1].add_module("grow", Grow(width, width, 3, padding=1))
        return nn.ModuleList(stages)

    def forward(self, x: Tensor, timesteps: Tensor, actions: Tensor | None, known: Tensor | None, context: Tensor, fps: Tensor) -> Tensor:
        """One evaluation.

        Args:
            x: noisy latents, each with the first frame's latent behind it, `[B, T, in_channels, H, W]`.
            timesteps: noise level of each frame, k in 0..999, float or int, `[B, T]`.
            actions: `actions[:, t]` leads *into* frame t, `[B, T, D]`; frame 0 has zeros, which are embedded like any action. None for a
                network without action input.
            known: what each action's embedding is multiplied by, `[B, T]`: 0 hides the action.
            context: text tokens, then the image tokens of frames 0, 1, ...: `[B, context_tokens, context_dim]`.
            fps: frame rate, `[B]`; the released networks are always told 3.

        Returns:
            `[B, T, out_channels, H, W]`.

        Raises:
            InvalidInput: a wrong shape, more frames than `window`, or numbers that are not finite.
        """
        self._check(x, timesteps, actions, known, context, fps)
        frames = x.shape[1]
        text, image = context.split([self.config.text_tokens, context.shape[1] - self.config.text_tokens], dim=1)
        scene = Scene(frames, self._embedding(timesteps, actions, known, fps), text, self._image_tokens(image, frames))
        h, skips = x.flatten(0, 1), []  # [B*T, C, H, W]
        for stage in self.down:
            h = self._run(stage, h, scene)
            skips.append(h)
        h = self._run(self.middle, h, scene)
        for stage in self.up:
            h = self._run(stage, torch.cat([h, skips.pop()], dim=1), scene)
        return self.head(h).unflatten(0, (-1, frames))

    def describe(self) -> dict:
        """The config as plain values."""
        return asdict(self.config)

    def _run(self, stage: Stage, h: Tensor, scene: Scene) -> Tensor:
        remembers = self.clock is not None and self.clock.memory is not None
        if self.config.gradient_checkpointing and torch.is_grad_enabled() and not remembers:
            return checkpoint(stage, h, scene, use_reentrant=False)
        return stage(h, scene)

    def _embedding(self, timesteps: Tensor, actions: Tensor | None, known: Tensor | None, fps: Tensor) -> Tensor:
        """Level, frame rate and action of each frame, `[B*T, E]`."""
        weight = self.time_mlp[0].weight
        level, rate = (waves(values.to(torch.promote_types(weight.dtype, torch.float32)), weight.shape[1]) for values in (timesteps, fps))
        emb = self.time_mlp(level.to(weight.dtype)) + self.fps_mlp(rate.to(weight.dtype))[:, None]
        if self.action_mlp is not None:
            embedded = self.action_mlp(actions)
            emb = emb + known[..., None].to(embedded.dtype) * embedded
        return F.silu(emb).flatten(0, 1)

    def _image_tokens(self, image: Tensor, frames: int) -> Tensor:
        """What each frame is shown: `[B*T, N, C]`, or `[B, N, C]` where all frames of a clip are shown the same."""
        config = self.config
        groups = image.unflatten(1, (config.frames, config.tokens_per_frame))  # [B, frames, N, C]
        if config.image_tokens == "official":
            return groups.flatten(0, 1) if frames == config.frames else image
        rows = torch.arange(len(image), device=image.device)
        start = torch.zeros_like(rows) if self.clock is None else self.clock.before(len(image), frames, image.device)
        index = (start[:, None] + torch.arange(frames, device=image.device)).clamp(max=config.frames - 1)  # [B, T]
        return groups[rows[:, None], index].flatten(0, 1)

    def _check(self, x: Tensor, timesteps: Tensor, actions: Tensor | None, known: Tensor | None, context: Tensor, fps: Tensor) -> None:
        config = self.config
        if x.ndim != 5 or x.shape[2] != config.in_channels or x.shape[3] % config.shrink or x.shape[4] % config.shrink or not x.numel():
            expected = f"[B, T, {config.in_channels}, H, W] with H and W multiples of {config.shrink}"
            raise InvalidInput(f"latents have shape {list(x.shape)}, expected {expected}")
        rows, frames = x.shape[:2]
        if frames > config.window:
            raise InvalidInput(f"{frames} frames in one pass, expected at most {config.window}; give the newest, or set window={frames}")
        shapes = {"timesteps": (timesteps, (rows, frames)), "fps": (fps, (rows,))}
        shapes["context"] = (context, (rows, config.context_tokens, config.context_dim))
        if self.action_mlp is not None:
            shapes |= {"actions": (actions, (rows, frames, config.action_size)), "known": (known, (rows, frames))}
        for name, (given, shape) in shapes.items():
            if given is None or given.shape != shape:
                raise InvalidInput(f"{name} has shape {None if given is None else list(given.shape)}, expected {list(shape)}")
        if not torch.compiler.is_compiling():
            _refuse_infinite(latents=x, **{name: given for name, (given, _) in shapes.items()})


def _refuse_infinite(**inputs: Tensor) -> None:
    """One look at everything, so that a GPU is waited for once; none where values cannot be looked at (meta tensors, CUDA graphs)."""
    first = next(iter(inputs.values()))
    if first.is_meta or (first.is_cuda and torch.cuda.is_current_stream_capturing()):
        return
    if not torch.stack([given.isfinite().all() for given in inputs.values()]).all():
        name = next(name for name, given in inputs.items() if not given.isfinite().all())
        raise InvalidInput(f"{name} holds NaN or infinity, expected finite numbers")


def waves(values: Tensor, width: int) -> Tensor:
    """Cosines, then sines, of frequencies 1 down to 1/10000: `[...]` to `[..., width]`."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) / half * torch.arange(half, device=values.device, dtype=values.dtype))
    angles = values[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
