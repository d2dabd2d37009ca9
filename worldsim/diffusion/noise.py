"""Noise as an argument: levels per frame for training, and noise keyed by (seed, frame, step) for sampling.

A keyed draw depends on nothing but its key, so a lane's video depends neither on its batch-mates nor on resume, shard or order.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worldsim.diffusion.schedule import TIMESTEPS, level_of


def keyed_noise(seeds: Sequence[int], frames: Sequence[int], step: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 `[B, *shape]`; row i is a function of (seeds[i], frames[i], step) alone (Philox counters)."""
    rows = []
    for seed, frame in zip(seeds, frames, strict=True):
        counter = [0, 0, int(step), int(frame)]
        rows.append(np.random.Generator(np.random.Philox(key=int(seed), counter=counter)).standard_normal(shape, dtype=np.float32))
    return torch.from_numpy(np.stack(rows))


def independent_levels(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Independent levels per frame, each of one of the 1000 timesteps alike: diffusion forcing as in Vid2World, Algorithm 1."""
    return level_of(torch.randint(TIMESTEPS, shape, generator=generator))


def target_levels(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Independent noise levels per frame (diffusion forcing): 40 % pure noise, as every sample begins; the rest leans to the noisy half."""
    level = torch.rand(shape, generator=generator) ** 0.6
    return torch.where(torch.rand(shape, generator=generator) < 0.4, torch.ones(()), level)


def context_levels(shape: tuple[int, ...], highest: float, generator: torch.Generator) -> Tensor:
    """Levels in [0, highest] for frames that serve as history."""
    return torch.rand(shape, generator=generator) * highest
