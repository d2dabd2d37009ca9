"""Losses of the video network. Knows nothing about files or optimizers.

The causal loss feeds each clip twice: as history (nearly clean) and as noisy targets. Target t sees the history before t and itself, which
is exactly what sampling with a feature cache computes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.diffusion.noise import context_levels, target_levels
from worldsim.diffusion.parameterize import previous, to_clean, training_target
from worldsim.diffusion.schedule import Schedule
from worldsim.models.video_unet import VideoUNet


@dataclass(frozen=True)
class Diffusion:
    """How a network's output is to be read."""

    schedule: Schedule
    prediction: str = "clean"
    context_level: float = 0.06


def joint_loss(net: VideoUNet, clean: Tensor, diffusion: Diffusion, generator: torch.Generator) -> Tensor:
    """Pretraining: a bidirectional, action-free video diffusion model; every frame has its own level, and all actions are hidden."""
    batch, frames = clean.shape[:2]
    level = target_levels((batch, frames), generator).to(clean)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    x = diffusion.schedule.add_noise(clean, noise, level)
    base = previous(x, level)
    hidden = clean.new_zeros(batch, 1, frames)
    output = net(x[:, None], level[:, None], clean.new_zeros(batch, frames, net.config.action_size), hidden)[:, 0].float()
    return (output - training_target(diffusion.prediction, clean, noise, level, base, diffusion.schedule)).square().mean()


def causal_loss(
    net: VideoUNet,
    clean: Tensor,
    actions: Tensor,
    diffusion: Diffusion,
    generator: torch.Generator,
    *,
    dropout: float,
    context: Tensor | None = None,
) -> Tensor:
    """Diffusion forcing with two streams; a target's action is hidden with probability `dropout`. `context` replaces the history."""
    batch, frames = clean.shape[:2]
    history_level = context_levels((batch, frames), diffusion.context_level, generator).to(clean)
    level = target_levels((batch, frames), generator).to(clean)
    history_noise, noise = (torch.randn(clean.shape, generator=generator).to(clean) for _ in range(2))
    history = diffusion.schedule.add_noise(clean if context is None else context, history_noise, history_level)
    x = diffusion.schedule.add_noise(clean, noise, level)
    base = previous(history, history_level)
    known = _all_known(clean)
    known[:, 1] *= (torch.rand((batch, frames), generator=generator) >= dropout).to(clean)
    output = net(torch.stack([history, x], 1), torch.stack([history_level, level], 1), actions, known)[:, 1].float()
    target = training_target(diffusion.prediction, clean, noise, level, base, diffusion.schedule)
    return (output - target)[:, 1:].square().mean()


@torch.no_grad()
def self_generated(net: VideoUNet, clean: Tensor, actions: Tensor, diffusion: Diffusion, generator: torch.Generator) -> Tensor:
    """The clip with every second frame (odd or even by draw, never the first) replaced by the model's own one-step prediction of it."""
    batch, frames = clean.shape[:2]
    level = clean.new_full((batch, frames), diffusion.context_level / 2)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    history = diffusion.schedule.add_noise(clean, torch.randn(clean.shape, generator=generator).to(clean), level)
    base = previous(history, level)
    ones = torch.ones_like(level)
    output = net(torch.stack([history, noise], 1), torch.stack([level, ones], 1), actions, _all_known(clean))[:, 1].float()
    guess = to_clean(diffusion.prediction, output, noise, ones, base, diffusion.schedule)
    odd = torch.randint(2, (batch, 1), generator=generator)
    replaced = ((torch.arange(frames)[None] + odd) % 2 == 0) & (torch.arange(frames) > 0)
    return torch.where(replaced[..., None, None, None].to(clean.device), guess, clean)


def _all_known(clean: Tensor) -> Tensor:
    """Action masks `[B, 2, T]` of both streams: every action is given, but nothing is known to lead into a first frame."""
    known = clean.new_ones(len(clean), 2, clean.shape[1])
    known[:, :, 0] = 0
    return known
