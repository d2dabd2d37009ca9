"""The noise schedule's tables in official files: computed anew and compared, for a file may hold stale ones. Knows no network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from worldsim.diffusion.schedule import SHRINK_END, SHRINK_LAST, TIMESTEPS, ddpm_signal, zero_terminal_snr
from worldsim.errors import DamagedFile

STALE = 1e-3  # half precision comes nearer than this; the tables with and without zero terminal signal are 3.5e-2 apart


def schedule_buffers() -> dict[str, Tensor]:
    """What a file's `betas`, `alphas_cumprod` and `scale_arr` should be, float64 `[1000]`, `[1000]`, `[1400]`.

    The scale is the dynamic rescale: the ramp to 0.7 over the first timesteps, then 0.7 for another thousand.
    """
    kept = zero_terminal_snr(ddpm_signal())
    ramp = torch.linspace(1, SHRINK_LAST, SHRINK_END + 1, dtype=torch.float64)
    return {
        "betas": 1 - kept / torch.cat([kept.new_ones(1), kept[:-1]]),
        "alphas_cumprod": kept,
        "scale_arr": torch.cat([ramp, kept.new_full((TIMESTEPS,), SHRINK_LAST)]),
    }


def schedule_differences(weights: Mapping[str, Tensor]) -> dict[str, float | None]:
    """Largest difference between each buffer of the file and what we compute; None where the file has none.

    Raises:
        DamagedFile: a buffer of another length.
    """
    found: dict[str, float | None] = {}
    for name, expected in schedule_buffers().items():
        given = weights.get(name)
        if given is not None and given.shape != expected.shape:
            raise DamagedFile(f"{name} has shape {list(given.shape)}, expected {list(expected.shape)}; get the checkpoint again")
        found[name] = None if given is None else _apart(given, expected)
    return found


def schedule_line(weights: Mapping[str, Tensor], differences: Mapping[str, float | None]) -> str:
    """The differences in words, and whether the file still holds the schedule that was not rescaled."""
    shown = ", ".join(f"{name} {'absent' if value is None else format(value, '.1e')}" for name, value in differences.items())
    kept = weights.get("alphas_cumprod")
    stale = kept is not None and _apart(kept, ddpm_signal()) < STALE
    return f"largest difference from ours: {shown}" + ("; the file's has no zero terminal signal, ours is used" if stale else "")


def _apart(given: Tensor, expected: Tensor) -> float:
    return (given.double() - expected).abs().max().item()
