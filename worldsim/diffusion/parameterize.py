"""What a network predicts, and how the clean sample follows from it. Samplers see clean predictions only.

`output` and `x` are `[..., H, W, C]`, `level` is `[...]`. "clean" predicts the change from `base` (the previous frame, weighted by how
clean it is), so that a network that outputs zero copies the past. "v", "noise" and "flow" speak of the latent as it was noised, that is
times `schedule.shrink(level)`; the clean sample that follows is always in its own unit, with the shrink divided out.
"""

import torch
from torch import Tensor

from worldsim.diffusion.schedule import Schedule, spread
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

PREDICTIONS = ("clean", "v", "noise", "flow")


def check_prediction(name: str, schedule: str = "linear") -> str:
    """`name`, if it is a known prediction type that can be sampled with this schedule.

    Raises:
        UnknownName: with the closest known name.
        InvalidInput: noise predictions where the last level holds no signal: they say nothing of the clean sample.
    """
    if name not in PREDICTIONS:
        raise UnknownName(f'unknown prediction "{name}"; {did_you_mean(name, PREDICTIONS)}')
    if name == "noise" and schedule.startswith("zero_snr"):
        raise InvalidInput(f"a noise prediction says nothing of the clean sample at the last level of {schedule}; type prediction=v")
    return name


def previous(context: Tensor, levels: Tensor) -> Tensor:
    """What "no change" looks like: the frame before, weighted by how clean it is; zero before the first. `[B, T, h, w, C]`, `[B, T]`."""
    weighted = context * (1 - levels)[..., None, None, None]
    return torch.cat([torch.zeros_like(weighted[:, :1]), weighted[:, :-1]], dim=1)


def to_clean(prediction: str, output: Tensor, x: Tensor, level: Tensor, base: Tensor, schedule: Schedule) -> Tensor:
    """The clean sample that `output` stands for. With z = shrink * clean, so that x = alpha z + sigma noise:

    - v = alpha noise - sigma z (Salimans and Ho 2022), so z = (alpha x - sigma v) / (alpha^2 + sigma^2);
    - flow = noise - z (Liu et al. 2022), so z = (x - sigma flow) / (alpha + sigma).
    """
    if prediction == "clean":
        return base + output
    alpha, sigma, shrink = (spread(scale(level), x) for scale in (schedule.alpha, schedule.sigma, schedule.shrink))
    if prediction == "v":
        return (alpha * x - sigma * output) / (alpha**2 + sigma**2) / shrink
    if prediction == "flow":
        return (x - sigma * output) / (alpha + sigma) / shrink
    return (x - sigma * output) / alpha.clamp(min=1e-2) / shrink


def training_target(prediction: str, clean: Tensor, noise: Tensor, level: Tensor, base: Tensor, schedule: Schedule) -> Tensor:
    """What the network's output should be, for `x = schedule.add_noise(clean, noise, level)`."""
    if prediction == "clean":
        return clean - base
    if prediction == "noise":
        return noise
    shrunk = spread(schedule.shrink(level), clean) * clean
    if prediction == "flow":
        return noise - shrunk
    return spread(schedule.alpha(level), clean) * noise - spread(schedule.sigma(level), clean) * shrunk
