"""How much signal and noise a level stands for: `x = alpha(t) * clean + sigma(t) * noise`, t in [0, 1]. Knows no network."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.errors import UnknownName
from worldsim.registry import did_you_mean


@dataclass(frozen=True)
class Schedule:
    """Signal and noise scale as functions of the level; level 0 is clean, level 1 is pure noise."""

    alpha: Callable[[Tensor], Tensor]
    sigma: Callable[[Tensor], Tensor]

    def add_noise(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Noise `clean` [..., H, W, C] to `level` [...]."""
        return clean * spread(self.alpha(level), clean) + noise * spread(self.sigma(level), clean)


def spread(level: Tensor, like: Tensor) -> Tensor:
    """Append singleton axes to `level` until it broadcasts against `like`."""
    return level.reshape(level.shape + (1,) * (like.ndim - level.ndim))


SCHEDULES = {
    "linear": Schedule(alpha=lambda t: 1 - t, sigma=lambda t: t),  # rectified flow, Liu et al. 2022
    "cosine": Schedule(alpha=lambda t: torch.cos(t * torch.pi / 2), sigma=lambda t: torch.sin(t * torch.pi / 2)),
}


def get_schedule(name: str) -> Schedule:
    """The schedule of this name.

    Raises:
        UnknownName: with the closest known name.
    """
    if name not in SCHEDULES:
        raise UnknownName(f'unknown noise schedule "{name}"; {did_you_mean(name, SCHEDULES)}')
    return SCHEDULES[name]
