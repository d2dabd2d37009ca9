"""What a network predicts, and how the clean sample follows from it. Samplers see clean predictions only.

`output` and `x` are `[..., H, W, C]`, `level` is `[...]`. "clean" predicts the change from `base` (the previous frame, weighted by how
clean it is), so that a network that outputs zero copies the past.
"""

from torch import Tensor

from worldsim.diffusion.schedule import Schedule, spread
from worldsim.errors import UnknownName
from worldsim.registry import did_you_mean

PREDICTIONS = ("clean", "v", "noise")


def check_prediction(name: str) -> str:
    """`name`, if it is a known prediction type.

    Raises:
        UnknownName: with the closest known name.
    """
    if name not in PREDICTIONS:
        raise UnknownName(f'unknown prediction "{name}"; {did_you_mean(name, PREDICTIONS)}')
    return name


def to_clean(prediction: str, output: Tensor, x: Tensor, level: Tensor, base: Tensor, schedule: Schedule) -> Tensor:
    """The clean sample that `output` stands for.

    v = alpha noise - sigma clean (Salimans and Ho 2022), so clean = (alpha x - sigma v) / (alpha^2 + sigma^2).
    """
    if prediction == "clean":
        return base + output
    alpha, sigma = spread(schedule.alpha(level), x), spread(schedule.sigma(level), x)
    if prediction == "v":
        return (alpha * x - sigma * output) / (alpha**2 + sigma**2)
    return (x - sigma * output) / alpha.clamp(min=1e-2)


def training_target(prediction: str, clean: Tensor, noise: Tensor, level: Tensor, base: Tensor, schedule: Schedule) -> Tensor:
    """What the network's output should be."""
    if prediction == "clean":
        return clean - base
    if prediction == "noise":
        return noise
    return spread(schedule.alpha(level), clean) * noise - spread(schedule.sigma(level), clean) * clean
