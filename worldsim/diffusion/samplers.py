"""From noise to a sample by a few deterministic steps. `denoise(x, level) -> clean` is all a sampler knows of the model."""

from collections.abc import Callable

import torch
from torch import Tensor

from worldsim.diffusion.schedule import Schedule


def level_steps(steps: int) -> list[float]:
    """The levels of a `steps`-step sampler: equally spaced from 1 down to 0.

    >>> level_steps(2)
    [1.0, 0.5, 0.0]
    """
    return [1 - i / steps for i in range(steps + 1)]


def sample_ddim(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, levels: list[float], schedule: Schedule) -> Tensor:
    """Deterministic DDIM (Song et al. 2021) through `levels`; with the linear schedule these are Euler steps of rectified flow."""
    x = noise
    for now, after in zip(levels[:-1], levels[1:], strict=True):
        alpha, sigma = (f(torch.tensor(now)) for f in (schedule.alpha, schedule.sigma))
        clean = denoise(x, now)
        direction = (x - alpha * clean) / sigma
        alpha, sigma = (f(torch.tensor(after)) for f in (schedule.alpha, schedule.sigma))
        x = alpha * clean + sigma * direction
    return x
