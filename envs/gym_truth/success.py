"""Whether an environment's task is done, from its info, the latest reward, or the rewards added up. Knows no environment."""

from collections.abc import Callable, Mapping
from typing import Any

from worldsim.envs.gym_truth.options import GymOptions
from worldsim.errors import InvalidInput

FLAGS = ("is_success", "success")
Judge = Callable[[Mapping[str, Any], float, float], bool]  # info, reward of the latest action, return so far


def success_rule(options: GymOptions, info: Mapping[str, Any]) -> Judge | None:
    """The rule that `options` ask for; None where success is not known. `info` is that of a step of the environment.

    Raises:
        InvalidInput: nothing was asked for and `info` says nothing.
    """
    if options.success == "none":
        return None
    if options.success == "reward":
        return lambda info, reward, total: reward >= options.threshold
    if options.success == "return":
        return lambda info, reward, total: total >= options.threshold
    if options.success == "auto" and not any(flag in info for flag in FLAGS):
        raise InvalidInput(
            f"{options.id} does not say what success is: no {' or '.join(FLAGS)} in its info; type "
            f"{options.typed('success: reward, threshold: NUMBER')}, success: return for rewards added up, or success: none"
        )
    return lambda info, reward, total: any(bool(info.get(flag)) for flag in FLAGS)
