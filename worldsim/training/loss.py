"""Losses of the video network. Knows nothing about files or optimizers.

`forcing_loss` is the paper's: one stream, every frame at its own level, and history is as noisy as it happens to be. `causal_loss` feeds
each clip twice, as history (nearly clean) and as noisy targets: target t sees the history before t and itself, which is exactly what
sampling with a feature cache computes. It needs a network of two streams.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.diffusion.noise import context_levels, independent_levels, target_levels
from worldsim.diffusion.parameterize import previous, to_clean, training_target
from worldsim.diffusion.schedule import Schedule
from worldsim.models.network import VideoNetwork, first_unled


@dataclass(frozen=True)
class Diffusion:
    """How a network's output is to be read."""

    schedule: Schedule
    prediction: str = "clean"
    context_level: float = 0.06


@dataclass(frozen=True)
class Draw:
    """What chance decides about a batch of clips, so that two networks, or two versions of a clip, can be compared on the same.

    Attributes:
        level: noise level of each frame that is predicted, `[B, T]`.
        noise: `[B, T, h, w, C]`.
        known: 0 where a frame's action is hidden, `[B, T]`.
        history_level, history_noise: of the same frames as history; None for a network of one stream, where they are one and the same.
    """

    level: Tensor
    noise: Tensor
    known: Tensor
    history_level: Tensor | None = None
    history_noise: Tensor | None = None


def joint_loss(net: VideoNetwork, clean: Tensor, diffusion: Diffusion, generator: torch.Generator) -> Tensor:
    """Pretraining: a bidirectional, action-free video diffusion model; all actions are hidden.

    Every frame has its own level, or, in a network that takes one level per clip, the clip has.
    """
    batch, frames = clean.shape[:2]
    per_frame = getattr(net, "per_frame", True)
    level = target_levels((batch, frames if per_frame else 1), generator).to(clean).expand(batch, frames)
    x, target = _noised(clean, torch.randn(clean.shape, generator=generator).to(clean), level, diffusion)
    hidden = clean.new_zeros(batch, 1, frames)
    output = net(x[:, None], level[:, None], clean.new_zeros(batch, frames, net.action_size), hidden)[:, 0].float()
    return (output - target).square().mean()


def forcing_loss(
    net: VideoNetwork,
    clean: Tensor,
    actions: Tensor,
    diffusion: Diffusion,
    generator: torch.Generator,
    *,
    dropout: float,
    context: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Diffusion forcing (Vid2World, Algorithm 1): an independent uniform level per frame, the loss over all frames.

    Each frame's action is hidden with probability `dropout`, independently.
    """
    return forcing_residual(net, clean, actions, forcing_draw(clean, dropout, generator), diffusion, context).square().mean()


def forcing_draw(clean: Tensor, dropout: float, generator: torch.Generator) -> Draw:
    """What chance decides about a batch of diffusion forcing."""
    level = independent_levels(clean.shape[:2], generator).to(clean)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return Draw(level, noise, (torch.rand(level.shape, generator=generator) >= dropout).to(clean))


def forcing_residual(
    net: VideoNetwork, clean: Tensor, actions: Tensor, draw: Draw, diffusion: Diffusion, context: Mapping[str, Tensor] | None = None
) -> Tensor:
    """By how much a network of one stream misses its target, `[B, T, h, w, C]`."""
    x, target = _noised(clean, draw.noise, draw.level, diffusion)
    actions, known = first_unled(net, actions, draw.known)
    output = net(x[:, None], draw.level[:, None], actions, known[:, None], None, context)[:, 0].float()
    return output - target


def _noised(clean: Tensor, noise: Tensor, level: Tensor, diffusion: Diffusion) -> tuple[Tensor, Tensor]:
    """A clip with every frame at its level, and what the network should say of it."""
    x = diffusion.schedule.add_noise(clean, noise, level)
    return x, training_target(diffusion.prediction, clean, noise, level, previous(x, level), diffusion.schedule)


def causal_loss(
    net: VideoNetwork,
    clean: Tensor,
    actions: Tensor,
    diffusion: Diffusion,
    generator: torch.Generator,
    *,
    dropout: float,
    history: Tensor | None = None,
    context: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Diffusion forcing with two streams; a target's action is hidden with probability `dropout`. History is `clean` unless given."""
    draw = causal_draw(clean, diffusion, dropout, generator)
    return causal_residual(net, clean, actions, draw, diffusion, history=history, context=context)[:, 1:].square().mean()


def causal_draw(clean: Tensor, diffusion: Diffusion, dropout: float, generator: torch.Generator) -> Draw:
    """What chance decides about a batch of two streams."""
    history_level = context_levels(clean.shape[:2], diffusion.context_level, generator).to(clean)
    level = target_levels(clean.shape[:2], generator).to(clean)
    history_noise, noise = (torch.randn(clean.shape, generator=generator).to(clean) for _ in range(2))
    known = (torch.rand(clean.shape[:2], generator=generator) >= dropout).to(clean)
    return Draw(level, noise, known, history_level, history_noise)


def causal_residual(
    net: VideoNetwork,
    clean: Tensor,
    actions: Tensor,
    draw: Draw,
    diffusion: Diffusion,
    *,
    history: Tensor | None = None,
    context: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """By how much a network of two streams misses its target, `[B, T, h, w, C]`; what it says of a first frame means nothing."""
    held = diffusion.schedule.add_noise(clean if history is None else history, draw.history_noise, draw.history_level)
    x = diffusion.schedule.add_noise(clean, draw.noise, draw.level)
    known = _all_known(clean)
    known[:, 1] *= draw.known
    levels = torch.stack([draw.history_level, draw.level], 1)
    output = net(torch.stack([held, x], 1), levels, actions, known, None, context)[:, 1].float()
    base = previous(held, draw.history_level)
    return output - training_target(diffusion.prediction, clean, draw.noise, draw.level, base, diffusion.schedule)


@torch.no_grad()
def self_generated(
    net: VideoNetwork,
    clean: Tensor,
    actions: Tensor,
    diffusion: Diffusion,
    generator: torch.Generator,
    context: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The clip with every second frame (odd or even by draw, never the first) replaced by the model's own one-step prediction of it."""
    batch, frames = clean.shape[:2]
    level = clean.new_full((batch, frames), diffusion.context_level / 2)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    history = diffusion.schedule.add_noise(clean, torch.randn(clean.shape, generator=generator).to(clean), level)
    base = previous(history, level)
    ones = torch.ones_like(level)
    output = net(torch.stack([history, noise], 1), torch.stack([level, ones], 1), actions, _all_known(clean), None, context)[:, 1].float()
    guess = to_clean(diffusion.prediction, output, noise, ones, base, diffusion.schedule)
    odd = torch.randint(2, (batch, 1), generator=generator)
    replaced = ((torch.arange(frames)[None] + odd) % 2 == 0) & (torch.arange(frames) > 0)
    return torch.where(replaced[..., None, None, None].to(clean.device), guess, clean)


@torch.no_grad()
def every_second(
    net: VideoNetwork, clean: Tensor, actions: Tensor, diffusion: Diffusion, generator: torch.Generator, context: Mapping[str, Tensor]
) -> Tensor:
    """The clip with its odd frames replaced by the one-step prediction from nearly clean even ones; for a network of one stream."""
    level = clean.new_full(clean.shape[:2], diffusion.context_level / 2)
    level[:, 1::2] = 1
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    x = diffusion.schedule.add_noise(clean, noise, level)
    actions, known = first_unled(net, actions, torch.ones_like(level))
    output = net(x[:, None], level[:, None], actions, known[:, None], None, context)[:, 0].float()
    guess = to_clean(diffusion.prediction, output, x, level, previous(x, level), diffusion.schedule)
    return torch.where((level == 1)[..., None, None, None], guess, clean)


def _all_known(clean: Tensor) -> Tensor:
    """Action masks `[B, 2, T]` of both streams: every action is given, but nothing is known to lead into a first frame."""
    known = clean.new_ones(len(clean), 2, clean.shape[1])
    known[:, :, 0] = 0
    return known
