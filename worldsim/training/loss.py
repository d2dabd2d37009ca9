"""Losses of the video network. Knows nothing about files or optimizers.

The causal loss feeds each clip twice: as history (nearly clean) and as noisy targets. Target t sees the history before t and itself, which is
exactly what sampling with a feature cache computes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.diffusion.noise import context_levels, target_levels
from worldsim.diffusion.parameterize import to_clean, training_target
from worldsim.diffusion.schedule import Schedule
from worldsim.models.video_unet import VideoUNet


@dataclass(frozen=True)
class Diffusion:
    """How a network's output is to be read."""

    schedule: Schedule
    prediction: str = "clean"
    context_level: float = 0.1


def previous(context: Tensor, levels: Tensor) -> Tensor:
    """What "no change" looks like for each frame: the frame before, weighted by how clean it is; zero before the first. `[B, T, h, w, C]`, `[B, T]`."""
    weighted = context * (1 - levels)[..., None, None, None]
    return torch.cat([torch.zeros_like(weighted[:, :1]), weighted[:, :-1]], dim=1)


def joint_loss(net: VideoUNet, clean: Tensor, diffusion: Diffusion, generator: torch.Generator) -> Tensor:
    """Pretraining: a bidirectional, action-free video diffusion model; every frame has its own level, and all actions are hidden."""
    batch, frames = clean.shape[:2]
    level = target_levels((batch, frames), generator)
    noise = torch.randn(clean.shape, generator=generator)
    x = diffusion.schedule.add_noise(clean, noise, level)
    base = previous(x, level)
    hidden = torch.zeros(batch, 1, frames)
    output = net(x[:, None], level[:, None], torch.zeros(batch, frames, net.config.action_size), hidden)[:, 0].float()
    return (output - training_target(diffusion.prediction, clean, noise, level, base, diffusion.schedule)).square().mean()


def causal_loss(
    net: VideoUNet, clean: Tensor, actions: Tensor, diffusion: Diffusion, generator: torch.Generator, *, dropout: float, context: Tensor | None = None
) -> Tensor:
    """Diffusion forcing with two streams; each target's action is hidden with probability `dropout`. `context` replaces the history (self-generated)."""
    batch, frames = clean.shape[:2]
    history_level = context_levels((batch, frames), diffusion.context_level, generator)
    level = target_levels((batch, frames), generator)
    history_noise, noise = (torch.randn(clean.shape, generator=generator) for _ in range(2))
    history = diffusion.schedule.add_noise(clean if context is None else context, history_noise, history_level)
    x = diffusion.schedule.add_noise(clean, noise, level)
    base = previous(history, history_level)
    known = torch.ones(batch, 2, frames)
    known[:, :, 0] = 0  # nothing is known to lead into a first frame
    known[:, 1] *= torch.rand((batch, frames), generator=generator) >= dropout
    output = net(torch.stack([history, x], 1), torch.stack([history_level, level], 1), actions, known)[:, 1].float()
    target = training_target(diffusion.prediction, clean, noise, level, base, diffusion.schedule)
    return (output - target)[:, 1:].square().mean()


@torch.no_grad()
def self_generated(net: VideoUNet, clean: Tensor, actions: Tensor, diffusion: Diffusion, generator: torch.Generator) -> Tensor:
    """The clip with every second frame (odd or even by draw, never the first) replaced by the model's own one-step prediction of it."""
    batch, frames = clean.shape[:2]
    level = torch.full((batch, frames), diffusion.context_level / 2)
    noise = torch.randn(clean.shape, generator=generator)
    known = torch.ones(batch, 2, frames)
    known[:, :, 0] = 0
    base = previous(clean, level)
    both = torch.stack([clean, noise], 1)
    ones = torch.ones_like(level)
    output = net(both, torch.stack([level, ones], 1), actions, known)[:, 1].float()
    guess = to_clean(diffusion.prediction, output, noise, ones, base, diffusion.schedule)
    odd = torch.randint(2, (batch, 1), generator=generator)
    replaced = ((torch.arange(frames)[None] + odd) % 2 == 0) & (torch.arange(frames) > 0)
    return torch.where(replaced[..., None, None, None], guess, clean)
