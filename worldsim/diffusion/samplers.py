"""From noise to a sample in a few steps. `denoise(x, level) -> clean` is all a sampler knows of the model.

A level is one float for the whole sample or a tensor `[B, T]`, one for each frame of `x` `[B, T, ...]`; the update is the same function.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from worldsim.diffusion.schedule import Schedule, spread
from worldsim.errors import InvalidInput

Level = float | Tensor


def level_steps(steps: int, last: float = 0.0) -> list[float]:
    """The levels of a `steps`-step sampler: equally spaced from 1, the final one replaced by `last` ("trailing" timesteps).

    `last=0.001`, the level of timestep 0, ends where Vid2World's sampler ends: a trace of noise remains.

    >>> level_steps(2)
    [1.0, 0.5, 0.0]

    Raises:
        InvalidInput: `last` is not between 0 and the level before it.
    """
    if not 0 <= last <= 1 / steps:
        raise InvalidInput(f"last is {last}, expected a level from 0 to 1/steps = {1 / steps:g}")
    return [1 - i / steps for i in range(steps)] + [last]


def sample_ddim(
    denoise: Callable[[Tensor, Level], Tensor],
    noise: Tensor,
    levels: Sequence[float] | Sequence[Tensor] | Tensor,
    schedule: Schedule,
    *,
    eta: float = 0.0,
    draw: Callable[[int], Tensor] | None = None,
    keep_scale: bool = False,
) -> Tensor:
    """DDIM (Song et al. 2021) through `levels`; with the linear schedule and eta 0 these are Euler steps of rectified flow.

    Args:
        denoise: the clean prediction, not shrunk, of `x` at a level; gets the level in the form in which `levels` holds it.
        noise: the sample at the first level.
        levels: falling levels, `steps + 1` of them: floats, or tensors `[B, T]` with a level per frame. A frame whose level stays
            the same in a step is left as it is, so frames may start late and finish early.
        schedule: see `worldsim.diffusion.schedule`. Its shrink is applied anew at every level, which is what multiplying a shrunk
            clean prediction by shrink(after) / shrink(now) does.
        eta: 0 is deterministic, 1 is ancestral sampling (DDPM).
        draw: standard normal noise like `x` for step 0, 1, ...; needed when eta is not 0.
        keep_scale: take the last step with the shrink of the level it leaves, and so return a sample that is still shrunk by it.
            Vid2World's sampler does this (times 0.986 for 50 steps), and nothing later undoes it.

    Raises:
        InvalidInput: eta outside [0, 1], or above 0 without `draw`.
    """
    if not 0 <= eta <= 1:
        raise InvalidInput(f"eta is {eta}, expected a number from 0 (deterministic) to 1 (ancestral)")
    if eta > 0 and draw is None:
        raise InvalidInput(f"eta is {eta}, so every step adds noise; give draw=step -> noise, or eta=0")
    x, last = noise, len(levels) - 2
    for i, (now, after) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        fresh = draw(i) if eta > 0 else None
        x = ddim_step(x, denoise(x, now), now, after, schedule, eta=eta, noise=fresh, keep_scale=keep_scale and i == last)
    return x


def ddim_step(
    x: Tensor,
    clean: Tensor,
    now: Level,
    after: Level,
    schedule: Schedule,
    *,
    eta: float = 0.0,
    noise: Tensor | None = None,
    keep_scale: bool = False,
) -> Tensor:
    """`x` at level `now` taken to level `after`, given the clean prediction; frames with `after == now` are left as they are.

    x' = alpha' z' + sqrt(sigma'^2 - s^2) (x - alpha z) / sigma + s noise, with z = shrink * clean and s of `added_noise`.
    """
    now, after = _as_tensor(now, x), _as_tensor(after, x)
    signal = schedule.alpha(now) * schedule.shrink(now)
    signal_after = schedule.alpha(after) * schedule.shrink(now if keep_scale else after)
    direction = (x - spread(signal, x) * clean) / spread(schedule.sigma(now), x).clamp(min=1e-8)
    added = added_noise(now, after, schedule, eta)
    carried = (schedule.sigma(after) ** 2 - added**2).clamp(min=0).sqrt()
    moved = spread(signal_after, x) * clean + spread(carried, x) * direction
    if noise is not None:
        moved = moved + spread(added, x) * noise
    held = spread(now == after, x)
    if held.ndim == 0:
        return x if held else moved
    return torch.where(held, x, moved)


def clean_between(x: Tensor, moved: Tensor, now: Tensor, after: Tensor, schedule: Schedule) -> Tensor:
    """The clean prediction with which one deterministic `ddim_step` leads from `x` at level `now` to `moved` at the lower `after`.

    Solves x' = s' clean + (sigma'/sigma) (x - s clean) for clean, s being alpha times shrink; at `after` 0 it is `moved` itself.
    """
    signal, signal_after = (schedule.alpha(level) * schedule.shrink(level) for level in (now, after))
    carried = schedule.sigma(after) / schedule.sigma(now)
    return (moved - spread(carried, x) * x) / spread(signal_after - carried * signal, x)


def added_noise(now: Tensor, after: Tensor, schedule: Schedule, eta: float) -> Tensor:
    """Standard deviation of the noise that a step adds: s = eta (sigma'/sigma) sqrt(sigma^2 - (alpha/alpha')^2 sigma'^2).

    At eta 1 this is the spread of x' given x and the clean sample, for any schedule; for a variance-preserving one it is the formula
    of Song et al. (2021, eq. 16). The shrink does not enter, as in Vid2World's sampler.
    """
    ratio = schedule.alpha(now) / schedule.alpha(after).clamp(min=1e-8)
    sigma, sigma_after = schedule.sigma(now), schedule.sigma(after)
    left = (sigma**2 - (ratio * sigma_after) ** 2).clamp(min=0).sqrt()
    return eta * sigma_after / sigma.clamp(min=1e-8) * left


def _as_tensor(level: Level, x: Tensor) -> Tensor:
    """A level as a tensor; a float becomes one without axes, which stays on the CPU and mixes with tensors of any device."""
    return level if isinstance(level, Tensor) else torch.tensor(level, dtype=torch.promote_types(x.dtype, torch.float32))
