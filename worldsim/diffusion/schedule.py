"""How much signal and noise a level stands for: `x = alpha(t) * shrink(t) * clean + sigma(t) * noise`, t in [0, 1]. Knows no network.

Level 0 is clean and level 1 is the noisiest. Schedules that are tables of 1000 timesteps hold timestep k at level (k + 1) / 1000, so that
the clean sample, which such tables leave out, is timestep -1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from worldsim.errors import UnknownName
from worldsim.registry import did_you_mean

TIMESTEPS = 1000
SHRINK_END, SHRINK_LAST = 399, 0.7  # the dynamic rescale falls from 1 at timestep 0 to 0.7 at timestep 399


def timestep_of(level: Tensor | float) -> Tensor:
    """The timestep, int64, that stands nearest to a level in [0, 1]: 0 to 999, and -1 at level 0. Float32 or finer keeps all apart."""
    return torch.round(TIMESTEPS * torch.as_tensor(level)).long() - 1


def level_of(timestep: Tensor | int) -> Tensor | float:
    """The level of a timestep in -1 to 999: `(timestep + 1) / 1000`; an int gives a float, an int64 tensor a float32 tensor."""
    return (timestep + 1) / TIMESTEPS


def spread(level: Tensor, like: Tensor) -> Tensor:
    """Append singleton axes to `level` until it broadcasts against `like`; a level without axes does so as it is."""
    return level.reshape(level.shape + (1,) * (like.ndim - level.ndim)) if level.ndim else level


@dataclass(frozen=True)
class Schedule:
    """Signal and noise scale as functions of the level.

    `shrink` is the dynamic rescale, a factor on clean latents before they are noised. Only noised samples carry it: what `to_clean`
    and the samplers take and return as clean is in one unit, not shrunk.
    """

    alpha: Callable[[Tensor], Tensor]
    sigma: Callable[[Tensor], Tensor]
    shrink: Callable[[Tensor], Tensor] = torch.ones_like

    def add_noise(self, clean: Tensor, noise: Tensor, level: Tensor, *, shrink: bool = True) -> Tensor:
        """Noise `clean` [..., H, W, C] to `level` [...]. `shrink=False` leaves out the dynamic rescale, as Vid2World noises its history."""
        signal = self.alpha(level) * self.shrink(level) if shrink else self.alpha(level)
        return clean * spread(signal, clean) + noise * spread(self.sigma(level), clean)


def tabulated(alphas_cumprod: Tensor, shrink: Callable[[Tensor], Tensor] = torch.ones_like) -> Schedule:
    """The variance-preserving schedule of a table `[1000]` of squared signal scales, as diffusers' schedulers hold as `alphas_cumprod`."""
    squares = torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod]).double()  # [1001], timestep -1 first
    return Schedule(alpha=partial(_look_up, squares.sqrt()), sigma=partial(_look_up, (1 - squares).sqrt()), shrink=shrink)


def _look_up(table: Tensor, level: Tensor) -> Tensor:
    return table.to(level)[timestep_of(level) + 1]


def ddpm_signal() -> Tensor:
    """Squared signal scale `[1000]`, float64, of Stable Diffusion's betas: even steps from sqrt 0.00085 to sqrt 0.012, squared."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0)


def zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """The table with its root shifted and stretched: the first entry stays and the last is exactly 0 (Lin et al. 2024, Alg. 1)."""
    root = alphas_cumprod.sqrt()
    return ((root - root[-1]) * (root[0] / (root[0] - root[-1]))).square()


def dynamic_rescale(level: Tensor) -> Tensor:
    """1.0 to 0.7 linearly over timesteps 0 to 399, 0.7 after them, 1 at level 0 (DynamiCrafter 512, which Vid2World starts from)."""
    progress = timestep_of(level).clamp(0, SHRINK_END).to(level.dtype) / SHRINK_END
    return 1 - (1 - SHRINK_LAST) * progress


SCHEDULES = {
    "linear": Schedule(alpha=lambda t: 1 - t, sigma=lambda t: t),  # rectified flow, Liu et al. 2022
    "cosine": Schedule(alpha=lambda t: torch.cos(t * torch.pi / 2), sigma=lambda t: torch.sin(t * torch.pi / 2)),
    "ddpm": tabulated(ddpm_signal()),
    "zero_snr": tabulated(zero_terminal_snr(ddpm_signal())),
    "zero_snr_rescaled": tabulated(zero_terminal_snr(ddpm_signal()), dynamic_rescale),
}


def get_schedule(name: str) -> Schedule:
    """The schedule of this name.

    Raises:
        UnknownName: with the closest known name.
    """
    if name not in SCHEDULES:
        raise UnknownName(f'unknown noise schedule "{name}"; {did_you_mean(name, SCHEDULES)}')
    return SCHEDULES[name]
