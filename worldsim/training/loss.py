"""Losses of the video network. Knows nothing about files or optimizers.

`forcing_loss` is the paper's: one stream, every frame at its own level, and history is as noisy as it happens to be. `causal_loss` feeds
each clip twice, as history (nearly clean) and as noisy targets: target t sees the history before t and itself, which is exactly what
sampling with a feature cache computes. It needs a network of two streams.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

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


def joint_loss(net: VideoNetwork, clean: Tensor, diffusion: Diffusion, generator: torch.Generator) -> Tensor:
    """Pretraining: a bidirectional, action-free video diffusion model; all actions are hidden.

    Every frame has its own level, or, in a network that takes one level per clip, the clip has.
    """
    batch, frames = clean.shape[:2]
    per_frame = getattr(net, "per_frame", True)
    level = target_levels((batch, frames if per_frame else 1), generator).to(clean).expand(batch, frames)
    x, target = _noised(clean, level, diffusion, generator)
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
    level = independent_levels(clean.shape[:2], generator).to(clean)
    x, target = _noised(clean, level, diffusion, generator)
    known = (torch.rand(level.shape, generator=generator) >= dropout).to(clean)
    actions, known = first_unled(net, actions, known)
    output = net(x[:, None], level[:, None], actions, known[:, None], None, context)[:, 0].float()
    return (output - target).square().mean()


def _noised(clean: Tensor, level: Tensor, diffusion: Diffusion, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A clip with every frame at its level, and what the network should say of it."""
    noise = torch.randn(clean.shape, generator=generator).to(clean)
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
    x, levels, known, target = two_streams(clean, diffusion, generator, dropout=dropout, history=history)
    output = net(x, levels, actions, known, None, context)[:, 1].float()
    return (output - target)[:, 1:].square().mean()


class TwoStreams(NamedTuple):
    """What a network of two streams is given, and what it should say.

    Attributes:
        x: history and noised targets, `[B, 2, T, h, w, C]`.
        levels: of both, `[B, 2, T]`.
        known: masks of the actions, `[B, 2, T]`.
        target: what the second stream should say, `[B, T, h, w, C]`; its first frame counts for nothing.
    """

    x: Tensor
    levels: Tensor
    known: Tensor
    target: Tensor


def two_streams(
    clean: Tensor, diffusion: Diffusion, generator: torch.Generator, *, dropout: float, history: Tensor | None = None
) -> TwoStreams:
    """One clip as history and as noised targets; arguments as of `causal_loss`."""
    batch, frames = clean.shape[:2]
    history_level = context_levels((batch, frames), diffusion.context_level, generator).to(clean)
    level = target_levels((batch, frames), generator).to(clean)
    history_noise, noise = (torch.randn(clean.shape, generator=generator).to(clean) for _ in range(2))
    held = diffusion.schedule.add_noise(clean if history is None else history, history_noise, history_level)
    x = diffusion.schedule.add_noise(clean, noise, level)
    known = _all_known(clean)
    known[:, 1] *= (torch.rand((batch, frames), generator=generator) >= dropout).to(clean)
    target = training_target(diffusion.prediction, clean, noise, level, previous(held, history_level), diffusion.schedule)
    return TwoStreams(torch.stack([held, x], 1), torch.stack([history_level, level], 1), known, target)


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
